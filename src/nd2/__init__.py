"""Read and write Nikon ND2 microscopy files.

Importing this package loads NumPy and little else: every name below is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nd2 import index as index
    from nd2 import jobs as jobs
    from nd2 import structures
    from nd2 import tiff as tiff
    from nd2._file import ND2File
    from nd2._imread import imread
    from nd2._index import save_index
    from nd2._layout import AXIS
    from nd2._probe import is_legacy, is_supported_file
    from nd2._rescue import rescue_file, rescue_nd2
    from nd2._views.binary import BinaryLayer, BinaryLayers
    from nd2._write.arrays import imwrite
    from nd2._write.writer import ND2Writer
    from nd2.tiff import nd2_to_tiff

    __version__: str

__all__ = [
    "AXIS",
    "BinaryLayer",
    "BinaryLayers",
    "ND2File",
    "ND2Writer",
    "__version__",
    "imread",
    "imwrite",
    "is_legacy",
    "is_supported_file",
    "nd2_to_tiff",
    "rescue_file",
    "rescue_nd2",
    "save_index",
    "structures",
]

_HOME = {
    "AXIS": "nd2._layout",
    "BinaryLayer": "nd2._views.binary",
    "BinaryLayers": "nd2._views.binary",
    "ND2File": "nd2._file",
    "ND2Writer": "nd2._write.writer",
    "imread": "nd2._imread",
    "imwrite": "nd2._write.arrays",
    "is_legacy": "nd2._probe",
    "is_supported_file": "nd2._probe",
    "nd2_to_tiff": "nd2.tiff",
    "rescue_file": "nd2._rescue",
    "rescue_nd2": "nd2._rescue",
    "save_index": "nd2._index",
}
_MODULES = {"index", "jobs", "structures", "tiff"}


if not TYPE_CHECKING:  # else checkers would think that every name exists

    def __getattr__(name: str) -> Any:
        if name in _HOME:
            value = getattr(import_module(_HOME[name]), name)
        elif name in _MODULES:
            value = import_module(f"nd2.{name}")
        elif name == "__version__":
            from importlib.metadata import PackageNotFoundError, version

            try:
                value = version("xarray-nd2")
            except PackageNotFoundError:  # run from a source tree that was not installed
                value = "0+unknown"
        else:
            import sys

            # With name and object Python suggests names that are like it.
            raise AttributeError(
                f"module 'nd2' has no attribute {name!r}", name=name, obj=sys.modules[__name__]
            )
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
