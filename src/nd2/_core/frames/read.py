"""Frames out of bytes: executes the plan of a read, and keeps recently decoded frames.

Each byte range is read and decoded straight into its place in one preallocated output, several at
a time. Every view of the pixels goes through here.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from dataclasses import field
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.format.inflate import MAX_RATIO, inflate, inflate_start, is_zlib
from nd2._core.frames import pool
from nd2._core.frames.plan import BLOCK, DIRECT, Block, Picks, Plan, requests
from nd2._core.frames.selection import as_index, as_slice, simplify
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from nd2._core.format.pixels import PixelLayout
    from nd2._core.frames.plan import FrameTable
    from nd2._core.io import ByteSource

_local = threading.local()


class FrameCache:
    """The last decoded frames, at most ``limit`` bytes of them; safe to use from several threads.

    A frame that several threads need at once is decoded by one of them. A copy in another process,
    forked or unpickled, is empty at first.
    """

    def __init__(self, limit: int = 128 << 20) -> None:
        self.limit = limit
        self._clear()

    def _clear(self) -> None:
        self._frames: OrderedDict[Hashable, Future[NDArray[Any]]] = OrderedDict()
        self._ranks: dict[Hashable, float] = {}
        self._lowest = 0.0
        self._nbytes = 0
        self._lock = threading.Lock()
        self._process = os.getpid()

    def get(self, frame: Hashable, decode: Callable[[], NDArray[Any]], cost: float = 0.0) -> NDArray[Any]:
        """Return a frame, from `decode` unless it is kept. The caller must not write to it.

        The least recently used frame is dropped first; one of several times the ``cost`` stays as many times as long.
        """
        from concurrent.futures import Future

        if self._process != os.getpid():
            # A thread of the parent may hold the lock, or may have decoded half of a frame.
            self._clear()
        with self._lock:
            future = self._frames.get(frame)
            decoding: Future[NDArray[Any]] = Future()
            self._frames.setdefault(frame, decoding)
            self._frames.move_to_end(frame)
            self._ranks[frame] = self._lowest + cost
        if future is not None:
            return future.result()
        try:
            rows = decode()
        except BaseException as error:
            with self._lock:
                del self._frames[frame], self._ranks[frame]
            decoding.set_exception(error)
            raise
        with self._lock:
            decoding.set_result(rows)
            self._nbytes += rows.nbytes
            while self._nbytes > self.limit:
                kept = (key for key, future in self._frames.items() if future.done())
                oldest = next(kept)
                # Without costs, the first one has the lowest rank.
                if self._ranks[oldest] > self._lowest:
                    oldest = min((oldest, *kept), key=self._ranks.__getitem__)
                self._lowest = self._ranks.pop(oldest)
                self._nbytes -= self._frames.pop(oldest).result().nbytes
        return rows

    def __contains__(self, frame: Hashable) -> bool:
        return frame in self._frames and self._process == os.getpid()

    def __reduce__(self) -> tuple[type[FrameCache], tuple[int]]:
        return (FrameCache, (self.limit,))


@record
class Frames:
    """The frames of a file; pickles without a handle, and reads in any thread or process."""

    source: ByteSource
    table: FrameTable
    pixels: PixelLayout
    cache: FrameCache = field(default_factory=FrameCache, compare=False, repr=False)
    cut: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Offset and number of the bytes that are left of frames that count as missing."""

    def check_codec(self) -> None:
        """Raise ``ImportError`` if frames cannot be decoded here, before anything is read."""
        if self.pixels.codec == "jpeg2k":
            from nd2._core.format import jp2

            jp2.codestream_decoder()

    def frame(self, index: int) -> NDArray[Any]:
        """Read one whole frame, shape (C, Y, X, S), C-contiguous; zero if it is missing.

        A fast path for the usual case of `read`.
        """
        pixels, size = self.pixels, self.pixels.frame_bytes
        offset, length = self.table.location(index)
        raw = pixels.codec == "raw"
        nbytes = size if raw else length
        complete = length >= (size if raw else self._min_bytes) and offset + nbytes <= self.source.size
        if not complete or nbytes > DIRECT or pixels.codec == "jpeg2k":
            whole: NDArray[Any] = self.read(np.array([index]))[0]
            return whole
        if raw and pixels.contiguous:
            data = np.empty(pixels.shape, pixels.dtype)
            self.source.read_into([(offset, data.view(np.uint8).data)])
            return data
        buffer = _scratch(nbytes)
        self.source.read_into([(offset, buffer)])
        if raw:
            return pixels.rows(buffer, pixels.height).copy()  # the buffer is used again
        rows = self.decode(buffer, index, offset)
        owned = rows.flags.c_contiguous and rows.flags.writeable
        return rows if owned else rows.copy()

    def read(
        self, index: NDArray[np.intp], picks: Picks | None = None, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Read some frames, or the same part of each, shape (n, C', Y', X', S'); missing frames are zero.

        ``index`` has each frame at most once, in any order. ``out`` is C-contiguous if frames are stored in pieces.
        """
        if picks is None:
            picks = tuple(range(size) for size in self.pixels.shape)
        plan = Plan.from_selection(self.table, self.pixels, index, picks)
        self._check(plan)
        if out is None:
            self._check_missing(plan)
            out = np.empty(plan.shape, self.pixels.dtype)
        pieces = out if plan.pieces == 1 else out.reshape(plan.count, 1, *plan.shape[2:])
        pieces[plan.missing] = 0
        job = _Job(self, plan, pieces)
        job.run()
        if self.cut and plan.pieces == 1:
            self._copy_cut(job, index)
        return out

    def _copy_cut(self, job: _Job, index: NDArray[np.intp]) -> None:
        """Put the whole rows that are left of cut frames into the output, where the others stay zero."""
        pixels = self.pixels
        for place in job.plan.missing:
            offset, nbytes = self.cut.get(int(index[place]), (0, 0))
            if nbytes <= 0:
                continue
            data = self.source.read(offset, min(nbytes, pixels.frame_bytes))
            if pixels.codec == "zlib":
                data = inflate_start(data, pixels.frame_bytes)
            count = len(data) // pixels.row_bytes
            job.copy(np.array([place]), pixels.rows(data, count)[None], range(count))

    def _check(self, plan: Plan) -> None:
        """Refuse impossible entries of the table, before anything is allocated or read."""
        size, shortest = self.source.size, self._min_bytes
        nbytes = shortest if self.pixels.codec == "raw" else plan.lengths
        for wrong, message in (
            (plan.lengths < shortest, f"the frame's data is too short for {self.pixels.frame_bytes} bytes"),
            (plan.offsets + nbytes > size, f"the frame's data are beyond the file's end at {size}"),
        ):
            if wrong.any():
                k = int(np.argmax(wrong))
                raise self._error(message, int(plan.rows[k]), int(plan.offsets[k]))

    def _check_missing(self, plan: Plan) -> None:
        """Refuse to make far more zeros for missing frames than the file has bytes."""
        item = math.prod(plan.shape) // max(plan.count, 1) * self.pixels.dtype.itemsize
        nbytes = item * len(plan.missing)
        if nbytes > (32 << 20) + 256 * self.source.size:
            raise errors.corrupt(
                f"{len(plan.missing)} of the {plan.count} requested frames are missing from the "
                f"file: as zeros they take {nbytes} bytes; read fewer at once, or pass out=",
                path=self.source.url,
            )

    @property
    def _min_bytes(self) -> int:
        """The fewest bytes in which a frame (or piece) can be stored."""
        if self.pixels.codec == "jpeg2k":
            return 1
        ratio = 1 if self.pixels.codec == "raw" else MAX_RATIO
        return -(-self.pixels.frame_bytes // ratio)

    def _error(self, message: str, row: int, offset: int) -> Exception:
        """Build the error for a damaged frame (or piece of one)."""
        frame, channel = divmod(row, self.table.pieces)
        chunk = f"ImageDataSeq|{frame}!"
        if self.pixels.codec == "jpeg2k":
            chunk = f"codestream of channel {channel}"
        return errors.corrupt(message, path=self.source.url, chunk=chunk, frame=frame, offset=offset)

    def decode(self, data: Any, row: int, offset: int) -> NDArray[Any]:
        """Decode the bytes of one compressed frame (or piece), shape (C, Y, X, S)."""
        try:
            if self.pixels.codec == "jpeg2k":
                from nd2._core.format import jp2

                return jp2.decode_codestream(data, self.pixels)
            # A program that edits a file may store some frames uncompressed among compressed ones.
            if len(data) == self.pixels.frame_bytes and not is_zlib(data):
                return self.pixels.rows(data, self.pixels.height).copy()  # the buffer is used again
            return self.pixels.rows(inflate(data, self.pixels.frame_bytes), self.pixels.height)
        except ValueError as error:
            message = error.bare if isinstance(error, errors.CorruptFileError) else str(error)
            raise self._error(message, row, offset) from error


@record
class _Job:
    """One read in progress; ``out`` is a view of the output with a row for each frame (or piece)."""

    frames: Frames
    plan: Plan
    out: NDArray[Any]

    def run(self) -> None:
        """Read everything; several ranges per call if the source makes parallel requests."""
        if not self.out.size:
            return
        if self._keeps_frames():
            self._run_cached()
            return
        source = self.frames.source
        blocks = self.plan.blocks(source.max_gap, contiguous=self.out.flags.c_contiguous)
        if not source.concurrent:
            pool.run([(self._read, block) for block in blocks])
            return
        for group in requests(blocks):
            targets = [(b.offset, self._target(b) if b.direct else np.empty(b.nbytes, np.uint8).data) for b in group]
            source.read_into(targets)
            filled = zip(group, targets, strict=True)
            pool.run([(self._put, block, data) for block, (_, data) in filled if not block.direct])

    def _read(self, block: Block) -> None:
        buffer = self._target(block) if block.direct else _scratch(block.nbytes)
        self.frames.source.read_into([(block.offset, buffer)])
        if not block.direct:
            self._put(block, buffer)

    def _target(self, block: Block) -> memoryview:
        """Return the bytes of the output that take whole rows of a frame."""
        places, _ = self.plan.rows_in(block.rows)
        part = self.out[self.plan.places[block.first], :, as_index(places)]
        return part.reshape(-1).view(np.uint8).data

    def _put(self, block: Block, data: Any) -> None:
        """Decode a block and copy its selected part into the output."""
        pixels, plan = self.frames.pixels, self.plan
        if pixels.codec != "raw":
            rows = self._decode(block.first, data)
            self.copy(plan.places[block.first : block.stop], rows[None], block.rows)
            return
        raw = np.frombuffer(data, np.uint8)
        # Frames at equal distances, the usual case, are copied in one go.
        for first, stop, distance in plan.equal_distances(block):
            start = int(plan.offsets[first] - plan.offsets[block.first])
            view = pixels.stacked_rows(raw[start:], stop - first, distance, len(block.rows))
            self.copy(plan.places[first:stop], view, block.rows)

    def copy(self, where: NDArray[np.intp], view: NDArray[Any], rows: range) -> None:
        """Copy the selected part of some frames' rows, shape (len(where), C, len(rows), X, S)."""
        c, _, x, s = self.plan.picks
        row_places, selected = self.plan.rows_in(rows)
        part = view
        for axis, pick in enumerate((c, selected, x, s), start=1):
            part = part[(slice(None),) * axis + (as_index(pick),)]
        places, row_index = simplify(where), as_index(row_places)
        if isinstance(places, range):
            self.out[as_slice(places)][:, :, row_index] = part
        else:
            for k, place in enumerate(places.tolist()):
                self.out[place][:, row_index] = part[k]

    def _decode(self, k: int, data: Any) -> NDArray[Any]:
        return self.frames.decode(data, int(self.plan.rows[k]), int(self.plan.offsets[k]))

    def _keeps_frames(self) -> bool:
        """Return whether to keep the decoded frames, because only parts of them are selected."""
        pixels, plan = self.frames.pixels, self.plan
        if pixels.codec == "raw":
            return False
        partial = math.prod(self.out.shape[1:]) * plan.pieces < math.prod(pixels.shape)
        nbytes = len(plan.rows) * pixels.frame_bytes
        return partial and nbytes <= self.frames.cache.limit * plan.pieces

    def _run_cached(self) -> None:
        """Take the parts from kept frames, and keep the frames that are decoded."""
        cache, source, plan = self.frames.cache, self.frames.source, self.plan
        spans = list(zip(plan.offsets.tolist(), plan.lengths.tolist(), strict=True))
        rows = plan.rows.tolist()
        ahead: dict[int, bytes] = {}
        if source.concurrent:
            missing = [k for k, row in enumerate(rows) if row not in cache]
            ahead = dict(zip(missing, source.read_many([spans[k] for k in missing]), strict=True))

        def put(k: int) -> None:
            def decode() -> NDArray[Any]:
                return self._decode(k, ahead.pop(k) if k in ahead else source.read(*spans[k]))

            self.copy(plan.places[k : k + 1], cache.get(rows[k], decode)[None], range(plan.pixels.height))

        pool.run([(put, k) for k in range(len(spans))])


def _scratch(nbytes: int) -> memoryview:
    """Return this thread's buffer: touching new memory would cost more than the read."""
    if nbytes > 2 * BLOCK:
        return np.empty(nbytes, np.uint8).data
    if not hasattr(_local, "buffer"):
        _local.buffer = np.empty(2 * BLOCK, np.uint8).data
    view: memoryview = _local.buffer[:nbytes]
    return view
