"""Frames: their numbers, their locations in the file, and reading of any part of them."""
