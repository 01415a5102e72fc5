"""Deprecated: import from ``nd2`` instead."""

from collections.abc import Callable
from typing import Any

from nd2._core.compat import ND2FILE, deprecated_module

__getattr__: Callable[[str], Any] = deprecated_module("nd2.nd2file", ND2FILE)
