"""Nikon ND2 files in the xarray and Zarr ecosystem: the engine ``"nd2"``, and references to the file's own bytes."""

from xarray_nd2.kerchunk import to_kerchunk, write_kerchunk

__all__ = ["to_kerchunk", "write_kerchunk"]
