"""A labeled array as the ND2 file that `imwrite` would make of it, without writing one.

Exports read it like any file: they write the same for an array as for its file. Metadata are in
memory. A frame is computed or read when its bytes are read.
"""

from __future__ import annotations

import bisect
import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Unpack

import numpy as np

from nd2._core.format import chunks
from nd2._core.format.pixels import copy_components
from nd2._core.io.source import ByteSource
from nd2._core.readers.chunk_file import ChunkFile
from nd2._core.readers.modern import ModernReader
from nd2._core.write.arrays import ArrayFrames
from nd2._core.write.plan import resolve_sizes
from nd2._core.write.tables import FrameLog, NewTables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from nd2._core.format.pixels import PixelLayout
    from nd2._core.readers import Reader
    from nd2._core.write.plan import WriterOptions

_KEPT = 256 << 20
"""Bytes of blocks in memory of which not everything has been read yet; always at least one block."""
_KINDS = "uif"


def array_reader(
    array: xr.DataArray | xr.Dataset, axes: Sequence[str] | None = None, **options: Unpack[WriterOptions]
) -> Reader:
    """Return a reader of an array, as if `imwrite` had written it with these options.

    Unlike in files, samples may be integers of any size, or double precision.
    """
    frames = ArrayFrames.from_array(array, axes, options)
    dtype = np.dtype(frames.image.dtype).newbyteorder("<")
    if dtype.kind not in _KINDS:
        raise TypeError(f"pixels are {dtype}: convert them to real numbers, as .astype(np.uint8)")
    sizes = resolve_sizes(frames.sizes, None, None)
    tables = NewTables.from_options(sizes, dtype, frames.options, any_dtype=True)
    members = dict([*tables.start(), *tables.finish(FrameLog(tables.times.copy()))])
    swap = frames.options.get("samples", "RGB") == "RGB"
    source = ArraySource(frames, tables.plan.pixels, members, swap=swap)
    return ModernReader(ChunkFile(source, source.chunk_map), (3, 0), dtype=dtype)


class ArraySource(ByteSource):
    """The bytes of a file that does not exist: metadata, frames in the order of their blocks.

    Each block of an array is computed once if readers read in the order of the file.
    """

    max_gap = 0

    def __init__(self, frames: ArrayFrames, pixels: PixelLayout, members: dict[bytes, bytes], *, swap: bool) -> None:
        self._frames, self._pixels = frames, pixels
        self._swap = swap and pixels.samples == 3
        others: dict[bytes, tuple[int, int]] = {}
        self._start = bytearray()
        for name, data in members.items():
            others[name] = len(self._start), len(data)
            self._start += chunks.encode_chunk(name, data)
        self._blocks = list(frames.blocks())
        # Number of each frame in the file, by block, without missing frames.
        shape = tuple(frames.image.shape[axis] for axis in frames.loops)
        numbers = np.arange(int(np.prod(shape, dtype=np.intp))).reshape(shape)
        present = np.ones(shape, bool) if frames.present is None else frames.present
        self._places = [np.flatnonzero(np.atleast_1d(present[block])) for block in self._blocks]
        index = [np.ravel(numbers[block])[places] for block, places in zip(self._blocks, self._places, strict=True)]
        self._index: NDArray[np.intp] = np.concatenate(index)
        self._firsts = np.cumsum([0, *map(len, index)]).tolist()
        self._stride = chunks.PAGE + chunks.page_up(pixels.frame_bytes)
        places = len(self._start) + np.arange(len(self._index)) * self._stride
        sizes = np.full(len(places), chunks.TIMESTAMP + pixels.frame_bytes, np.uint64)
        self._size = len(self._start) + len(places) * self._stride
        self.chunk_map = chunks.ChunkMap(self._index, places.astype(np.uint64), sizes, others, self._size)
        self._key = os.urandom(8).hex()
        self._lock = threading.Lock()
        self._loaded: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._unread: dict[int, int] = {}

    @property
    def identity(self) -> tuple[str, int, str]:
        return ("", self._size, f"array {self._key}")

    def read(self, offset: int, nbytes: int) -> bytes:
        self.check(offset, nbytes)
        return b"".join(self._parts(offset, nbytes))

    def read_into(self, targets: Sequence[tuple[int, memoryview]]) -> None:
        for offset, buffer in targets:
            view = buffer.cast("B")
            for part in self._parts(offset, len(view)):
                view[: len(part)] = part
                view = view[len(part) :]

    def reopen(self) -> ArraySource:
        return self

    def release(self) -> None:
        with self._lock:
            self._loaded.clear()

    def _parts(self, offset: int, nbytes: int) -> Iterator[memoryview]:
        while nbytes:
            part = self._part(offset, nbytes)
            yield part
            offset, nbytes = offset + len(part), nbytes - len(part)

    def _part(self, offset: int, nbytes: int) -> memoryview:
        """Return the contiguous bytes at an offset, possibly fewer than requested."""
        if offset < len(self._start):
            return memoryview(self._start)[offset : offset + nbytes]
        number, inside = divmod(offset - len(self._start), self._stride)
        if inside < chunks.PAGE:
            name, size = chunks.frame_name(int(self._index[number])), self._pixels.frame_bytes
            return memoryview(chunks.encode_chunk(name, bytes(8), size))[inside:][:nbytes]
        inside -= chunks.PAGE
        if inside >= self._pixels.frame_bytes:
            return memoryview(bytes(min(nbytes, self._stride - chunks.PAGE - inside)))
        count = min(nbytes, self._pixels.frame_bytes - inside)
        return self._frame(number, count).data[inside : inside + count]

    def _frame(self, number: int, count: int) -> NDArray[np.uint8]:
        """Return the stored bytes of a frame, ``count`` of which will be read."""
        block = bisect.bisect_right(self._firsts, number) - 1
        with self._lock:
            raw = self._loaded.get(block)
            if raw is None:
                raw = self._loaded[block] = self._load(block)
                self._unread[block] = raw.size
                while len(self._loaded) > 1 and sum(r.size for r in self._loaded.values()) > _KEPT:
                    self._loaded.popitem(last=False)
            self._unread[block] -= count
            if self._unread[block] <= 0:
                self._loaded.pop(block, None)
        stored: NDArray[np.uint8] = raw[number - self._firsts[block]]
        return stored

    def _load(self, block: int) -> NDArray[np.uint8]:
        """Return the stored bytes of the frames of a block, shape (frames, bytes)."""
        pixels, places = self._pixels, self._places[block]
        data = self._frames.load(self._blocks[block]).reshape(-1, *pixels.shape)
        if len(places) < len(data):
            data = data[places]
        if self._swap:
            data = data[..., ::-1]
        if pixels.contiguous:
            packed = np.ascontiguousarray(data, pixels.dtype)
            stored: NDArray[np.uint8] = packed.reshape(len(data), -1).view(np.uint8)
            return stored
        raw = np.zeros((len(data), pixels.frame_bytes), np.uint8)
        rows = pixels.stacked_rows(raw.reshape(-1), len(data), pixels.frame_bytes, pixels.height)
        copy_components(rows, data)
        return raw
