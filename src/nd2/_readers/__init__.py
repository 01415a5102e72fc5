"""Readers of the file formats, behind one protocol, chosen by the magic number."""

from nd2._readers.open import open_reader
from nd2._readers.protocol import Reader

__all__ = ["Reader", "open_reader"]
