"""Convert ND2 files to TIFF."""

from typing import TYPE_CHECKING as TYPE_CHECKING

from nd2._core.compat import nd2_ome_metadata
from nd2._core.file import ND2File
from nd2._core.imread import nd2_to_tiff
from nd2._core.structures import AXIS

__all__ = ["AXIS", "TYPE_CHECKING", "ND2File", "nd2_ome_metadata", "nd2_to_tiff"]
