"""Exports to other formats: OME metadata, TIFF, OME-Zarr. They use a reader, never a file handle."""
