"""The plan of a read: rows merged into byte ranges of some megabytes, each read and decoded into its place in one array.

Ranges are read several at a time. What needs no rearranging is read straight into the output.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.frames import pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nd2._core.frames.read import Frames

Picks = tuple["slice | NDArray[np.intp]", ...]
"""One pick for each of C, Y, X, S: a slice, or an array of indices."""

_BLOCK = 4 << 20
"""Bytes that are read at once: large enough to hide the call, small enough to stay in the cache."""
DIRECT = 16 << 20
"""Bytes read at once straight into the output, where nothing has to be rearranged."""


@dataclass(frozen=True, slots=True)
class Job:
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
                pool.run(_undecoded(decoders[first:stop], targets))
            return

        def read(decode: Callable[[Any], None], span: tuple[int, int]) -> None:
            target = getattr(decode, "target", None)
            if target is not None:
                source.read_into([(span[0], target)])
                return
            buffer = scratch(span[1])
            source.read_into([(span[0], buffer)])
            decode(buffer)

        pool.run([(read, decode, span) for decode, span in zip(decoders, spans, strict=True)])

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
            await asyncio.to_thread(pool.run, _undecoded(decoders[first:stop], targets))

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

        pool.run([(place, k) for k in range(len(spans))])

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
            band = max((DIRECT if direct else _BLOCK) // max(pixels.row_bytes, 1), 1)
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
        c, y, x, s = self.picks
        pixels = self.frames.pixels
        sizes = ((c, pixels.channels), (x, pixels.width), (s, pixels.samples))
        return (
            isinstance(y, slice)
            and y.step == 1
            and all(
                isinstance(pick, slice) and (pick.start, pick.stop, pick.step) == (0, size, 1)
                for pick, size in sizes
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
        self.frames.check_codec()
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


def length(pick: slice | NDArray[np.intp], size: int) -> int:
    """Return how many items of an axis a pick takes."""
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


def scratch(nbytes: int) -> memoryview:
    """Return a buffer of this thread, used again at every block: touching new memory costs more than the read."""
    if nbytes > 2 * _BLOCK:
        return np.empty(nbytes, np.uint8).data
    if not hasattr(_local, "buffer"):
        _local.buffer = np.empty(2 * _BLOCK, np.uint8).data
    view: memoryview = _local.buffer[:nbytes]
    return view
