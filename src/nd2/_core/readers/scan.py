"""Find the chunks of a file without its chunk map, in one forward pass.

If a chunk has a plausible header and the next chunk follows it, the pass skips it as a whole, so that
nothing within its data is taken for a chunk. Otherwise the pass goes on byte by byte to a header that
is in a usual place (on a page, or as far from one as another header in the file), or that is
followed by another header or the end of the file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from nd2._core.format.chunks import FRAME_PREFIX, HEADER, MAGIC_BYTES, MAP_NAME, PAGE, ChunkHeader, ChunkMap, page_up
from nd2._core.frames.grid import max_frames
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from nd2._core.io import ByteSource

_MIN_READ = 64 << 10
_MAX_READ = 8 << 20
_MAX_NAME_FIELD = 64 << 10
_HEAD = HEADER.size + 128
_NAME = re.compile(rb"[A-Za-z][\x20\x22-\x7e]{0,126}!")
_FRAME_NAME = re.compile(re.escape(FRAME_PREFIX) + rb"(0|[1-9]\d{0,14})!")


@record
class ScannedChunk:
    """A chunk that a scan found, and whether all of its bytes are there."""

    header: ChunkHeader
    whole: bool

    @property
    def frame(self) -> int | None:
        """Sequence index, if it is a frame."""
        match = _FRAME_NAME.fullmatch(self.header.name)
        return int(match[1]) if match else None


class _Window:
    """The bytes around the position of a scan: small reads after a jump, larger reads in sequence."""

    def __init__(self, source: ByteSource, magic: bytes) -> None:
        self.source, self.size, self.magic = source, source.size, magic
        # If requests are slow, each fetches more.
        self._least = min(max(_MIN_READ, source.max_gap), _MAX_READ)
        self._start, self._data = 0, b""
        # A header is read from the chunk before it, and again when the scan reaches it.
        self._last: ChunkHeader | None = None

    def _load(self, position: int) -> None:
        follows = self._start <= position <= self._start + len(self._data)
        nbytes = min(2 * len(self._data), _MAX_READ) if follows else self._least
        self._start = position
        self._data = b""
        self._data = self.source.read(position, min(max(nbytes, self._least), self.size - position))

    def header(self, position: int, *, peek: bool = False) -> ChunkHeader | None:
        """Return the header at a position, or None; `peek` leaves the window where it is."""
        if self._last is not None and self._last.position == position:
            return self._last
        if position + HEADER.size > self.size:
            return None
        nbytes = min(_HEAD, self.size - position)
        at = position - self._start
        if not 0 <= at <= len(self._data) - nbytes:
            if peek:
                return self._parse(self.source.read(position, nbytes), 0, position)
            self._load(position)
            at = 0
        self._last = self._parse(self._data, at, position)
        return self._last

    def _parse(self, data: bytes, at: int, position: int) -> ChunkHeader | None:
        if not data.startswith(self.magic, at):
            return None
        _, name_length, data_length = HEADER.unpack_from(data, at)
        if name_length > _MAX_NAME_FIELD:
            return None
        first = at + HEADER.size
        name = _NAME.match(data, first, first + min(name_length, _HEAD - HEADER.size))
        return name and ChunkHeader(position, name[0], name_length, data_length)

    def find(self, position: int) -> int:
        """Return the next position of the magic number, from ``position`` on, or the file's size."""
        while position + HEADER.size <= self.size:
            at = position - self._start
            if not 0 <= at <= len(self._data) - HEADER.size:
                self._load(position)
                at = 0
            found = self._data.find(self.magic, at)
            if found >= 0:
                return self._start + found
            position = self._start + len(self._data) - len(self.magic) + 1
        return self.size


