"""Structures that hold the metadata of an ND2 file."""

from typing import TYPE_CHECKING as TYPE_CHECKING

from nd2._core.compat import T as T
from nd2._core.structures import *  # noqa: F403
from nd2._core.structures import __all__ as _names

__all__ = [*_names, "TYPE_CHECKING", "T"]
