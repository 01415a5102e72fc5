"""Values of one number (or text) a frame that are read when they are asked for, shaped by the loops of a file."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nd2._core.chunks.recorded_data import decode_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nd2._core.frames.array import FrameArray
    from nd2._core.io import ByteSource
    from nd2._core.readers.stored import StoredChunk
    from xarray_nd2.dataset.clock import Clock


class Lazy(Protocol):
    """An array that reads what is indexed; it pickles small, and opens nothing when it is unpickled."""

    @property
    def dims(self) -> tuple[str, ...]:
        """Axes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of an item."""

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read a part by outer indexing: an integer, a slice or an index array for each axis."""

    async def read_async(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read as `read` does; other coroutines run meanwhile."""

    def with_source(self, source: ByteSource) -> Lazy:
        """Return the same array over another source of the same bytes."""

    def __dask_tokenize__(self) -> tuple[Any, ...]: ...


class Column(Protocol):
    """One value for each frame, taken by the frames' sequence indices."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""

    def take(self, index: NDArray[np.intp]) -> NDArray[Any]:
        """Return the values of some frames, in their order."""

    def with_source(self, source: ByteSource) -> Column:
        """Return the same column of another source of the same bytes."""

    def token(self) -> tuple[Any, ...]:
        """Return what tells this column from others."""


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """A column that lies in one chunk; what is read is the range that the frames span.

    Attributes
    ----------
    chunk : StoredChunk
        Where the values are.
    kind : int
        Stored type as the table of recorded data has it: 2 integer, 3 real.
    count : int
        Number of values; frames beyond them have none (NaN).
    clock : Clock, optional
        Tells how the values, times in milliseconds, become what is given.
    """

    chunk: StoredChunk
    kind: int
    count: int
    clock: Clock | None = None

    @property
    def item(self) -> int:
        """Bytes of a value."""
        return self.chunk.size // self.count

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return decode_values(bytes(self.item), self.kind, 1).dtype.newbyteorder("=")

    def take(self, index: NDArray[np.intp]) -> NDArray[Any]:
        """Return the values of some frames."""
        known = index < self.count
        if not known.any():
            return np.full(len(index), np.nan, self.dtype)
        first, stop = int(index[known].min()), int(index[known].max()) + 1
        data = self.chunk.read(first * self.item, stop * self.item)
        stored = decode_values(data, self.kind, len(data) // self.item)
        values = stored[index[known] - first].astype(self.dtype)
        if self.clock is not None:
            values = self.clock.convert(values / 1000)
        if known.all():
            return values
        result = np.full(len(index), np.nan, self.dtype)
        result[known] = values
        return result

    def with_source(self, source: ByteSource) -> StoredColumn:
        """Return the same column of another source of the same bytes."""
        return replace(self, chunk=self.chunk.with_source(source))

    def token(self) -> tuple[Any, ...]:
        """Return what tells this column from others."""
        return (*self.chunk.source.identity, self.chunk.name, str(self.clock))


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column whose values repeat along some loops: a small table over the other loops.

    Attributes
    ----------
    values : ndarray
        One axis for each of ``loops``.
    loops : tuple of (int, int)
        Step and count of each loop on which the value depends: ``i = frame // step % count``.
    name : str
        What tells this column from others of the same file.
    source : ByteSource
        The file.
    """

    values: NDArray[Any]
    loops: tuple[tuple[int, int], ...]
    name: str
    source: ByteSource

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return self.values.dtype

    def take(self, index: NDArray[np.intp]) -> NDArray[Any]:
        """Return the values of some frames."""
        place = tuple(index // step % count for step, count in self.loops)
        return self.values[place] if place else np.full(len(index), self.values)

    def with_source(self, source: ByteSource) -> TableColumn:
        """Return the same column of another source of the same bytes."""
        return replace(self, source=source)

    def token(self) -> tuple[Any, ...]:
        """Return what tells this column from others."""
        return (*self.source.identity, self.name)


@dataclass(frozen=True, slots=True)
class FrameValues:
    """A column on the frame axes of an array.

    Attributes
    ----------
    column : Column
        The values.
    loops : tuple of (str, int, int)
        Name, count and step of each frame axis, as `FrameArray` has them.
    first : int
        Sequence index of the frame at the origin.
    dims : tuple of str
        The loops that are axes; others have one item.
    """

    column: Column
    loops: tuple[tuple[str, int, int], ...]
    first: int
    dims: tuple[str, ...]

    @classmethod
    def of(cls, image: FrameArray, column: Column) -> FrameValues:
        """Lay a column along the frame axes of an image."""
        return cls(column, image.loops, image.first, frame_dims(image))

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return tuple(count for name, count, _ in self.loops if name in self.dims)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return self.column.dtype

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read a part by outer indexing."""
        index = frame_numbers(self.loops, self.first, dict(zip(self.dims, key, strict=True)))
        if not index.size:
            return np.empty(index.shape, self.dtype)
        return self.column.take(index.reshape(-1)).reshape(index.shape)

    async def read_async(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read in a thread, so that other coroutines run."""
        return await asyncio.to_thread(self.read, key)

    def with_source(self, source: ByteSource) -> FrameValues:
        """Return the same values over another source of the same bytes."""
        return replace(self, column=self.column.with_source(source))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("the values are in a file: an array of them is always a copy")
        values = self.read((slice(None),) * len(self.dims))
        return values if dtype is None else values.astype(dtype, copy=False)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xarray_nd2", *self.column.token(), self.loops, self.first, self.dims)


def frame_dims(image: FrameArray) -> tuple[str, ...]:
    """Return the axes of an image that are loops."""
    return tuple(name for name, _, _ in image.loops if name in image.dims)


def frame_numbers(
    loops: tuple[tuple[str, int, int], ...], first: int, keys: Mapping[str, Any]
) -> NDArray[np.intp]:
    """Return the sequence indices of the frames that outer keys take; loops without a key are at their first item."""
    index = np.full((), first, np.intp)
    for name, count, step in loops:
        index = np.add.outer(index, np.arange(count)[keys.get(name, 0)] * step)
    return index


def loop_table(
    values: NDArray[Any], image: FrameArray, letters: str, name: str, source: ByteSource
) -> TableColumn:
    """Make a column that depends on some loops only.

    Parameters
    ----------
    values : ndarray, shape (n, ...)
        The value, or the values, of each frame.
    image : FrameArray
        Whose loops are meant, before a position is fixed.
    letters : str
        Letters of the loops on which the values depend.
    name : str
        What tells the column from others of the same file.
    source : ByteSource
        The file.
    """
    kept = [(loop, count, step) for loop, count, step in image.loops if loop[0] in letters]
    index = frame_numbers(tuple(kept), 0, {loop: slice(None) for loop, _, _ in kept})
    return TableColumn(values[index], tuple((step, count) for _, count, step in kept), name, source)
