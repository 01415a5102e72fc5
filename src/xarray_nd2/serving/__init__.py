"""What `xarray_nd2.serve` and `xarray_nd2.view` are made of: keys of a Zarr hierarchy, pages for people, and HTTP."""
