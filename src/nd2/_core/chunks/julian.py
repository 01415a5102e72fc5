"""Julian day numbers, by which files say when they were acquired."""

UNIX_EPOCH = 2440587.5
"""Julian day number of 1970-01-01, 0 h UTC."""
DAY_MS = 86_400_000.0
"""Milliseconds of a day."""
