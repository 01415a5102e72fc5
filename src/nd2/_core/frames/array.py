"""The lazy N-dimensional array over frames, on which dask, xarray and ``asarray`` are built."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.frames.selection import LazyArray, compose, is_whole, select
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from nd2._core.frames.grid import FrameGrid, Layout
    from nd2._core.frames.plan import Picks
    from nd2._core.frames.read import Frames
    from nd2._core.frames.selection import Pick
    from nd2._core.io import ByteSource

PIXEL_DIMS = ("C", "Y", "X", "S")


@record
class FrameArray(LazyArray):
    """An array of frames that reads what is indexed, and nothing else.

    It pickles to the frame table and the file's address. It works in other processes, and after
    the file was closed.
    """

    frames: Frames
    grid: FrameGrid
    pixel_dims: tuple[str, ...]
    window: tuple[range, ...]

    @classmethod
    def from_layout(cls, frames: Frames, layout: Layout, dims: Collection[str] = ()) -> FrameArray:
        """Make the array of all frames that the loops reach."""
        window = tuple(range(size) for size in frames.pixels.shape)
        return cls(frames, layout.grid, (), window).with_dims(dims)

    def with_dims(self, dims: Collection[str]) -> FrameArray:
        """Return the same pixels with these axes; all others must have size 1."""
        pixel_dims = tuple(dim for dim in PIXEL_DIMS if dim in dims)
        return replace(self, grid=self.grid.with_dims(dims), pixel_dims=pixel_dims)

    def fix(self, dim: str, index: int) -> FrameArray:
        """Return the array at an index of one frame axis, which stays, with size 1."""
        return replace(self, grid=self.grid.fix(dim, index))

    def drop_dims(self, *dims: str) -> FrameArray:
        """Return the array without these axes, which have size 1."""
        return self.with_dims([dim for dim in self.dims if dim not in dims])

    def narrow(self, key: tuple[int | slice, ...]) -> FrameArray:
        """Return the lazy array of a part: an integer (drops its axis) or a slice per axis."""
        picks: dict[str, Any] = dict(zip(self.dims, select(key, self.dims, self.shape).picks, strict=True))
        window: tuple[Any, ...] = self._compose(picks)
        dropped = [dim for dim, item in zip(self.dims, key, strict=True) if not isinstance(item, slice)]
        return replace(self, grid=self.grid.narrow(picks), window=window).drop_dims(*dropped)

    def with_source(self, source: ByteSource) -> FrameArray:
        """Return the same array over another source of the same bytes."""
        return replace(self, frames=replace(self.frames, source=source))

    @property
    def dims(self) -> tuple[str, ...]:
        """Axes: loops, then those of C, Y, X and S."""
        return (*self.grid.dims, *self.pixel_dims)

    @property
    def all_sizes(self) -> dict[str, int]:
        """Sizes of all loops and of C, Y, X and S, those included that are not axes."""
        return dict(zip((*self.grid.names, *PIXEL_DIMS), (*self.grid.counts, *map(len, self.window)), strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each of ``dims``."""
        pixels = zip(PIXEL_DIMS, self.window, strict=True)
        return (*self.grid.shape, *(len(pick) for dim, pick in pixels if dim in self.pixel_dims))

    @property
    def sizes(self) -> dict[str, int]:
        """Size of each of ``dims``, by name."""
        return dict(zip(self.dims, self.shape, strict=True))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a sample."""
        return self.frames.pixels.dtype

    def read(self, key: tuple[Any, ...], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read a part by outer (orthogonal) indexing."""
        selection = select(key, self.dims, self.shape)
        loops, picks = self._split(selection.picks)
        if out is None:
            frame = self.grid.single_frame(loops)
            sizes = self.frames.pixels.shape
            if frame is not None and all(map(is_whole, picks, sizes)):
                return self.frames.frame(frame).reshape(selection.shape)
        elif out.shape != selection.shape or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise ValueError(
                f"out must be C-contiguous, of shape {selection.shape} and dtype {self.dtype}; "
                f"got shape {out.shape}, dtype {out.dtype}"
            )
        target = None if out is None else out.reshape(math.prod(map(len, loops)), *map(len, picks))
        index, inverse = self._unique(loops)
        if inverse is None:
            data = self.frames.read(index, picks, target)
        else:
            data = np.take(self.frames.read(index, picks), inverse, axis=0, out=target)
        return data.reshape(selection.shape) if out is None else out

    def _split(self, picks: Picks) -> tuple[Picks, Picks]:
        """Return the positions on the frame axes, and those on C, Y, X and S of a frame."""
        loops = len(self.grid.dims)
        return picks[:loops], self._compose(dict(zip(self.pixel_dims, picks[loops:], strict=True)))

    def _compose(self, picks: Mapping[str, Pick]) -> Picks:
        """Return the positions on C, Y, X and S of a frame; the whole window of axes without any."""
        windows = zip(PIXEL_DIMS, self.window, strict=True)
        return tuple(compose(window, picks[dim]) if dim in picks else window for dim, window in windows)

    def _unique(self, loops: Picks) -> tuple[NDArray[np.intp], NDArray[np.intp] | None]:
        """Return each frame once, and for positions that repeat frames the place of each one's frame."""
        index = self.grid.frames(loops).reshape(-1)
        if len(index) > 1 and not (np.diff(index) > 0).all():
            unique, inverse = np.unique(index, return_inverse=True)
            if len(unique) < len(index):
                return unique, inverse
        return index, None

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        frames = self.frames
        how = repr((frames.pixels, self.grid, self.pixel_dims, self.window))
        return ("nd2.FrameArray", frames.source.identity, frames.table.token, how)
