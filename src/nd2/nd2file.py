"""Deprecated: import from ``nd2`` instead."""

from nd2._core.compat import ND2FILE, deprecated_module

__getattr__ = deprecated_module("nd2.nd2file", ND2FILE)
