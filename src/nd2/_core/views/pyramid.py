"""Levels of images, each half as wide and half as high as the one before: whole, and computed when they are read.

A pixel is the mean of four pixels (of fewer at an odd edge). Of labels, it is the first of the four.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.frames.array import PIXEL_DIMS, FrameArray
from nd2._core.frames.read import FrameCache
from nd2._core.frames.selection import LazyArray, as_index, compose, is_whole, select
from nd2._core.values import cached_property

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nd2._core.frames.plan import Picks

TILE = 512
"""Length of a tile in pixels. Levels end with the first that fits into one tile."""
_BAND_BYTES = 16 << 20
"""Rows are read in bands of at most this size; frames without further levels, and compressed ones, as a whole."""
_MIN_BAND = 16
_CACHE_BYTES = 256 << 20
"""Bands that are kept, of all levels together."""


def level_count(height: int, width: int, tile: int = TILE) -> int:
    """Return how many levels a plane has, itself included, until one fits into a tile."""
    return max(math.ceil(math.log2(max(height, width, 1) / tile)), 0) + 1


def pyramid(data: NDArray[Any], levels: int, *, axis: int = -2, nearest: bool = False) -> Iterator[NDArray[Any]]:
    """Yield the levels of an image whose axis Y is ``axis``, and X the next; with ``nearest`` those of labels."""
    yield data
    for _ in range(levels - 1):
        data = halve(data, axis=axis, nearest=nearest)
        yield data


def halve(data: NDArray[Any], *, axis: int = -2, nearest: bool = False) -> NDArray[Any]:
    """Halve the axes Y, which is ``axis``, and X, which follows it; sizes are rounded up."""
    before = (slice(None),) * (axis % data.ndim)
    even, odd = slice(None, None, 2), slice(1, None, 2)
    if nearest:
        return data[(*before, even, even)]
    edges = [(0, 0)] * data.ndim
    for place in (len(before), len(before) + 1):
        edges[place] = (0, data.shape[place] % 2)
    if any(after for _, after in edges):
        data = np.pad(data, edges, mode="edge")
    wide = np.dtype("f8") if data.dtype.kind == "f" else np.dtype(f"u{2 * data.itemsize}")
    with np.errstate(invalid="ignore"):  # NaN has no mean and needs no warning
        # Rows first: their sums run along the memory.
        rows = np.add(data[(*before, even)], data[(*before, odd)], dtype=wide)
        every = (*before, slice(None))
        total: NDArray[Any] = rows[(*every, even)] + rows[(*every, odd)]
        if data.dtype.kind == "f":
            total /= 4
        else:
            total += 2
            total >>= 2
    return total.astype(data.dtype, copy=False)


class Pyramid:
    """The levels of the frames of an image, computed when they are read.

    Rows are read once, in bands of all channels, and every level is computed from the one before, band by band.
    Bands are kept up to a limit; those of coarse levels, which cost most, are kept longest. All channels share
    them, and any number of threads. A copy in another process starts without them.

    By default the last level fits into a tile of 512 x 512. With ``nearest``, values are labels, of which there is no
    mean. ``limit`` is in bytes; a frame that can only be decoded as a whole is kept in any case, with its levels.
    """

    def __init__(
        self, planes: LazyArray, levels: int | None = None, *, nearest: bool = False, limit: int = _CACHE_BYTES
    ) -> None:
        self.planes = planes
        self.dims: tuple[str, ...] = planes.dims
        self.dtype: np.dtype[Any] = planes.dtype
        self.nearest = nearest
        self._axis = self.dims.index("Y")
        self._loops = next(i for i, dim in enumerate(self.dims) if dim in PIXEL_DIMS)
        height, width = planes.shape[self._axis : self._axis + 2]
        self.levels: int = level_count(height, width) if levels is None else levels
        self._frame_bytes = math.prod(planes.shape[self._loops :]) * self.dtype.itemsize
        raw = isinstance(planes, FrameArray) and planes.frames.pixels.codec == "raw"
        rows = 1 << max(height - 1, 1).bit_length()
        if raw and self.levels > 1:
            while rows > _MIN_BAND and rows * self._frame_bytes > _BAND_BYTES * height:
                rows //= 2
        self._rows = rows
        limit = limit if raw else max(limit, self._frame_bytes * 3 // 2)
        self._cache = FrameCache(limit)

    @cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shape of each level, on the axes of the image."""
        sizes = list(zip(self.dims, self.planes.shape, strict=True))
        return [tuple(-(-n >> level) if d in ("Y", "X") else n for d, n in sizes) for level in range(self.levels)]

    def level(self, number: int) -> LevelArray:
        """Return one level as a lazy array."""
        if not 0 <= number < self.levels:
            raise IndexError(f"there is no level {number}; there are {self.levels} levels")
        return LevelArray(self, number, tuple(map(range, self.shapes[number])), self.dims)

    def read(self, level: int, picks: Picks) -> NDArray[Any]:
        """Read a part of a level, given as positions on every axis; the result has all axes."""
        shape = tuple(map(len, picks))
        loops, pixels = picks[: self._loops], picks[self._loops :]
        if level == 0 and self._is_bulk(loops, pixels):
            return self.planes.read(tuple(map(as_index, picks))).reshape(shape)
        out = np.empty(shape, self.dtype)
        if out.size:
            for place in np.ndindex(shape[: self._loops]):
                index = tuple(int(pick[i]) for pick, i in zip(loops, place, strict=True))
                out[place] = self._read_plane(level, index, pixels)
        return out

    def _is_bulk(self, loops: Picks, pixels: Picks) -> bool:
        """Return whether whole frames are requested that are too many, or too large, to keep."""
        height = self.planes.shape[self._axis]
        nbytes = self._frame_bytes * math.prod(map(len, loops))
        return is_whole(pixels[self._axis - self._loops], height) and nbytes > self._cache.limit // 4

    def _read_plane(self, level: int, index: tuple[int, ...], picks: Picks) -> NDArray[Any]:
        """Read a part of one frame."""
        y = self._axis - self._loops
        rows = picks[y]
        first, stop = int(np.min(rows)), int(np.max(rows)) + 1
        parts = []
        for number in range(first // self._rows, (stop - 1) // self._rows + 1):
            start = number * self._rows
            part = self._band(level, index, number)
            taken = range(max(first - start, 0), min(stop - start, part.shape[y]))
            for axis, pick in enumerate((*picks[:y], taken, *picks[y + 1 :])):
                part = part[(slice(None),) * axis + (as_index(pick),)]
            parts.append(part)
        block = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=y)
        return block[(slice(None),) * y + (as_index(compose(range(-first, stop), rows)),)]

    def _band(self, level: int, index: tuple[int, ...], number: int) -> NDArray[Any]:
        """Return some rows of a frame, in the whole width; the caller must not write to them."""
        return self._cache.get((level, index, number), lambda: self._compute(level, index, number), 4.0**level)

    def _compute(self, level: int, index: tuple[int, ...], number: int) -> NDArray[Any]:
        if level == 0:
            start = number * self._rows
            stop = min(start + self._rows, self.planes.shape[self._axis])
            key = [slice(None)] * (len(self.dims) - self._loops)
            key[self._axis - self._loops] = slice(start, stop)
            return self.planes.read((*index, *key))
        axis, finer = self._axis - self._loops, self.shapes[level - 1][self._axis]
        halves = []
        # A frame that is decoded as a whole has one band.
        for part in (2 * number, 2 * number + 1):
            if part * self._rows < finer:
                # Full resolution is kept only if it was requested: it would displace all other levels.
                below = (level - 1, index, part)
                keep = level > 1 or self._rows >= finer or below in self._cache
                band = self._band(*below) if keep else self._compute(*below)
                halves.append(halve(band, axis=axis, nearest=self.nearest))
        if len(halves) == 1:
            return np.ascontiguousarray(halves[0])
        return np.concatenate(halves, axis=axis)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("nd2.Pyramid", self.nearest, *self.planes.__dask_tokenize__())


