"""Deprecated: import from ``nd2`` instead."""

from collections.abc import Callable
from typing import Any

from nd2._core.compat import deprecated_module

__getattr__: Callable[[str], Any] = deprecated_module(
    "nd2.readers",
    {
        "LegacyReader": "nd2._core.compat",
        "ModernReader": "nd2._core.compat",
        "ND2Reader": "nd2._core.compat",
    },
)
