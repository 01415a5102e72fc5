"""Deprecated: import from ``nd2`` instead."""

from collections.abc import Callable
from typing import Any

from nd2._core.compat import READERS, deprecated_module

__getattr__: Callable[[str], Any] = deprecated_module("nd2.readers", READERS)
