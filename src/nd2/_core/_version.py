"""The version of the distribution."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("xarray-nd2")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0+unknown"
