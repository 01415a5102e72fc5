"""The base of readers, under its name in nd2 0.12.0."""

from nd2._core.compat import ND2Reader
from nd2._util import open_fsspec_url

__all__ = ["ND2Reader", "open_fsspec_url"]
