"""Encoding and decoding of what an ND2 file holds: pure functions between bytes and values."""
