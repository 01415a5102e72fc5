"""Nikon ND2 files in the xarray and Zarr ecosystem: the engine ``"nd2"``, and references to the file's own bytes."""

from typing import TYPE_CHECKING, Any

from xarray_nd2.combine import combine_references
from xarray_nd2.kerchunk import to_kerchunk, write_kerchunk
from xarray_nd2.opening import StaleReferencesWarning, open_references

if TYPE_CHECKING:
    from xarray_nd2.virtualizarr import ND2Parser

__all__ = [
    "ND2Parser",
    "StaleReferencesWarning",
    "combine_references",
    "open_references",
    "to_kerchunk",
    "write_kerchunk",
]


def __getattr__(name: str) -> Any:
    if name == "ND2Parser":  # VirtualiZarr is an extra
        from xarray_nd2.virtualizarr import ND2Parser

        return ND2Parser
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
