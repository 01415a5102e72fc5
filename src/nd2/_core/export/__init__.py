"""Exports of a file to other formats: OME metadata, TIFF, OME-Zarr, pictures. They see a reader, never a file handle."""
