"""The lazy N-dimensional array over frames, on which dask, xarray and ``asarray`` stand."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.frames.plan import simplify

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.frames.layout import Layout
    from nd2._core.frames.read import Frames
    from nd2._core.io import ByteSource

PIXEL_DIMS = ("C", "Y", "X", "S")


@dataclass(frozen=True, slots=True)
class FrameArray:
    """An array of frames that reads what is indexed, and nothing else.

    It pickles to the frame table and the file's address, and works in other processes and after the file was closed.

    Attributes
    ----------
    frames : Frames
        What reads the pixels.
    loops : tuple of (str, int, int)
        Name, count and step of each frame axis: ``frame = first + sum(i * step)``.
    first : int
        Sequence index of the frame at the origin.
    dims : tuple of str
        Axes of the array: some of the loops in their order, then some of C, Y, X, S. What is left out has size 1.
    window : tuple of four slices
        What the array takes of C, Y, X and S of each frame.
    """

    frames: Frames
    loops: tuple[tuple[str, int, int], ...]
    first: int
    dims: tuple[str, ...]
    window: tuple[slice, ...] = (slice(None),) * 4

    @classmethod
    def of(cls, frames: Frames, layout: Layout, dims: tuple[str, ...]) -> FrameArray:
        """Make the array of all frames that the loops reach."""
        steps = [math.prod(layout.loop_shape[k + 1 :]) for k in range(len(layout.loops))]
        loops = tuple(
            (name, count, step) for (name, count), step in zip(layout.loops, steps, strict=True)
        )
        return cls(frames, loops, 0, dims)

    def at(self, dim: str, index: int) -> FrameArray:
        """Fix one frame axis at an index; the axis stays, with size 1."""
        step = next(step for name, _, step in self.loops if name == dim)
        loops = tuple((n, 1 if n == dim else c, s) for n, c, s in self.loops)
        return replace(self, loops=loops, first=self.first + index * step)

    def narrow(self, key: tuple[int | slice, ...]) -> FrameArray:
        """Return the lazy array of a part.

        Parameters
        ----------
        key : tuple of int or slice
            One item for each of ``dims``. Integers drop their axis.
        """
        first, loops, window = self.first, list(self.loops), list(self.window)
        keys = dict(zip(self.dims, key, strict=True))
        for n, (dim, size) in enumerate(zip(self.all_dims, self.all_shape, strict=True)):
            item = keys.get(dim, slice(None))
            taken = range(size)[item] if isinstance(item, slice) else range(size)[item:][:1]
            if n < len(loops):
                name, _, step = loops[n]
                loops[n] = (name, len(taken), step * taken.step)
                first += step * taken.start if taken else 0
            else:
                pick = n - len(loops)
                places = range(self.frames.pixels.shape[pick])[window[pick]]
                window[pick] = _as_slice(places[_as_slice(taken)])
        dims = tuple(dim for dim in self.dims if isinstance(keys[dim], slice))
        return replace(self, loops=tuple(loops), first=first, dims=dims, window=tuple(window))

    def with_source(self, source: ByteSource) -> FrameArray:
        """Return the same array over another source of the same bytes."""
        return replace(self, frames=replace(self.frames, source=source))

    @property
    def all_dims(self) -> tuple[str, ...]:
        """All axes, those of size 1 that ``dims`` leaves out included."""
        return (*(name for name, _, _ in self.loops), *PIXEL_DIMS)

    @property
    def all_shape(self) -> tuple[int, ...]:
        """Sizes of ``all_dims``."""
        sizes = zip(self.window, self.frames.pixels.shape, strict=True)
        pixels = (len(range(size)[pick]) for pick, size in sizes)
        return (*(count for _, count, _ in self.loops), *pixels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each of ``dims``."""
        sizes = dict(zip(self.all_dims, self.all_shape, strict=True))
        return tuple(sizes[dim] for dim in self.dims)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.dims)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a sample."""
        return self.frames.pixels.dtype

    @property
    def size(self) -> int:
        """Number of samples."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes of the whole array in memory."""
        return self.size * self.dtype.itemsize

    def read(self, key: tuple[Any, ...], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read a part by outer (orthogonal) indexing.

        Parameters
        ----------
        key : tuple of int, slice or 1-D index array
            One item for each of ``dims``. Integers drop their axis; index arrays are taken each on its own axis.
        out : ndarray, optional
            C-contiguous array of the result's shape and dtype to read into.

        Returns
        -------
        ndarray
            The part, in native memory, of the file's dtype.

        Raises
        ------
        IndexError
            If an index is out of range.
        ValueError
            If a frame is damaged, or ``out`` does not fit.
        """
        whole = None if out is not None else self._whole_frame(key)
        if whole is not None:
            kept = (size for item, size in zip(key, whole[1], strict=True) if type(item) is slice)
            return self.frames.frame(whole[0]).reshape(tuple(kept))
        flat, picks, shape = self._resolve(key)
        into = out
        if out is not None:
            if out.shape != shape or out.dtype != self.dtype or not out.flags.c_contiguous:
                raise ValueError(
                    f"out must be C-contiguous, of shape {shape} and dtype {self.dtype}; "
                    f"got shape {out.shape}, dtype {out.dtype}"
                )
            out = out.reshape(len(flat), *(len(p) for p in picks))
        result = self._read_flat(flat, tuple(simplify(p) for p in picks), out)
        return result.reshape(shape) if into is None else into

    async def read_async(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read as `read` does; other coroutines run while bytes are on their way."""
        flat, picks, shape = self._resolve(key)
        unique, inverse = np.unique(flat, return_inverse=True)
        frames = await self.frames.read_async(unique, tuple(simplify(p) for p in picks))
        in_order = len(unique) == len(flat) and (inverse == np.arange(len(flat))).all()
        return (frames if in_order else frames[inverse]).reshape(shape)

    def _whole_frame(self, key: tuple[Any, ...]) -> tuple[int, list[int]] | None:
        """Return the one frame that a key takes wholly, and how much it takes of each axis; None if it takes others.

        The case of a dask array with a block for each frame, where what many frames need would cost more than the read.
        """
        keys, index = dict(zip(self.dims, key, strict=True)), self.first
        for name, count, step in self.loops:
            item = keys.get(name, 0)
            if type(item) is slice:
                taken = range(count)[item]
                if len(taken) != 1:
                    return None
                index += taken[0] * step
            elif type(item) is int and 0 <= item < count:
                index += item * step
            else:
                return None
        sizes = dict(zip(PIXEL_DIMS, self.frames.pixels.shape, strict=True))
        for window, (dim, size) in zip(self.window, sizes.items(), strict=True):
            item = keys.get(dim, slice(None) if size == 1 else None)
            if (
                type(item) is not slice
                or window != slice(None)
                or item.indices(size) != (0, size, 1)
            ):
                return None
        return index, [sizes.get(dim, 1) for dim in self.dims]

    def _resolve(
        self, key: tuple[Any, ...]
    ) -> tuple[NDArray[np.intp], list[NDArray[np.intp]], tuple[int, ...]]:
        """Return the frames that a key takes, the positions on C, Y, X and S, and the shape of the result."""
        keys = dict(zip(self.dims, key, strict=True))
        kept = {dim for dim, item in keys.items() if isinstance(item, slice) or np.ndim(item)}
        positions = [
            _positions(keys.get(dim, 0), dim, size)
            for dim, size in zip(self.all_dims, self.all_shape, strict=True)
        ]
        n = len(self.loops)
        index = np.full((), self.first, np.intp)
        for (_, _, step), where in zip(self.loops, positions, strict=False):
            index = np.add.outer(index, where * step)
        shape = tuple(
            len(where) for dim, where in zip(self.all_dims, positions, strict=True) if dim in kept
        )
        picks = [
            np.arange(size)[pick][where]
            for pick, size, where in zip(
                self.window, self.frames.pixels.shape, positions[n:], strict=True
            )
        ]
        return index.reshape(-1), picks, shape

    def _read_flat(
        self, flat: NDArray[np.intp], picks: tuple[Any, ...], out: NDArray[Any] | None
    ) -> NDArray[Any]:
        repeated = len(flat) > 1 and not (np.diff(flat) > 0).all()
        if repeated:
            unique, inverse = np.unique(flat, return_inverse=True)
            if len(unique) < len(flat):
                return np.take(self.frames.read(unique, picks), inverse, axis=0, out=out)
        return self.frames.read(flat, picks, out)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Index as NumPy does with integers, slices and ``...``; index arrays are taken orthogonally."""
        items = list(key) if isinstance(key, tuple) else [key]
        if any(item is Ellipsis for item in items):
            at = next(i for i, item in enumerate(items) if item is Ellipsis)
            items[at : at + 1] = [slice(None)] * (self.ndim - len(items) + 1)
        if len(items) > self.ndim:
            raise IndexError(f"too many indices for an array of {self.ndim} dimensions")
        items += [slice(None)] * (self.ndim - len(items))
        return self.read(tuple(items))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("the pixels are in a file: an array of them is always a copy")
        data = self[...]
        return data if dtype is None else data.astype(dtype, copy=False)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        where = (self.loops, self.first, self.dims, self.window)
        return ("nd2.FrameArray", self.frames.source.identity, where)


def _as_slice(places: range) -> slice:
    """Turn a range of places on an axis into the slice that takes them."""
    return slice(places.start, places.stop if places.stop >= 0 else None, places.step)


def _positions(key: Any, dim: str, size: int) -> NDArray[np.intp]:
    """Return the positions that one key takes on an axis."""
    if isinstance(key, slice):
        return np.arange(*key.indices(size), dtype=np.intp)
    where = np.asarray(key)
    if where.dtype == bool:
        if where.shape != (size,):
            raise IndexError(f"boolean index of shape {where.shape} on axis {dim!r} of size {size}")
        return np.flatnonzero(where)
    if where.dtype.kind not in "iu" and where.size:
        raise IndexError(
            f"index on axis {dim!r} must be an integer, a slice or an array of integers"
        )
    where = where.reshape(-1).astype(np.intp)
    wrong = (where < -size) | (where >= size)
    if wrong.any():
        raise IndexError(f"index {where[wrong][0]} is out of range for axis {dim!r} of size {size}")
    return np.where(where < 0, where + size, where)
