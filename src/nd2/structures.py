"""Structures that hold the metadata of an ND2 file."""

from nd2._core.structures import *  # noqa: F403
from nd2._core.structures import __all__ as __all__
