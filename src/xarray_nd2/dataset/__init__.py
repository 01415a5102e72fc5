"""The dataset of a file as plain values; imports neither xarray nor zarr."""
