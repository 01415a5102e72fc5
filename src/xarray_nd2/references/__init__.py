"""References to the bytes of a file: kerchunk, VirtualiZarr, and functions that open and combine them."""
