"""Nikon ND2 files in the xarray and Zarr ecosystem: the engine ``"nd2"``, and references to the file's own bytes.

xarray imports this package whenever it looks for engines, so every name below is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nd2._core._version import __version__
    from xarray_nd2.references.combine import combine_references, write_combined
    from xarray_nd2.references.kerchunk import to_kerchunk, write_kerchunk
    from xarray_nd2.references.opening import StaleReferencesWarning, open_references
    from xarray_nd2.references.virtualizarr import ND2Parser

__all__ = [
    "ND2Parser",
    "StaleReferencesWarning",
    "__version__",
    "combine_references",
    "open_references",
    "to_kerchunk",
    "write_combined",
    "write_kerchunk",
]

_HOME = {
    "ND2Parser": "xarray_nd2.references.virtualizarr",
    "StaleReferencesWarning": "xarray_nd2.references.opening",
    "__version__": "nd2._core._version",
    "combine_references": "xarray_nd2.references.combine",
    "open_references": "xarray_nd2.references.opening",
    "to_kerchunk": "xarray_nd2.references.kerchunk",
    "write_combined": "xarray_nd2.references.combine",
    "write_kerchunk": "xarray_nd2.references.kerchunk",
}


if not TYPE_CHECKING:  # else checkers would think that every name exists

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
