"""ND2 files in napari: the functions behind the plugin, which import napari only when they are called."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xarray_nd2.napari.layers import read_layers
    from xarray_nd2.napari.viewer import add_layers

__all__ = ["add_layers", "read_layers"]

_HOME = {"add_layers": "xarray_nd2.napari.viewer", "read_layers": "xarray_nd2.napari.layers"}

if not TYPE_CHECKING:  # else checkers would think that every name exists

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
