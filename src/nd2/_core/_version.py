"""Versions: of this distribution, and of the API of PyPI's nd2 that it has."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

API_VERSION: str = "0.12.0"
"""Version of PyPI's nd2 whose API the package ``nd2`` has; programs compare ``nd2.__version__``."""

try:
    __version__ = version("xarray-nd2")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0+unknown"

CREATOR = f"xarray-nd2 v{__version__}"
"""Creator that exported files name."""
