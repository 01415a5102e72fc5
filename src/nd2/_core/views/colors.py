"""Colors of binary layers and regions of interest."""

from __future__ import annotations


def stored_rgb(color: int) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of a color that files store as 0x00BBGGRR."""
    return color & 255, color >> 8 & 255, color >> 16 & 255


def stored_hex(color: int) -> str:
    """Return a color that files store as 0x00BBGGRR, as ``#RRGGBB``."""
    return "#{:02X}{:02X}{:02X}".format(*stored_rgb(color))
