"""Chunks and shards of an OME-Zarr, and the blocks of whole frames that fill whole chunks.

Every frame belongs to one block, and is read once. Blocks are in the order of their first frames in
the file.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from nd2._core.values import record
from nd2._core.views.placement import rgb_picks
from nd2._core.views.pyramid import level_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.export.zarr_documents import ImageAxes
    from nd2._core.readers import Reader
    from nd2._core.readers.layer_chunks import LayerChunks
    from nd2._core.views.placement import Placement

_CHUNK = 4 << 20
"""Target size of a chunk in bytes, for ``"auto"``."""
_MAX_PART = 128 << 20
"""Most bytes of pixels that a worker of a cluster loses when it is killed; a block may be larger."""
_PARTS = 8
"""Parts for each thread of a cluster, as far as there are so many blocks."""
_MAX_LEVELS = 64
_MIN_LEVEL = 256
"""Length of the longer side in pixels at which ``levels="auto"`` stops halving."""


@record
class Grid:
    """Chunks and shards of an image, by the names of axes, and the number of levels."""

    chunks: Mapping[str, int]
    shards: Mapping[str, int] | None
    levels: int

    @classmethod
    def choose(
        cls,
        axes: ImageAxes,
        dtype: np.dtype[Any],
        inner: str,
        chunk_shape: tuple[int, ...] | Literal["auto"] | None,
        shard_shape: tuple[int, ...] | None,
        levels: int | Literal["auto"],
    ) -> Grid:
        """Check the options, and choose the others; ``inner`` is the axis, ``t`` or ``z``, that varies fastest."""
        if chunk_shape is None:
            chunks = axes.shape
        elif isinstance(chunk_shape, str):
            if chunk_shape != "auto":
                raise ValueError(f"chunk_shape must be a tuple, 'auto' or None, not {chunk_shape!r}")
            chunks = _auto_chunks(axes, dtype.itemsize, inner)
        else:
            chunks = tuple(map(min, _check_shape(chunk_shape, axes, "chunk_shape"), axes.shape))
        if shard_shape is not None:
            shard_shape = _check_shape(shard_shape, axes, "shard_shape")
            if any(shard % chunk for shard, chunk in zip(shard_shape, chunks, strict=True)):
                raise ValueError(
                    f"shard_shape {shard_shape} must be a multiple of the chunks {chunks} "
                    f"on each of the axes {axes.names!r}"
                )
        height, width = axes.shape[-2:]
        return cls(
            dict(zip(axes.names, chunks, strict=True)),
            None if shard_shape is None else dict(zip(axes.names, shard_shape, strict=True)),
            choose_levels(levels, (height, width)),
        )

    def fit(self, names: str, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        """Return chunks and shards for a level with the axes ``names``, not larger than its shape requires."""
        chunks = tuple(min(self.chunks[name], n) for name, n in zip(names, shape, strict=True))
        if self.shards is None:
            return chunks, None
        whole = (-(-n // c) * c for c, n in zip(chunks, shape, strict=True))
        fitting = (max(self.shards[name] // c * c, c) for name, c in zip(names, chunks, strict=True))
        return chunks, tuple(min(s, w) for s, w in zip(fitting, whole, strict=True))

    def extent(self, name: str) -> int:
        """Return the number of items of an axis in one chunk or shard."""
        return (self.shards or self.chunks).get(name, 1)


def choose_levels(levels: int | Literal["auto"], shape: tuple[int, int]) -> int:
    """Check the number of levels of a pyramid, or choose it for an image of a shape (Y, X)."""
    if levels == "auto":
        return level_count(*shape, _MIN_LEVEL)
    if levels in range(1, _MAX_LEVELS):
        return levels
    raise ValueError(f"levels must be a number from 1 or 'auto', not {levels!r}")


def _check_shape(shape: Sequence[int], axes: ImageAxes, name: str) -> tuple[int, ...]:
    if isinstance(shape, int):
        shape = (shape,)
    if len(shape) != len(axes.shape) or any(int(n) < 1 for n in shape):
        raise ValueError(
            f"{name} {tuple(shape)} must have a positive number for each of the axes {axes.names!r}, "
            f"whose sizes are {axes.shape}"
        )
    return tuple(int(n) for n in shape)


def _auto_chunks(axes: ImageAxes, itemsize: int, inner: str) -> tuple[int, ...]:
    """Return chunks of about 4 MB: a part of a large plane, or several small planes."""
    chunks = dict.fromkeys(axes.names, 1) | dict(zip("yx", axes.shape[-2:], strict=True))
    while chunks["y"] * chunks["x"] * itemsize > _CHUNK and max(chunks["y"], chunks["x"]) > 1:
        longer = "y" if chunks["y"] >= chunks["x"] else "x"
        chunks[longer] = -(-chunks[longer] // 2)
    planes = max(_CHUNK // max(chunks["y"] * chunks["x"] * itemsize, 1), 1)
    for name in (inner, "t" if inner == "z" else "z"):
        if name in axes.names:
            chunks[name] = min(planes, axes.shape[axes.names.index(name)])
            planes //= chunks[name]
    return tuple(chunks[name] for name in axes.names)


@record
class Block:
    """Whole frames that fill whole chunks."""

    image: int
    data: NDArray[Any]  # on the axes of the image
    frames: NDArray[np.intp]  # sequence indices, shape (t, z)
    time: int  # position of the first frame on the axis t
    plane: int  # and on z

    def region(self, names: str) -> tuple[slice, ...]:
        """Return the region of the block in an array with the given axes."""
        times, planes = self.frames.shape
        where = {"t": slice(self.time, self.time + times), "z": slice(self.plane, self.plane + planes)}
        return tuple(where.get(name, slice(None)) for name in names)

    def labels(self, layer: LayerChunks, names: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return the masks of a binary layer for these frames, on the axes ``names``; missing masks are 0."""
        height, width = shape[-2:]
        masks = np.zeros((*self.frames.shape, height, width), np.uint32)
        for place, frame in np.ndenumerate(self.frames):
            mask = layer.read_fitted(int(frame))
            if mask is not None:
                masks[place] = mask
        kept = [size for name, size in zip("tz", self.frames.shape, strict=True) if name in names]
        return masks.reshape(*kept, height, width)