def scan_chunks(source: ByteSource, magic: bytes = MAGIC_BYTES) -> Iterator[ScannedChunk]:
    """Find the chunks of a file, which start with the magic bytes, in file order; reads blocks of up to 8 MB."""
    window, size = _Window(source, magic), source.size
    residues = {0}
    position, landed = 0, True
    while position + HEADER.size <= size:
        header = window.header(position)
        behind = _behind(window, header) if header else None
        aligned = landed or position % PAGE in residues
        if header is None or not (aligned or behind is not None):
            position, landed = window.find(position + 1), False
            continue
        residues.add(position % PAGE)
        if behind is not None:
            yield ScannedChunk(header, True)
            position, landed = behind, True
            continue
        # No chunk follows this one: bytes are lost or inserted, or the next header is damaged.
        inside = window.find(position + HEADER.size)
        while inside < min(header.end, size) and not _sound(window, inside, residues):
            inside = window.find(inside + 1)
        yield ScannedChunk(header, _is_whole(header, inside, size))
        position, landed = inside, False


def _behind(window: _Window, header: ChunkHeader) -> int | None:
    """Return where the chunk after another one starts (or the file ends); None without one."""
    padded = header.position + page_up(header.end - header.position)
    for position in (padded, header.end) if padded != header.end else (padded,):
        if window.header(position, peek=True):
            return position
    return padded if header.end <= window.size <= padded else None


def _is_whole(header: ChunkHeader, following: int, size: int) -> bool:
    """Return whether a chunk is whole although the next header (or the file's end) is misplaced.

    If the next header is too near, by less than whole pages, bytes were lost in the chunk or after it.
    """
    padded = header.position + page_up(header.end - header.position)
    lost = following < min(padded, size) and (padded - following) % PAGE != 0
    return header.end <= min(following, size) and not lost


def _sound(window: _Window, position: int, residues: set[int]) -> bool:
    """Return whether an apparent chunk within another one is real."""
    header = window.header(position, peek=True)
    if header is None:
        return False
    return position % PAGE in residues or _behind(window, header) is not None


@record
class Scan:
    """The chunks that a scan found."""

    chunk_map: ChunkMap
    data_offset: NDArray[np.uint64]
    """Position of the first data byte of each frame of the map."""
    cut: NDArray[np.int64]
    lost: tuple[str, ...]
    last_cut: tuple[int, int, int] | None = None
    absurd: int = 0
    """Number of frames with a sequence index that no file of this length can reach."""

    def __len__(self) -> int:
        return len(self.chunk_map.frame_index) + len(self.chunk_map.others) + self.absurd


def collect(found: Iterable[ScannedChunk], end: int) -> Scan:
    """Make a chunk map of the chunks of a file that is ``end`` bytes long.

    It does not have frames with absurd numbers: a table of all numbers up to them would not fit into memory.
    """
    frames: list[tuple[int, int, int, int]] = []
    others: dict[bytes, tuple[int, int]] = {}
    cut: set[int] = set()
    absurd: set[int] = set()
    lost: set[bytes] = set()
    last_cut = None
    for chunk in found:
        header, index = chunk.header, chunk.frame
        if header.name == MAP_NAME:
            continue
        if index is not None and index >= max_frames(end):
            absurd.add(index)
        elif index is not None:
            if chunk.whole:
                frames.append((index, header.position, header.data_length, header.data_offset))
            else:
                cut.add(index)
                if header.end > end and header.data_offset < end:
                    last_cut = index, header.data_offset, end - header.data_offset
        elif chunk.whole:
            others[header.name] = (header.position, header.data_length)
        else:
            lost.add(header.name)
    table = np.array(frames, np.uint64).reshape(-1, 4)
    # The last of equal indices counts: the first one in reverse order.
    numbers, place = np.unique(table[::-1, 0], return_index=True)
    table = table[::-1][place]
    chunk_map = ChunkMap(numbers.astype(np.int64), table[:, 1], table[:, 2], others, end)
    return Scan(
        chunk_map,
        table[:, 3],
        np.setdiff1d(np.array(sorted(cut), np.int64), chunk_map.frame_index),
        tuple(sorted(name.decode("ascii") for name in lost - others.keys())),
        last_cut,
        len(absurd),
    )
