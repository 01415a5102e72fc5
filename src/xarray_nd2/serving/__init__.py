"""The parts of `xarray_nd2.serve` and `xarray_nd2.view`: keys of a Zarr hierarchy, pages for people, and HTTP."""
