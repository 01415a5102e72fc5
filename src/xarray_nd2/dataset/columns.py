"""Columns, which have a value (or a plane of values) for each frame, and their arrays on the frame axes of a file.

Values are read when they are indexed. Binary layers are columns as well: see `nd2._core.readers.layer_chunks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from nd2._core.chunks.recorded_data import decode_values
from nd2._core.frames.selection import LazyArray, select
from nd2._core.values import record

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from nd2._core.frames.grid import FrameGrid
    from nd2._core.frames.plan import Picks
    from nd2._core.readers.chunk_file import ChunkAddress
    from nd2._core.readers.layer_chunks import LayerChunks
    from nd2._core.views.facts import Facts

    Column: TypeAlias = "StoredColumn | TableColumn | LayerChunks"

TimeMode = Literal["relative", "absolute"]


@record
class Clock:
    """The conversion of recorded times to those of the dataset."""

    start: datetime | None = None
    """The instant of the first frame, from which seconds are counted; None to leave times as recorded."""
    first: float = 0.0
    """Time of the first frame in seconds, as recorded."""

    @classmethod
    def from_facts(cls, facts: Facts, mode: TimeMode) -> Clock:
        """Return the clock of a mode."""
        if mode == "relative":
            return cls()
        if mode != "absolute":
            raise ValueError(f"time must be 'relative' or 'absolute', not {mode!r}")
        if facts.start is None:
            raise ValueError(
                "the file does not say when it was recorded; open it with time='relative' "
                f"(file {facts.reader.source.url!r})"
            )
        return cls(facts.start, facts.first_time / 1000)

    def convert(self, milliseconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return recorded times in seconds of this clock; those since an instant are rounded to nanoseconds."""
        seconds = milliseconds / 1000
        return seconds if self.start is None else np.round(seconds - self.first, 9)

    @property
    def units(self) -> dict[str, str]:
        """Attributes for the unit, by the CF conventions."""
        if self.start is None:
            return {"units": "s"}
        since = self.start.replace(tzinfo=None).isoformat(" ", "milliseconds")
        return {"units": f"seconds since {since}", "calendar": "proleptic_gregorian"}


class _SingleValues:
    """A column of one value for each frame."""

    __slots__ = ()
    dims: ClassVar[tuple[str, ...]] = ()
    shape: ClassVar[tuple[int, ...]] = ()


@record
class StoredColumn(_SingleValues):
    """A column in one chunk; only the range of the selected frames is read."""

    chunk: ChunkAddress
    kind: int
    count: int
    """Number of values; frames beyond them are NaN."""
    clock: Clock | None = None
    """Converts the values, times in milliseconds."""

    @property
    def item(self) -> int:
        """Bytes of a value."""
        return self.chunk.size // self.count

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return decode_values(bytes(self.item), self.kind, 1).dtype.newbyteorder("=")

    def take(self, frames: NDArray[np.intp], picks: Picks = ()) -> NDArray[Any]:
        """Return the values of some frames."""
        inside = frames < self.count
        result = np.full(len(frames), np.nan if not inside.all() else 0, self.dtype)
        if not inside.any():
            return result
        first, stop = int(frames[inside].min()), int(frames[inside].max()) + 1
        data = self.chunk.read(first * self.item, stop * self.item)
        values = decode_values(data, self.kind, len(data) // self.item)
        values = values[frames[inside] - first].astype(self.dtype)
        result[inside] = values if self.clock is None else self.clock.convert(values)
        return result

    def token(self) -> tuple[Any, ...]:
        """Return what distinguishes this column from others."""
        chunk = self.chunk
        return (*chunk.source.identity, chunk.name, chunk.position, self.count, str(self.clock))


@record
class TableColumn(_SingleValues):
    """A column whose values repeat along some loops: a small table over the other loops."""

    values: NDArray[Any]
    grid: FrameGrid

    @classmethod
    def from_frames(cls, values: NDArray[Any], grid: FrameGrid, letters: str) -> TableColumn:
        """Make the column of values of a file, shape (frames, ...), that depend on some loops only."""
        table = grid.with_dims([loop for loop in grid.names if loop[0] in letters])
        return cls(values[table.frames()], table)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return self.values.dtype

    def take(self, frames: NDArray[np.intp], picks: Picks = ()) -> NDArray[Any]:
        """Return the values of some frames."""
        indices = self.grid.indices(frames)
        place = tuple(indices[dim] for dim in self.grid.dims)
        return self.values[place] if place else np.full(len(frames), self.values)

    def token(self) -> tuple[Any, ...]:
        """Return what distinguishes this column from others."""
        return (self.values, repr(self.grid))


@record
class FrameValues(LazyArray):
    """A column, whose values are by the frames' sequence indices, on the frame axes of an array."""

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

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xarray_nd2", *self.column.token(), repr(self.grid))