@dataclass(frozen=True, slots=True, eq=False)
class LevelArray(LazyArray):
    """A level of a pyramid, or a part of it, as a lazy array that reads what is indexed.

    ``window`` has the positions on all axes of the pyramid; those that are not in ``dims`` have one.
    """

    pyramid: Pyramid
    number: int
    window: tuple[range, ...]
    dims: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each of ``dims``."""
        pairs = zip(self.pyramid.dims, self.window, strict=True)
        return tuple(len(pick) for dim, pick in pairs if dim in self.dims)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""
        return self.pyramid.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a tile: one plane, all samples of color, and at most 512 rows and columns."""
        return tuple(
            size if dim == "S" else max(min(size, TILE if dim in ("Y", "X") else 1), 1)
            for dim, size in zip(self.dims, self.shape, strict=True)
        )

    def narrow(self, key: tuple[int | slice, ...]) -> LevelArray:
        """Return the lazy array of a part: an integer (drops its axis) or a slice per axis."""
        dims = tuple(d for d, item in zip(self.dims, key, strict=True) if isinstance(item, slice))
        picks = self._picks(select(key, self.dims, self.shape).picks)
        window = tuple(pick for pick in picks if isinstance(pick, range))
        return replace(self, window=window, dims=dims)

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read a part by outer (orthogonal) indexing."""
        selection = select(key, self.dims, self.shape)
        part = self.pyramid.read(self.number, self._picks(selection.picks))
        return part.reshape(selection.shape)

    def _picks(self, picks: Picks) -> Picks:
        """Return positions on all axes of the pyramid."""
        given = iter(picks)
        pairs = zip(self.pyramid.dims, self.window, strict=True)
        return tuple(compose(w, next(given)) if dim in self.dims else w for dim, w in pairs)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        how = repr((self.number, self.window, self.dims))
        return ("nd2.LevelArray", *self.pyramid.__dask_tokenize__(), how)
