"""Dask arrays: one blockwise layer over a picklable lazy array; no lock, no handle, no file object in the graph."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dask.array as da
import dask.base
import numpy as np
from dask.callbacks import Callback
from dask.utils import parse_bytes

from nd2._core.frames.array import PIXEL_DIMS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.frames.array import FrameArray


def to_dask(array: FrameArray, chunks: Any = None) -> da.Array:
    """Return a dask array over a lazy array.

    Parameters
    ----------
    array : FrameArray
        What to read, axes as in the result.
    chunks : optional
        Chunks as dask takes them. By default one block a frame; ``"auto"`` groups frames that follow each other up to
        dask's chunk size (and cuts larger ones into bands of rows, if they are not compressed).
    """
    if chunks is None:
        chunks = tuple(-1 if dim in PIXEL_DIMS else 1 for dim in array.dims)
    elif isinstance(chunks, str) and chunks == "auto":
        chunks = _grouped(array)
    meta = np.empty((0,) * array.ndim, array.dtype)
    plain = da.from_array(  # type: ignore[no-untyped-call]
        array,
        chunks=chunks,
        name=f"nd2-{dask.base.tokenize(array, chunks)}",
        lock=False,
        asarray=False,
        fancy=False,
        inline_array=False,
        meta=meta,
    )
    result = ImageArray(plain.dask, plain.name, plain.chunks, meta=meta)  # type: ignore[no-untyped-call]
    result.image = array
    return result


class ImageArray(da.Array):
    """The dask array of an image that was not computed with yet.

    Two shortcuts, each with the result that dask's own way has. Computing it whole, here and now, is one read into one
    array, without blocks that have to be joined. A part of it, taken by integers and slices, is the array of that part:
    only its rows are read. Whatever else is done with it yields plain dask arrays.
    """

    image: FrameArray

    def compute(self, **options: Any) -> NDArray[Any]:
        """Read the image into memory."""
        schedulers = dask.base.named_schedulers
        get = dask.base.get_scheduler(  # type: ignore[no-untyped-call]
            scheduler=options.get("scheduler"), collections=[self]
        )
        if get in (schedulers["threads"], schedulers["sync"]) and not (
            Callback.active or set(options) - {"scheduler", "optimize_graph"}
        ):
            return self.image.read((slice(None),) * self.ndim)
        computed: NDArray[Any] = super().compute(**options)  # type: ignore[no-untyped-call]
        return computed

    def __getitem__(self, index: Any) -> da.Array:
        key = _basic(index, self.shape)
        if key is None:
            taken: da.Array = super().__getitem__(index)  # type: ignore[no-untyped-call]
            return taken
        if all(item == slice(None) for item in key):
            return self
        chunks = tuple(
            _chunks_of(blocks, item)
            for blocks, item in zip(self.chunks, key, strict=True)
            if isinstance(item, slice)
        )
        return to_dask(self.image.narrow(key), chunks)


def _grouped(array: FrameArray) -> tuple[int, ...]:
    """Return the size of the blocks that hold as many frames, in file order, as dask's chunk size allows."""
    limit = parse_bytes(dask.config.get("array.chunk-size"))
    sizes = dict(zip(array.dims, array.shape, strict=True))
    frame = math.prod(size for dim, size in sizes.items() if dim in PIXEL_DIMS)
    frame *= array.dtype.itemsize
    count = max(limit // max(frame, 1), 1)
    for dim in reversed(array.dims):
        if dim not in PIXEL_DIMS:
            sizes[dim] = min(sizes[dim], count)
            count //= max(sizes[dim], 1)
    if frame > limit and "Y" in sizes and array.frames.pixels.codec == "raw":
        sizes["Y"] = max(sizes["Y"] * limit // frame, 1)
    return tuple(max(size, 1) for size in sizes.values())


def _basic(index: Any, shape: tuple[int, ...]) -> tuple[int | slice, ...] | None:
    """Return integers and slices for all axes; None for any other index, and for one that is out of range."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(item is Ellipsis for item in items):
        at = next(i for i, item in enumerate(items) if item is Ellipsis)
        items[at : at + 1] = [slice(None)] * (len(shape) - len(items) + 1)
    items += [slice(None)] * (len(shape) - len(items))
    if len(items) != len(shape):
        return None
    key: list[int | slice] = []
    for item, size in zip(items, shape, strict=True):
        if isinstance(item, slice) and len(range(size)[item]):
            key.append(item)
        elif (
            type(item) is not bool and isinstance(item, (int, np.integer)) and -size <= item < size
        ):
            key.append(int(item) % size)
        else:
            return None
    return tuple(key)


def _chunks_of(blocks: tuple[int, ...], item: slice) -> tuple[int, ...]:
    """Return the sizes of what a slice takes of each block of an axis, in the order in which it takes them."""
    places = np.arange(sum(blocks))[item]
    block = np.searchsorted(np.cumsum(blocks), places, side="right")
    edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(places)]
    return tuple(b - a for a, b in pairwise(edges))
