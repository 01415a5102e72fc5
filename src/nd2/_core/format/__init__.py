"""Encoding and decoding of the content of ND2 files: pure functions between bytes and values."""
