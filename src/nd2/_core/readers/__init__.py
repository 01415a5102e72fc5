"""Readers of the file formats, behind one base class."""

from nd2._core.readers.reader import Reader

__all__ = ["Reader"]
