"""Frames: which there are, where they lie in the file, and how any part of them is read."""
