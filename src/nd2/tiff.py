"""Convert ND2 files to TIFF."""

from nd2._core.nd2_to_tiff import nd2_to_tiff

__all__ = ["nd2_to_tiff"]
