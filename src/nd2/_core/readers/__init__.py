"""Readers of the file formats, behind one protocol."""

from nd2._core.readers.protocol import Reader

__all__ = ["Reader"]
