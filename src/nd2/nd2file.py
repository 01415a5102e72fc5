"""Deprecated (nis2pyr): import from ``nd2`` instead."""

from collections.abc import Callable
from typing import Any

from nd2._core.compat import deprecated_module

__getattr__: Callable[[str], Any] = deprecated_module(
    "nd2.nd2file",
    {
        "BinaryLayer": "nd2._core.views.binary",
        "BinaryLayers": "nd2._core.views.binary",
        "ND2File": "nd2._core.file",
        "imread": "nd2._core.imread",
    },
)
