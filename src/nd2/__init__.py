"""Read and write Nikon ND2 microscopy files.

Importing this package is cheap: every name below, and NumPy, is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nd2 import errors as errors
    from nd2 import index as index
    from nd2 import jobs as jobs
    from nd2 import structures
    from nd2 import tiff as tiff
    from nd2._core._version import API_VERSION as __version__
    from nd2._core.compat import version as version
    from nd2._core.file import ND2File
    from nd2._core.imread import imread, nd2_to_tiff
    from nd2._core.open import is_legacy, is_supported_file, save_index
    from nd2._core.readers.rescue import rescue_nd2
    from nd2._core.structures import AXIS
    from nd2._core.views.binary import BinaryLayer, BinaryLayers
    from nd2._core.write.arrays import imwrite
    from nd2._core.write.copy import rescue_file
    from nd2._core.write.writer import ND2Writer

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
    "__author__": "nd2._core.compat",
    "__version__": "nd2._core._version:API_VERSION",
    "AXIS": "nd2._core.structures",
    "BinaryLayer": "nd2._core.views.binary",
    "BinaryLayers": "nd2._core.views.binary",
    "ND2File": "nd2._core.file",
    "ND2Writer": "nd2._core.write.writer",
    "imread": "nd2._core.imread",
    "imwrite": "nd2._core.write.arrays",
    "is_legacy": "nd2._core.open",
    "is_supported_file": "nd2._core.open",
    "nd2_to_tiff": "nd2._core.imread",
    "rescue_file": "nd2._core.write.copy",
    "rescue_nd2": "nd2._core.readers.rescue",
    "version": "nd2._core.compat",
    "save_index": "nd2._core.open",
}
_MODULES = {"errors", "index", "jobs", "nd2file", "readers", "structures", "tiff"}


if not TYPE_CHECKING:  # else checkers would think that every name exists

    def __getattr__(name: str) -> Any:
        if name in _HOME:
            module, _, attribute = _HOME[name].partition(":")
            value = getattr(import_module(module), attribute or name)
        elif name in _MODULES:
            value = import_module(f"nd2.{name}")
        else:
            import sys

            # With name and object Python suggests names that are like it.
            raise AttributeError(f"module 'nd2' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
