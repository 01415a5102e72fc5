"""Convert ND2 files to TIFF."""

from __future__ import annotations

from typing import TYPE_CHECKING as TYPE_CHECKING

from nd2._core.file import ND2File
from nd2._core.imread import nd2_to_tiff
from nd2._core.structures import AXIS

if TYPE_CHECKING:
    from ome_types import OME

__all__ = ["AXIS", "TYPE_CHECKING", "ND2File", "nd2_ome_metadata", "nd2_to_tiff"]


def nd2_ome_metadata(f: ND2File, *, include_unstructured: bool = True, tiff_file_name: str | None = None) -> OME:
    """Return the OME metadata of an open file, as its method ``ome_metadata`` does."""
    return f.ome_metadata(include_unstructured=include_unstructured, tiff_file_name=tiff_file_name)
