"""The values that describe a dataset, before any library: variables, in memory or read on access, and the dataset.

The engine turns a `DatasetModel` into an ``xarray.Dataset``; every emitter of references writes it down with the image.
"""

from __future__ import annotations

import asyncio
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nd2._core.frames.selection import LazyArray, select
from nd2._core.values import record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.frames.array import FrameArray
    from nd2._core.frames.grid import FrameGrid
    from nd2._core.frames.plan import Picks


class Column(Protocol):
    """A value (or a plane of values) for each frame, by the frames' sequence indices."""

    @property
    def dims(self) -> tuple[str, ...]:
        """Axes of a frame's values; none for a single value."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of these axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""

    def take(self, frames: NDArray[np.intp], picks: Picks) -> NDArray[Any]:
        """Return the values of some frames, in their order, at positions on the column's axes."""

    def token(self) -> tuple[Any, ...]:
        """Return what distinguishes this column from others."""


@record
class FrameValues(LazyArray):
    """A column on the frame axes of an array."""

    column: Column
    grid: FrameGrid

    @property
    def dims(self) -> tuple[str, ...]:
        """Axes: those of the frames, then those of the column."""
        return (*self.grid.dims, *self.column.dims)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return (*self.grid.shape, *self.column.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return self.column.dtype

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read a part by outer indexing."""
        selection = select(key, self.dims, self.shape)
        loops = len(self.grid.dims)
        frames = self.grid.frames(selection.picks[:loops]).reshape(-1)
        if not frames.size:
            return np.empty(selection.shape, self.dtype)
        return self.column.take(frames, selection.picks[loops:]).reshape(selection.shape)

    async def read_async(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read in a thread, so that other coroutines run."""
        return await asyncio.to_thread(self.read, key)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xarray_nd2", *self.column.token(), repr(self.grid))


@record
class VariableModel:
    """A variable: its axes, its values, and its attributes."""

    dims: tuple[str, ...]
    values: NDArray[Any] | FrameValues
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def in_memory(self) -> bool:
        """Whether the values are in memory, so that nothing has to be read."""
        return isinstance(self.values, np.ndarray)

    def drop_dims(self, dims: tuple[str, ...]) -> VariableModel:
        """Return the variable in memory without the axes that are not among ``dims``, at their first item."""
        if set(dims).issuperset(self.dims):
            return self
        key = tuple(slice(None) if dim in dims else 0 for dim in self.dims)
        kept = tuple(dim for dim in self.dims if dim in dims)
        return replace(self, dims=kept, values=np.asarray(np.asarray(self.values)[key]))


@record
class DatasetModel:
    """One file, or one position of it, as a labeled dataset."""

    image: FrameArray
    """The pixels, samples of color in stored order (blue, green, red; in legacy files red, green, blue)."""
    coords: dict[str, VariableModel]
    attrs: dict[str, Any]
    image_attrs: dict[str, Any]
    labels: dict[str, VariableModel] = field(default_factory=dict)
