"""Dask arrays: one blockwise layer over a picklable lazy array.

The graph contains the array once, without a lock or a handle.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dask.array as da
import dask.base
import numpy as np
from dask.callbacks import Callback
from dask.utils import parse_bytes

from nd2._core.frames.array import PIXEL_DIMS, FrameArray
from nd2._core.frames.selection import expand

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.views.pyramid import LevelArray


def to_dask(array: FrameArray | LevelArray, chunks: Any = None) -> da.Array:
    """Return a dask array over a lazy array."""
    if chunks is None:
        chunks = tuple(-1 if dim in PIXEL_DIMS else 1 for dim in array.dims)
    elif isinstance(array, FrameArray) and isinstance(chunks, str) and chunks == "auto":
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
    """The dask array of an image, before any operation on it.

    It has two shortcuts, each with the same result as dask's own way. Computing the whole array
    in this process is one read into one array, without blocks to join. Indexing with integers and
    slices gives the array of that part, so that only its rows are read. All other operations yield
    plain dask arrays.
    """

    image: FrameArray | LevelArray

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
            part: da.Array = super().__getitem__(index)  # type: ignore[no-untyped-call]
            return part
        if all(item == slice(None) for item in key):
            return self
        chunks = tuple(
            _chunks_of(blocks, item, size)
            for blocks, item, size in zip(self.chunks, key, self.shape, strict=True)
            if isinstance(item, slice)
        )
        return to_dask(self.image.narrow(key), chunks)


def _grouped(array: FrameArray) -> tuple[int, ...]:
    """Return the shape of blocks of as many frames, in file order, as dask's chunk size allows."""
    limit = parse_bytes(dask.config.get("array.chunk-size"))
    sizes = array.sizes
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
    """Return integers and slices for all axes; None for any other index, or one out of range."""
    items = expand(index, len(shape))
    if len(items) != len(shape):
        return None
    key: list[int | slice] = []
    for item, size in zip(items, shape, strict=True):
        if isinstance(item, slice) and len(range(size)[item]):
            key.append(item)
        elif type(item) is not bool and isinstance(item, (int, np.integer)) and -size <= item < size:
            key.append(int(item) % size)
        else:
            return None
    return tuple(key)


def _chunks_of(blocks: tuple[int, ...], item: slice, size: int) -> tuple[int, ...]:
    """Return how much of each block of an axis a slice takes, in the order of the slice."""
    if len(range(size)[item]) == 1:
        return (1,)  # the step of a slider, whatever the number of blocks
    positions = np.arange(size)[item]
    block = np.searchsorted(np.cumsum(blocks), positions, side="right")
    edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(positions)]
    return tuple(b - a for a, b in pairwise(edges))
