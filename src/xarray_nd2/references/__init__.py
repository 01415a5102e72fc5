"""References to the bytes of a file: kerchunk, VirtualiZarr, and what opens and combines them."""
