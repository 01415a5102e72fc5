"""The values that describe a dataset, before any library: variables and the dataset.

The engine turns a `DatasetModel` into an ``xarray.Dataset``; every emitter of references writes it down with the image.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.values import record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.frames.array import FrameArray
    from nd2._core.frames.selection import LazyArray


@record
class VariableModel:
    """A variable: its axes, its values, and its attributes."""

    dims: tuple[str, ...]
    values: NDArray[Any] | LazyArray
    attrs: dict[str, Any] = field(default_factory=dict)

    def drop_dims(self, dims: tuple[str, ...]) -> VariableModel:
        """Return the variable in memory without the axes that are not among ``dims``, at their first item."""
        kept = tuple(dim for dim in self.dims if dim in dims)
        if kept == self.dims:
            return self
        key = tuple(slice(None) if dim in dims else 0 for dim in self.dims)
        return VariableModel(kept, np.asarray(self.values)[*key, ...], self.attrs)


@record
class DatasetModel:
    """One file, or one position of it, as a labeled dataset."""

    image: FrameArray
    """The pixels, samples of color in stored order (blue, green, red; in legacy files red, green, blue)."""
    coords: dict[str, VariableModel]
    attrs: dict[str, Any]
    image_attrs: dict[str, Any]
    labels: dict[str, VariableModel] = field(default_factory=dict)
