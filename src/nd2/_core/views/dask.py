"""Dask arrays: one blockwise layer over a picklable lazy array.

The graph contains the array once, without a lock or a handle.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dask.array as da
import dask.base
import numpy as np
from dask._task_spec import Task
from dask.array.core import finalize
from dask.callbacks import Callback
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.utils import parse_bytes

from nd2._core.frames.array import PIXEL_DIMS, FrameArray
from nd2._core.frames.selection import expand

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from nd2._core.frames.selection import LazyArray
    from nd2._core.views.pyramid import LevelArray


def to_dask(array: FrameArray | LevelArray, chunks: Any = None, *, wrapped: bool = False) -> da.Array:
    """Return a dask array over a lazy array; `wrapped` as a ``ResourceBackedDaskArray``, if that is installed."""
    if chunks is None:
        chunks = tuple(-1 if dim in PIXEL_DIMS else 1 for dim in array.dims)
    elif isinstance(array, FrameArray) and isinstance(chunks, str) and chunks == "auto":
        chunks = _grouped(array)
    plain = da.from_array(  # type: ignore[no-untyped-call]
        array,
        chunks=chunks,
        name=f"nd2-{dask.base.tokenize(array, chunks)}",
        lock=False,
        asarray=False,
        fancy=False,
        inline_array=False,
        meta=np.empty((0,) * array.ndim, array.dtype),
    )
    kind = _wrapped_type() if wrapped else ImageArray
    return kind.from_blocks(plain, array)


def _wrapped_type() -> type[ImageArray]:
    try:
        from resource_backed_dask_array import ResourceBackedDaskArray
    except ImportError:
        return ImageArray
    return _wrap(ResourceBackedDaskArray)


@cache
def _wrap(base: type[Any]) -> type[ImageArray]:
    """Return a type of `ImageArray` that is a ``ResourceBackedDaskArray``, as are its parts and results of methods."""

    class WrappedImageArray(ImageArray, base):  # type: ignore[misc]
        wrapped = True

        def __new__(cls, *args: Any, **options: Any) -> WrappedImageArray:
            options.setdefault("_context", _AlwaysOpen())
            array: WrappedImageArray = super().__new__(cls, *args, **options)  # type: ignore[no-untyped-call]
            return array

        def __reduce__(self) -> tuple[Any, ...]:
            return _restore, (self.dask, self.name, self.chunks, self._meta)

    return WrappedImageArray


def _restore(graph: Any, name: str, chunks: Any, meta: Any) -> Any:
    """Return an array from its pickled parts: a ``ResourceBackedDaskArray`` if that is installed, or a plain one."""
    try:
        from resource_backed_dask_array import ResourceBackedDaskArray
    except ImportError:
        return da.Array(graph, name, chunks, meta=meta)  # type: ignore[no-untyped-call]
    return ResourceBackedDaskArray(graph, name, chunks, meta=meta, _context=_AlwaysOpen())


class _AlwaysOpen:
    """A resource that is never closed: the blocks of an array open the file themselves."""

    closed = False

    def __enter__(self) -> _AlwaysOpen:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class WholeArray(da.Array):
    """The dask array of a lazy array, before any operation on it.

    Computing all of it in this process is one read into one array, without blocks to join. All operations
    yield plain dask arrays.
    """

    image: LazyArray

    @classmethod
    def from_blocks(cls, blocks: da.Array, image: LazyArray) -> Self:
        """Return a dask array that knows the lazy array that its blocks are parts of."""
        result = cls(blocks.dask, blocks.name, blocks.chunks, meta=blocks._meta)  # noqa: SLF001
        result.image = image
        return result

    def compute(self, **options: Any) -> NDArray[Any]:
        """Read the array into memory."""
        if _runs_here(options.get("scheduler")) and not set(options) - {"scheduler", "optimize_graph"}:
            return _read_whole(self.image)
        computed: NDArray[Any] = super().compute(**options)  # type: ignore[no-untyped-call]
        return computed

    @property
    def __dask_optimize__(self) -> Any:
        return _Optimizer(os.getpid()) if _runs_here() else da.Array.__dask_optimize__

    def __dask_postcompute__(self) -> tuple[Any, tuple[Any, ...]]:
        return _join, (self.image,)


def _runs_here(scheduler: Any = None) -> bool:
    """Return whether a scheduler, or that in use, runs in this process, and nobody observes its tasks."""
    schedulers = dask.base.named_schedulers
    get = dask.base.get_scheduler(scheduler=scheduler, cls=da.Array)  # type: ignore[no-untyped-call]
    return get in (schedulers["threads"], schedulers["sync"]) and not Callback.active


def _join(blocks: Any, image: LazyArray) -> NDArray[Any]:
    """Join all blocks of an array."""
    joined: NDArray[Any] = finalize(blocks)  # type: ignore[no-untyped-call]
    return joined


def _read_whole(image: LazyArray) -> NDArray[Any]:
    return image.read((slice(None),) * image.ndim)


@dataclass(frozen=True)
class _Optimizer:
    """Replaces the reading and joining of blocks by one read, unless other arrays need the blocks.

    dask optimizes arrays of equal optimizers together. It is equal to that of plain arrays: otherwise
    ``dask.compute`` would mix up the order of its results, and not share blocks. It does nothing outside
    ``process``: a client of dask.distributed, if passed to ``compute``, has its scheduler optimize the graph.
    """

    process: int

    def __call__(self, graph: Any, keys: Any, **options: Any) -> Any:
        if not isinstance(graph, HighLevelGraph):
            return da.Array.__dask_optimize__(graph, keys, **options)
        layers, dependencies = dict(graph.layers), dict(graph.dependencies)
        for key in flatten(keys):  # type: ignore[no-untyped-call]
            task = dict(layers[key]).get(key) if key in layers else None
            if not (isinstance(task, Task) and task.func is _join and os.getpid() == self.process):
                continue
            if all(other == key or blocks.isdisjoint(dependencies[key]) for other, blocks in dependencies.items()):
                layers[key] = MaterializedLayer({key: Task(key, _read_whole, task.args[1])})
                dependencies[key] = set()
        return da.Array.__dask_optimize__(HighLevelGraph(layers, dependencies), keys, **options)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Optimizer) or other is da.Array.__dask_optimize__

    def __hash__(self) -> int:
        return hash(da.Array.__dask_optimize__)


class ImageArray(WholeArray):
    """The dask array of an image: indexing with integers and slices reads only the rows of that part."""

    image: FrameArray | LevelArray
    wrapped = False

    def __getitem__(self, index: Any) -> da.Array:
        key = tuple(expand(index, self.ndim))
        if not _is_basic(key, self.shape):
            part: da.Array = super().__getitem__(index)  # type: ignore[no-untyped-call]
            return part
        if all(item == slice(None) for item in key):
            return self
        chunks = tuple(
            _chunks_of(blocks, item, size)
            for blocks, item, size in zip(self.chunks, key, self.shape, strict=True)
            if isinstance(item, slice)
        )
        return to_dask(self.image.narrow(key), chunks, wrapped=self.wrapped)


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


def _is_basic(key: tuple[Any, ...], shape: tuple[int, ...]) -> bool:
    """Return whether a key has an integer within the axis, or a slice that is not empty, for each axis."""
    return len(key) == len(shape) and all(
        len(range(size)[item]) > 0
        if isinstance(item, slice)
        else type(item) is not bool and isinstance(item, (int, np.integer)) and -size <= item < size
        for item, size in zip(key, shape, strict=True)
    )


def _chunks_of(blocks: tuple[int, ...], item: slice, size: int) -> tuple[int, ...]:
    """Return how much of each block of an axis a slice takes, in the order of the slice."""
    if len(range(size)[item]) == 1:
        return (1,)  # the step of a slider, whatever the number of blocks
    positions = np.arange(size)[item]
    block = np.searchsorted(np.cumsum(blocks), positions, side="right")
    edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(positions)]
    return tuple(b - a for a, b in pairwise(edges))
