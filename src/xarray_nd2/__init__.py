"""Nikon ND2 files in the xarray and Zarr ecosystem: the `engine="nd2"` backend and virtual references."""
