"""Deprecated: import from ``nd2`` instead."""

from nd2._core.compat import READERS, deprecated_module

__getattr__ = deprecated_module("nd2.readers", READERS)
