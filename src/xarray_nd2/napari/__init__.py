"""ND2 files in napari: the functions behind the plugin, which import napari only when they are called."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["add_layers", "read_layers"]

if TYPE_CHECKING:
    from xarray_nd2.napari.layers import add_layers, read_layers
else:  # checkers would think that every name exists

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module("xarray_nd2.napari.layers"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
