"""Frames out of bytes: where each frame lies, and the one plan by which any part of any frames is read.

The plan: the frames asked for, in file order; their rows merged into byte ranges of a few megabytes; each range read
and decoded straight into its place in one preallocated output, several at a time. Every view of the pixels goes
through it.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2 import _errors, _pool
from nd2._cache import FrameCache
from nd2._format.inflate import inflate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nd2._format.pixels import PixelLayout
    from nd2._io import ByteSource

Picks = tuple["slice | NDArray[np.intp]", ...]
"""One pick for each of C, Y, X, S: a slice, or an array of indices."""

WHOLE_FRAME: Picks = (slice(None),) * 4

_BLOCK = 4 << 20
"""Bytes that are read at once: large enough to hide the call, small enough to stay in the cache."""
_DIRECT = 16 << 20
"""Bytes read at once straight into the output, where nothing has to be rearranged."""
_DEFLATE_RATIO = 1032
"""The most that deflate can compress: what claims more is damaged."""


@dataclass(frozen=True, slots=True)
class FrameTable:
    """Where the stored bytes of each frame are.

    Attributes
    ----------
    offsets : ndarray of uint64, shape (n * pieces,)
        Position in the file of the first stored byte of each piece's pixels.
    lengths : ndarray of uint64, shape (n * pieces,)
        Number of stored bytes; 0 where the piece is missing. Those from the end on are missing, too.
    pieces : int
        In how many pieces a frame is stored, one behind the other in this table: 1, or one for each channel.
    """

    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint64]
    pieces: int = 1

    def __len__(self) -> int:
        return len(self.lengths) // self.pieces

    def present(self, count: int) -> NDArray[np.bool_]:
        """Return which of the frames 0 to ``count - 1`` the file holds (wholly), shape (count,)."""
        known = np.zeros(count, bool)
        shortest = self.lengths.reshape(-1, self.pieces).min(axis=1)
        known[: len(self)] = shortest[:count] > 0
        return known

    def at(self, index: int) -> tuple[int, int]:
        """Return offset and length of one frame that is stored in one piece; both are 0 where it is missing."""
        if index >= len(self.lengths):
            return 0, 0
        return int(self.offsets[index]), int(self.lengths[index])

    def lookup(self, index: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return offsets and lengths of some frames (or pieces, if there are several); both are 0 where it is missing."""
        offsets, lengths = np.zeros((2, len(index)), np.int64)
        known = np.flatnonzero(index < len(self.lengths))
        offsets[known] = self.offsets[index[known]]
        lengths[known] = self.lengths[index[known]]
        return offsets, lengths


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of a file, readable from any thread or process; holds no handle that cannot be reopened."""

    source: ByteSource
    table: FrameTable
    pixels: PixelLayout
    cache: FrameCache = field(default_factory=FrameCache, compare=False, repr=False)

    def frame(self, index: int) -> NDArray[Any]:
        """Read one whole frame.

        The usual case of `read`, without what many frames and parts of frames need.

        Parameters
        ----------
        index : int
            Sequence index of the frame.

        Returns
        -------
        ndarray, shape (C, Y, X, S)
            C-contiguous; zero if the frame is missing.
        """
        pixels, size = self.pixels, self.pixels.frame_bytes
        offset, length = self.table.at(index)
        raw = pixels.codec == "raw"
        stored = size if raw else length
        sound = length >= (size if raw else self._least) and offset + stored <= self.source.size
        if not sound or stored > _DIRECT or pixels.codec == "jpeg2k":
            whole: NDArray[Any] = self.read(np.array([index]))[0]
            return whole
        if raw and pixels.contiguous:
            data = np.empty(size, np.uint8)
            self.source.read_into([(offset, data.data)])
            return data.view(pixels.dtype).reshape(pixels.shape)
        buffer = _scratch(stored)
        self.source.read_into([(offset, buffer)])
        if raw:
            return pixels.rows(buffer, pixels.height).copy()  # the buffer is used again
        rows = self.decode(buffer, index, offset)
        owned = rows.flags.c_contiguous and rows.flags.writeable
        return rows if owned else rows.copy()

    def read(
        self,
        index: NDArray[np.intp],
        picks: Picks = WHOLE_FRAME,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Read some frames, or the same part of each.

        Parameters
        ----------
        index : ndarray of int, shape (n,)
            Sequence indices of the frames, in any order, each at most once.
        picks : tuple of four slices or index arrays
            What to take of C, Y, X and S. Of frames that are not compressed, only the rows taken are read.
        out : ndarray, shape (n, C', Y', X', S'), optional
            Where to put the result; C-contiguous where a frame is stored in pieces.

        Returns
        -------
        ndarray, shape (n, C', Y', X', S')
            Missing frames are zero.

        Raises
        ------
        ValueError
            If a frame is damaged, or its bytes lie beyond the end of the file.
        OSError
            If bytes could not be read.
        ImportError
            If the codec needs a package that is not installed.
        """
        out, job = self._job(index, picks, out)
        if job is not None and job.cached:
            job.run_cached()
        elif job is not None:
            job.run(*job.blocks())
        return out

    async def read_async(self, index: NDArray[np.intp], picks: Picks = WHOLE_FRAME) -> NDArray[Any]:
        """Read as `read` does; other coroutines run while bytes are on their way and while they are decoded."""
        out, job = self._job(index, picks, None)
        if job is not None:
            await job.run_async(*job.blocks())
        return out

    def _job(
        self, index: NDArray[np.intp], picks: Picks, out: NDArray[Any] | None
    ) -> tuple[NDArray[Any], _Job | None]:
        """Make the output and what fills it, or None where nothing has to be read."""
        picks = tuple(
            simplify(np.arange(size)[pick])
            for pick, size in zip(picks, self.pixels.shape, strict=True)
        )
        shape = [
            len(index),
            *(_length(p, s) for p, s in zip(picks, self.pixels.shape, strict=True)),
        ]
        if self.table.pieces > 1:  # each piece is read as a frame of one channel
            channels = np.arange(self.table.pieces)[picks[0]]
            index = np.add.outer(index * self.table.pieces, channels).reshape(-1)
            picks = (slice(0, 1, 1), *picks[1:])
        offsets, lengths = self.table.lookup(index)
        order = np.argsort(offsets, kind="stable")
        order = order[
            np.count_nonzero(lengths == 0) :
        ]  # missing frames have offset 0, so they sort first
        self._check(index, offsets, lengths, order)
        missing = math.prod(shape) // max(len(index), 1) * (len(index) - len(order))
        if out is None and missing * self.pixels.dtype.itemsize > _missing_limit(self.source.size):
            raise _errors.corrupt(
                f"{len(index) - len(order)} of the {len(index)} frames asked for are missing from the file: as zeros they "
                f"take {missing * self.pixels.dtype.itemsize} bytes; read fewer at once, or into an array of your own",
                path=self.source.url,
            )
        if out is None:
            out = np.empty(shape, self.pixels.dtype)
        target = out if self.table.pieces == 1 else out.reshape(len(index), 1, *shape[2:])
        if len(order) < len(index):
            target[np.flatnonzero(lengths == 0)] = 0
        if not out.size or not len(order):
            return out, None
        return out, _Job(self, index, picks, target, offsets[order], lengths[order], order)

    def _check(
        self,
        index: NDArray[np.intp],
        offsets: NDArray[np.int64],
        lengths: NDArray[np.int64],
        order: NDArray[np.intp],
    ) -> None:
        """Refuse what the table cannot mean, before anything is allocated or read."""
        least = self._least
        stored = least if self.pixels.codec == "raw" else lengths[order]
        beyond = offsets[order] + stored > self.source.size
        for wrong, message in (
            (
                lengths[order] < least,
                f"the frame's data is too short for {self.pixels.frame_bytes} bytes",
            ),
            (beyond, f"the frame's data lies beyond the file's end at {self.source.size}"),
        ):
            if wrong.any():
                first = order[np.argmax(wrong)]
                raise self.error(message, int(index[first]), int(offsets[first]))

    @property
    def _least(self) -> int:
        """The fewest bytes in which a frame (or piece) can be stored."""
        if self.pixels.codec == "jpeg2k":
            return 1
        ratio = 1 if self.pixels.codec == "raw" else _DEFLATE_RATIO
        return -(-self.pixels.frame_bytes // ratio)

    def error(self, message: str, index: int, offset: int) -> Exception:
        """Build the error for a damaged frame (or piece of one)."""
        frame, channel = divmod(index, self.table.pieces)
        chunk = f"ImageDataSeq|{frame}!"
        if self.pixels.codec == "jpeg2k":
            chunk = f"codestream of channel {channel}"
        return _errors.corrupt(
            message, path=self.source.url, chunk=chunk, frame=frame, offset=offset
        )

    def decode(self, data: Any, index: int, offset: int) -> NDArray[Any]:
        """Decode the bytes of one compressed frame (or piece), shape (C, Y, X, S); an error names it."""
        try:
            if self.pixels.codec == "jpeg2k":
                from nd2._format import jpeg2k

                return jpeg2k.decode(data, self.pixels)
            return self.pixels.rows(inflate(data, self.pixels.frame_bytes), self.pixels.height)
        except ValueError as error:
            message = error.bare if isinstance(error, _errors.CorruptFileError) else str(error)
            raise self.error(message, index, offset) from error


@dataclass(frozen=True, slots=True)
class _Job:
    """One read: the frames that are present, in file order, and where each goes in the output."""

    frames: Frames
    index: NDArray[np.intp]
    picks: Picks
    out: NDArray[Any]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    order: NDArray[np.intp]

    def run(self, spans: list[tuple[int, int]], decoders: Sequence[Callable[[Any], None]]) -> None:
        """Read each span and hand its bytes to its decoder."""
        source = self.frames.source
        if source.concurrent:
            # Requests overlap inside the source: give it as many as memory allows, decode while none is on its way.
            for first, stop in _by_volume(spans, decoders):
                targets = _targets(spans[first:stop], decoders[first:stop])
                source.read_into(targets)
                _pool.run(_undecoded(decoders[first:stop], targets))
            return

        def read(decode: Callable[[Any], None], span: tuple[int, int]) -> None:
            target = getattr(decode, "target", None)
            if target is not None:
                source.read_into([(span[0], target)])
                return
            buffer = _scratch(span[1])
            source.read_into([(span[0], buffer)])
            decode(buffer)

        _pool.run([(read, decode, span) for decode, span in zip(decoders, spans, strict=True)])

    async def run_async(
        self, spans: list[tuple[int, int]], decoders: Sequence[Callable[[Any], None]]
    ) -> None:
        """Do as `run` does, without blocking the event loop."""
        import asyncio

        source = self.frames.source
        if not source.concurrent:
            await asyncio.to_thread(self.run, spans, decoders)
            return
        for first, stop in _by_volume(spans, decoders):
            targets = _targets(spans[first:stop], decoders[first:stop])
            await source.read_into_async(targets)
            await asyncio.to_thread(_pool.run, _undecoded(decoders[first:stop], targets))

    @property
    def cached(self) -> bool:
        """Whether parts of compressed frames are taken, few enough to keep the frames for their other parts."""
        pixels, kept = self.frames.pixels, self.frames.cache
        return (
            pixels.codec != "raw"
            and self.out[0].size * self.frames.table.pieces < math.prod(pixels.shape)
            and len(self.order) * pixels.frame_bytes <= kept.limit * self.frames.table.pieces
        )

    def run_cached(self) -> None:
        """Take the parts from frames that are kept, and keep those that are decoded."""
        cache, source = self.frames.cache, self.frames.source
        spans = list(zip(self.offsets.tolist(), self.lengths.tolist(), strict=True))
        pieces = self.index[self.order].tolist()
        ahead: dict[int, bytes] = {}
        if source.concurrent:
            missing = [k for k, piece in enumerate(pieces) if piece not in cache]
            ahead = dict(zip(missing, source.read_many([spans[k] for k in missing]), strict=True))

        def place(k: int) -> None:
            def decode() -> NDArray[Any]:
                return self.decode(k, ahead.pop(k) if k in ahead else source.read(*spans[k]))

            rows = cache.get(pieces[k], decode)
            self.put(k, k + 1, rows[None], range(self.frames.pixels.height))

        _pool.run([(place, k) for k in range(len(spans))])

    def decode(self, place: int, data: Any) -> NDArray[Any]:
        """Decode the bytes of a compressed frame (or piece)."""
        piece, offset = int(self.index[self.order[place]]), int(self.offsets[place])
        return self.frames.decode(data, piece, offset)

    def blocks(self) -> tuple[list[tuple[int, int]], list[Callable[[Any], None]]]:
        """Return the byte ranges to read, and what puts each into the output."""
        return self.raw_blocks() if self.frames.pixels.codec == "raw" else self.compressed_blocks()

    # ---------------------------------------------------------------------------------------------- raw frames

    def raw_blocks(self) -> tuple[list[tuple[int, int]], list[Callable[[Any], None]]]:
        """Cut the rows that are needed into byte ranges."""
        pixels = self.frames.pixels
        direct = pixels.contiguous and self.out.flags.c_contiguous and self._whole_rows()
        spans: list[tuple[int, int]] = []
        decoders: list[Callable[[Any], None]] = []
        for run in self._row_runs():
            band = max((_DIRECT if direct else _BLOCK) // max(pixels.row_bytes, 1), 1)
            for first in range(run.start, run.stop, band):
                rows = range(first, min(first + band, run.stop))
                starts = self.offsets + first * pixels.row_bytes
                nbytes = (len(rows) - 1) * pixels.row_bytes + pixels.packed_row_bytes
                if direct and nbytes >= _BLOCK // 8:
                    for k, start in enumerate(starts.tolist()):
                        spans.append((start, nbytes))
                        decoders.append(_Direct(self._target(k, rows)))
                    continue
                for a, b in _merge(starts, nbytes, self.frames.source.max_gap):
                    spans.append((int(starts[a]), int(starts[b - 1] - starts[a]) + nbytes))
                    decoders.append(partial(self.put_rows, a, b, starts, rows))
        return spans, decoders

    def _whole_rows(self) -> bool:
        """Return whether whole rows are taken, in their own order."""
        _, y, x, s = self.picks
        return (
            isinstance(y, slice)
            and y.step == 1
            and all(
                isinstance(pick, slice) and (pick.start, pick.stop, pick.step) == (0, size, 1)
                for pick, size in ((x, self.frames.pixels.width), (s, self.frames.pixels.samples))
            )
        )

    def _target(self, k: int, rows: range) -> memoryview:
        """Return the bytes of the output that take whole rows of a frame."""
        y = self.picks[1]
        assert isinstance(y, slice)
        first = rows.start - y.start
        return self.out[self.order[k], :, first : first + len(rows)].reshape(-1).view(np.uint8).data

    def _row_runs(self) -> list[range]:
        """Return the runs of neighbouring rows that are needed; those that lie near each other are one."""
        rows = np.unique(np.arange(self.frames.pixels.height)[self.picks[1]])
        gap = max(self.frames.source.max_gap // max(self.frames.pixels.row_bytes, 1), 1)
        cuts = np.flatnonzero(np.diff(rows) > gap) + 1
        return [
            range(int(part[0]), int(part[-1]) + 1) for part in np.split(rows, cuts) if len(part)
        ]

    def put_rows(
        self, first: int, stop: int, starts: NDArray[np.int64], rows: range, data: Any
    ) -> None:
        """Copy the picked part of rows of neighbouring frames, out of one byte range, into the output."""
        raw, pixels = np.frombuffer(data, np.uint8), self.frames.pixels
        places = starts[first:stop] - starts[first]
        steps = np.diff(places)
        # Frames at equal distances, the usual case, are copied in one go.
        for a, b in _pairs(np.flatnonzero(np.diff(steps)) + 2, len(places)):
            stride = int(steps[a]) if b - a > 1 else 0
            view = pixels.stacked_rows(raw[places[a] :], b - a, stride, len(rows))
            self.put(first + a, first + b, view, rows)

    def put(self, first: int, stop: int, view: NDArray[Any], rows: range) -> None:
        """Copy the picked part of some frames' rows into the output.

        Parameters
        ----------
        first, stop : int
            Places of the frames in file order.
        view : ndarray, shape (stop - first, C, len(rows), X, S)
            The rows.
        rows : range
            Which rows of the frame they are.
        """
        c, y, x, s = self.picks
        wanted = np.arange(self.frames.pixels.height)[y]
        here = np.flatnonzero((wanted >= rows.start) & (wanted < rows.stop))
        part = view
        for axis, pick in enumerate((c, simplify(wanted[here] - rows.start), x, s), start=1):
            part = part[(slice(None),) * axis + (pick,)]
        frame_places, row_places = simplify(self.order[first:stop]), simplify(here)
        if isinstance(frame_places, slice):
            target = self.out[frame_places]
            target[:, :, row_places] = part
        else:
            for k, place in enumerate(frame_places.tolist()):
                self.out[place][:, row_places] = part[k]

    # ----------------------------------------------------------------------------------------- compressed frames

    def compressed_blocks(self) -> tuple[list[tuple[int, int]], list[Callable[[Any], None]]]:
        """One range for each frame (or piece)."""
        if self.frames.pixels.codec == "jpeg2k":
            from nd2._format import jpeg2k

            jpeg2k.decoder()  # without the package that decodes, nothing is read
        spans = list(zip(self.offsets.tolist(), self.lengths.tolist(), strict=True))
        return spans, [partial(self.put_frame, k) for k in range(len(spans))]

    def put_frame(self, place: int, data: Any) -> None:
        """Decode a frame (or piece) that is compressed as a whole, and copy its picked part into the output."""
        rows = self.decode(place, data)
        self.put(place, place + 1, rows[None], range(self.frames.pixels.height))


class _Direct:
    """Bytes that are read straight into the output."""

    def __init__(self, target: memoryview) -> None:
        self.target = target

    def __call__(self, data: Any) -> None:
        self.target[:] = data


def _missing_limit(file_size: int) -> int:
    """Return how many bytes of zeros a read may make for frames that a file does not have: some of its own size."""
    return (32 << 20) + 16 * file_size


def simplify(indices: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Turn equally spaced indices into a slice, which NumPy takes without a copy; others stay as they are."""
    n = len(indices)
    if n == 0:
        return slice(0, 0, 1)
    start, step = int(indices[0]), int(indices[1] - indices[0]) if n > 1 else 1
    if step == 0 or (n > 2 and (np.diff(indices) != step).any()):
        return indices
    stop = start + n * step
    return slice(start, stop if stop >= 0 else None, step)


def _length(pick: slice | NDArray[np.intp], size: int) -> int:
    return len(range(size)[pick]) if isinstance(pick, slice) else len(pick)


def _merge(starts: NDArray[np.int64], nbytes: int, gap: int) -> list[tuple[int, int]]:
    """Group neighbouring ranges (sorted by start) into blocks of some megabytes."""
    if not len(starts):
        return []
    far = np.diff(starts) > nbytes + gap
    # A new block begins after a wide gap, and wherever another multiple of the block's size has been passed.
    run = np.concatenate([[0], np.cumsum(far)])
    run_start = starts[np.concatenate([[0], np.flatnonzero(far) + 1])][run]
    block = (starts - run_start) // _BLOCK
    cuts = np.flatnonzero(far | (np.diff(block) != 0)) + 1
    return _pairs(cuts, len(starts))


def _pairs(cuts: NDArray[np.intp], count: int) -> list[tuple[int, int]]:
    """Turn the places of cuts into ``(first, stop)`` of the parts."""
    edges = [0, *cuts.tolist(), count]
    return [(a, b) for a, b in pairwise(edges) if b > a]


def _by_volume(
    spans: Sequence[tuple[int, int]],
    decoders: Sequence[Callable[[Any], None]],
    limit: int = 256 << 20,
) -> list[tuple[int, int]]:
    """Cut a read into parts that take at most ``limit`` bytes (or one span) besides the output."""
    extra = [
        0 if isinstance(decode, _Direct) else nbytes
        for (_, nbytes), decode in zip(spans, decoders, strict=True)
    ]
    return _pairs(np.flatnonzero(np.diff(np.cumsum(extra) // limit)) + 1, len(spans))


def _targets(
    spans: Sequence[tuple[int, int]], decoders: Sequence[Callable[[Any], None]]
) -> list[tuple[int, memoryview]]:
    """Return offset and buffer of each span: a part of the output, or new memory where bytes must be rearranged."""
    return [
        (
            offset,
            decode.target if isinstance(decode, _Direct) else np.empty(nbytes, np.uint8).data,
        )
        for (offset, nbytes), decode in zip(spans, decoders, strict=True)
    ]


def _undecoded(
    decoders: Sequence[Callable[[Any], None]], targets: Sequence[tuple[int, memoryview]]
) -> list[tuple[Callable[[Any], None], memoryview]]:
    """Return the calls that put into the output what was not read straight into it."""
    return [
        (decode, buffer)
        for decode, (_, buffer) in zip(decoders, targets, strict=True)
        if not isinstance(decode, _Direct)
    ]


_local = threading.local()


def _scratch(nbytes: int) -> memoryview:
    """Return a buffer of this thread, used again at every block: touching new memory costs more than the read."""
    if nbytes > 2 * _BLOCK:
        return np.empty(nbytes, np.uint8).data
    if not hasattr(_local, "buffer"):
        _local.buffer = np.empty(2 * _BLOCK, np.uint8).data
    view: memoryview = _local.buffer[:nbytes]
    return view
