"""Kinds of chunks, one module each: their names, `decode` from trees to values, `encode` back."""