class BlockRange(NamedTuple):
    """A range of blocks, and the number of frames in them."""

    start: int
    stop: int
    frames: int


@record
class Blocks:
    """All blocks of an export, in reading order.

    ``order`` has the places of the frames in ``placement``, block by block; block ``i`` is
    ``order[edges[i]:edges[i + 1]]``.
    """

    reader: Reader
    names: str
    placement: Placement
    order: NDArray[np.intp]
    edges: NDArray[np.intp]

    @classmethod
    def from_placement(cls, reader: Reader, placement: Placement, axes: ImageAxes, grid: Grid) -> Blocks:
        """Group the frames by the chunks (or shards) that they share."""
        times, planes = grid.extent("t"), grid.extent("z")
        row, column = placement.time // times, placement.plane // planes
        key = (placement.image * (placement.times + 1) + row) * (placement.planes + 1) + column
        rank = np.empty(len(key), np.intp)
        rank[placement.in_file_order(reader.frames)] = np.arange(len(key))
        order = np.lexsort((placement.plane, placement.time, key))
        starts = np.flatnonzero(np.diff(key[order], prepend=-1))
        sizes = np.diff(starts, append=len(order))
        ranking = np.argsort(np.minimum.reduceat(rank[order], starts), kind="stable")
        edges = np.cumsum([0, *sizes[ranking]])
        shifts = np.repeat(starts[ranking] - edges[:-1], sizes[ranking])
        return cls(reader, axes.names, placement, order[np.arange(len(order)) + shifts], edges)

    def parts(self, frame_bytes: int, threads: int) -> list[BlockRange]:
        """Divide the blocks into ranges of about the same size, several for each of ``threads``."""
        edges = self.edges
        size = min(_MAX_PART // max(frame_bytes, 1), int(edges[-1]) // (_PARTS * max(threads, 1)))
        bins = edges[:-1] // max(size, 1)
        starts = np.flatnonzero(np.diff(bins, prepend=-1)).tolist()
        stops = [*starts[1:], len(edges) - 1]
        return [
            BlockRange(start, stop, int(edges[stop] - edges[start])) for start, stop in zip(starts, stops, strict=True)
        ]

    def images(self, part: BlockRange) -> list[int]:
        """Return the images that some of the blocks belong to."""
        start, stop = self.edges[[part.start, part.stop]]
        images: list[int] = np.unique(self.placement.image[self.order[start:stop]]).tolist()
        return images

    def read(self, part: BlockRange | None = None) -> Iterator[Block]:
        """Yield the blocks, or some of them, one after the other."""
        placement, frames, picks = self.placement, self.reader.frames, rgb_picks(self.reader)
        edges = self.edges if part is None else self.edges[part.start : part.stop + 1]
        for start, stop in pairwise(edges.tolist()):
            group = self.order[start:stop]
            index = placement.index[group]
            time, plane = placement.time[group], placement.plane[group]
            shape = (int(time[-1] - time[0]) + 1, int(plane[-1] - plane[0]) + 1)
            pixels = frames.read(index, picks)
            _, c, y, x, s = pixels.shape
            # axes t, z, C, Y, X, S to t, C, S, z, Y, X
            moved = pixels.reshape(*shape, c, y, x, s).transpose(0, 2, 5, 1, 3, 4)
            sizes = {"t": shape[0], "c": c * s, "z": shape[1], "y": y, "x": x}
            yield Block(
                int(placement.image[group[0]]),
                moved.reshape([sizes[name] for name in self.names]),
                index.reshape(shape),
                int(time[0]),
                int(plane[0]),
            )
