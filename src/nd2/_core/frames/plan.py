"""The table of frames, and the plan of a read: which byte ranges hold the selected rows, and where these go.

A plan is a value made from the table of frames, the layout of their pixels and the selection;
`read` executes it.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.frames.selection import Pick, is_whole, simplify
from nd2._core.values import cached_property, record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nd2._core.format.pixels import PixelLayout

Picks = tuple[Pick, ...]
"""Positions on C, Y, X and S."""

BLOCK = 4 << 20
"""Bytes that are read at once: large enough to hide the call, small enough to stay in the cache."""
DIRECT = 16 << 20
"""Bytes read at once straight into the output if nothing has to be rearranged."""
_MAX_VOLUME = 256 << 20
"""Bytes that one request for several blocks may take in addition to the output."""


@record
class FrameTable:
    """Where the stored bytes of each frame are: columns of shape (n * pieces,)."""

    offsets: NDArray[np.uint64]
    """Position in the file of the first stored byte of each piece's pixels."""
    lengths: NDArray[np.uint64]
    """Number of stored bytes; 0 if the piece is missing. Pieces beyond the table are missing."""
    pieces: int = 1
    """Number of pieces of a frame, consecutive in this table: 1, or one for each channel."""

    def __len__(self) -> int:
        return len(self.lengths) // self.pieces

    def present(self, count: int) -> NDArray[np.bool_]:
        """Return which of the frames 0 to ``count - 1`` the file holds (wholly), shape (count,)."""
        present = np.zeros(count, bool)
        present[: len(self)] = np.all(self.lengths.reshape(-1, self.pieces) > 0, axis=1)[:count]
        return present

    def location(self, index: int) -> tuple[int, int]:
        """Return offset and length of a frame stored in one piece; both are 0 if it is missing."""
        if index >= len(self.lengths):
            return 0, 0
        return self.offsets.item(index), self.lengths.item(index)

    def locations(self, index: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return offsets and lengths of frames (or pieces); both are 0 for missing ones."""
        offsets, lengths = np.zeros((2, len(index)), np.int64)
        inside = np.flatnonzero(index < len(self.lengths))
        offsets[inside] = self.offsets[index[inside]]
        lengths[inside] = self.lengths[index[inside]]
        return offsets, lengths

    @cached_property
    def token(self) -> str:
        """Digest that distinguishes this table from others of the same file."""
        import hashlib

        digest = hashlib.blake2b(digest_size=16)
        for column in (self.offsets, self.lengths):
            digest.update(np.ascontiguousarray(column).data)
        return f"{digest.hexdigest()}-{self.pieces}"

    def __getstate__(self) -> dict[str, Any]:
        return {"offsets": self.offsets, "lengths": self.lengths, "pieces": self.pieces}


@record
class Block:
    """One byte range: some rows of frames that are next to each other in the file.

    The bytes of a ``direct`` block are those of the output: they are read straight into it.
    """

    offset: int
    nbytes: int
    first: int
    stop: int
    rows: range
    direct: bool = False


@record
class Plan:
    """Reads in file order. Frames that are stored in pieces are read piece by piece.

    Each frame (or piece) that is present has a row of the table, in ``rows``, a place in the output, in ``places``,
    and its bytes at ``offsets``; no bytes fill the places ``missing``.
    """

    pixels: PixelLayout
    picks: Picks
    shape: tuple[int, ...]
    pieces: int
    rows: NDArray[np.intp]
    places: NDArray[np.intp]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    missing: NDArray[np.intp]

    @classmethod
    def from_selection(cls, table: FrameTable, pixels: PixelLayout, index: NDArray[np.intp], picks: Picks) -> Plan:
        """Plan to read the same part of some frames, each of which is selected once."""
        shape = (len(index), *map(len, picks))
        if table.pieces > 1:  # each piece is read as a frame of one channel
            index = np.add.outer(index * table.pieces, np.asarray(picks[0])).reshape(-1)
            picks = (range(1), *picks[1:])
        offsets, lengths = table.locations(index)
        order = np.argsort(offsets, kind="stable")
        order = order[lengths[order] > 0]
        missing = np.flatnonzero(lengths == 0)
        return cls(pixels, picks, shape, table.pieces, index[order], order, offsets[order], lengths[order], missing)

    @property
    def count(self) -> int:
        """Number of frames (or pieces) in the output."""
        return len(self.rows) + len(self.missing)

    def blocks(self, max_gap: int, *, contiguous: bool) -> list[Block]:
        """Cut the read into byte ranges; those at most ``max_gap`` bytes apart are one.

        Bytes can be read straight into an output that is C-``contiguous``.
        """
        pixels = self.pixels
        if pixels.codec != "raw":
            rows = range(pixels.height)
            spans = zip(self.offsets.tolist(), self.lengths.tolist(), strict=True)
            return [Block(*span, k, k + 1, rows) for k, span in enumerate(spans)]
        direct = contiguous and pixels.contiguous and self._takes_whole_rows()
        blocks: list[Block] = []
        for run in self._row_runs(max_gap):
            band = max((DIRECT if direct else BLOCK) // max(pixels.row_bytes, 1), 1)
            for first in range(run.start, run.stop, band):
                rows = range(first, min(first + band, run.stop))
                starts = self.offsets + first * pixels.row_bytes
                nbytes = (len(rows) - 1) * pixels.row_bytes + pixels.packed_row_bytes
                if direct and nbytes >= BLOCK // 8:
                    blocks += [
                        Block(start, nbytes, k, k + 1, rows, direct=True) for k, start in enumerate(starts.tolist())
                    ]
                    continue
                blocks += [
                    Block(int(starts[a]), int(starts[b - 1] - starts[a]) + nbytes, a, b, rows)
                    for a, b in _merge(starts, nbytes, max_gap)
                ]
        return blocks

    def _takes_whole_rows(self) -> bool:
        """Return whether whole rows are taken, in their own order."""
        (c, y, x, s), pixels = self.picks, self.pixels
        sizes = ((c, pixels.channels), (x, pixels.width), (s, pixels.samples))
        whole = all(is_whole(pick, size) for pick, size in sizes)
        return whole and isinstance(y, range) and y.step == 1

    def _row_runs(self, max_gap: int) -> list[range]:
        """Return the runs of neighboring rows that are needed; a small gap does not end a run."""
        rows = np.sort(np.asarray(self.picks[1], np.intp))
        gap = max(max_gap // max(self.pixels.row_bytes, 1), 1)
        parts = np.split(rows, np.flatnonzero(np.diff(rows) > gap) + 1)
        return [range(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]

    def rows_in(self, rows: range) -> tuple[Pick, Pick]:
        """Intersect the selection with some rows: places in the output, and indices in the rows."""
        y = self.picks[1]
        if not isinstance(y, range):
            places = np.flatnonzero((y >= rows.start) & (y < rows.stop))
            return simplify(places), simplify(y[places] - rows.start)
        ascending = y if y.step > 0 else y[::-1]
        first, stop = bisect_left(ascending, rows.start), bisect_left(ascending, rows.stop)
        if y.step < 0:
            first, stop = len(y) - stop, len(y) - first
        selected = y[first:stop]
        return (range(first, stop), range(selected.start - rows.start, selected.stop - rows.start, y.step))

    def equal_distances(self, block: Block) -> list[tuple[int, int, int]]:
        """Return ``(first, stop, distance)`` of runs of a block's frames at equal distances."""
        steps = np.diff(self.offsets[block.first : block.stop])
        runs = _pairs(np.flatnonzero(np.diff(steps)) + 2, block.stop - block.first)
        return [(block.first + a, block.first + b, int(steps[a]) if b - a > 1 else 0) for a, b in runs]


def requests(blocks: Sequence[Block]) -> list[Sequence[Block]]:
    """Group blocks into requests of a bounded amount of memory in addition to the output."""
    extra = np.cumsum([0 if block.direct else block.nbytes for block in blocks])
    cuts = np.flatnonzero(np.diff(extra // _MAX_VOLUME)) + 1
    return [blocks[first:stop] for first, stop in _pairs(cuts, len(blocks))]


def _merge(starts: NDArray[np.int64], nbytes: int, gap: int) -> list[tuple[int, int]]:
    """Group neighboring ranges (sorted by start) into blocks of some megabytes."""
    if not len(starts):
        return []
    far = np.diff(starts) > nbytes + gap
    # A new block begins after a wide gap, and at each multiple of the block's size.
    run = np.concatenate([[0], np.cumsum(far)])
    run_start = starts[np.concatenate([[0], np.flatnonzero(far) + 1])][run]
    block = (starts - run_start) // BLOCK
    return _pairs(np.flatnonzero(far | (np.diff(block) != 0)) + 1, len(starts))


def _pairs(cuts: NDArray[np.intp], count: int) -> list[tuple[int, int]]:
    """Turn the places of cuts into ``(first, stop)`` of the parts."""
    edges = [0, *cuts.tolist(), count]
    return [(a, b) for a, b in pairwise(edges) if b > a]
