"""The container of modern ND2 files: chunk headers, the file signature and the chunk map, both ways.

A chunk is a 16-byte header (magic, length of the name field, length of the data), a name that ends with ``!``, zero
bytes up to the end of the name field, then the data. The last 40 bytes of a file have the position of the chunk map,
which lists every other chunk. All of it is little-endian. Checked byte by byte on real files.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

import numpy as np

from nd2._core import errors
from nd2._core.io.source import LEGACY_MAGIC_BYTES as LEGACY_MAGIC_BYTES
from nd2._core.io.source import MAGIC as MAGIC
from nd2._core.io.source import MAGIC_BYTES as MAGIC_BYTES
from nd2._core.values import cached_property, record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol, TypeAlias

    from numpy.typing import NDArray

    class Sliceable(Protocol):
        """Bytes, or an object whose slices are bytes."""

        def __len__(self) -> int: ...
        def __getitem__(self, part: slice, /) -> bytes: ...

    FrameEntries: TypeAlias = tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]
    """Index, position and data length of frames, each of shape (n,)."""


PAGE = 4096
HEADER = struct.Struct("<IIQ")
FILE_SIGNATURE = b"ND2 FILE SIGNATURE CHUNK NAME01!"
MAP_NAME = b"ND2 FILEMAP SIGNATURE NAME 0001!"
MAP_SIGNATURE = b"ND2 CHUNK MAP SIGNATURE 0000001!"
TAIL = struct.Struct("<32sQ")
FRAME_PREFIX = b"ImageDataSeq|"
SEQUENCE_PREFIX = b"CustomDataSeq|"
"""Start of the names of chunks other than frames of which there is one per frame."""
TIMESTAMP = 8
"""Bytes before the pixels in a frame's data: the frame's time in milliseconds, a double."""

VERSION_BYTES = 112
"""Bytes at the start of a file that hold its format version."""
HEADER_SAMPLE = 64
"""Bytes of a frame's chunk that hold its header and its name, but not the padding of the name field."""

_SEARCH_HINT = "validate_frames=True searches for moved chunks, rescue=True scans a damaged file"
_NAME_RESERVE = 20
_VERSION = re.compile(rb"Ver(\d)\.(\d)")
_PIECE = 1 << 20
"""Bytes of a map that are parsed at once: arrays of millions of entries would not stay in the cache."""
_RECORDS = 1 << 15
"""Records of a map that are encoded at once: their bytes stay in the cache."""
_MIN_FRAME_ENTRY = len(FRAME_PREFIX) + 18
_SMALLEST = np.array([0, 0, *(10**k for k in range(1, 15))], np.int64)
"""Smallest number with each count of digits."""


def frame_name(index: int) -> bytes:
    """Return the name of the chunk that holds frame ``index``, with its ``!``."""
    return b"%s%d!" % (FRAME_PREFIX, index)


def display_name(name: bytes) -> str:
    """Return a name as users know it: as text, without its ``!``."""
    return name.removesuffix(b"!").decode("utf-8", "replace")


def page_up(position: int) -> int:
    """Round up to the next multiple of 4096, where the next chunk starts."""
    return -(-position // PAGE) * PAGE


@record
class ChunkHeader:
    """Head of one chunk, found at ``position`` in the file."""

    position: int
    name: bytes
    name_length: int
    data_length: int

    @property
    def data_offset(self) -> int:
        """Position of the chunk's first data byte."""
        return self.position + HEADER.size + self.name_length

    @property
    def end(self) -> int:
        """Position after the chunk's last data byte."""
        return self.data_offset + self.data_length


def parse_header(data: bytes | memoryview, position: int) -> ChunkHeader:
    """Decode the head of a chunk."""
    if len(data) < HEADER.size:
        raise errors.corrupt("chunk header is cut short", offset=position)
    magic, name_length, data_length = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise errors.corrupt(f"no chunk starts here: magic number is 0x{magic:08X}", offset=position)
    field = bytes(data[HEADER.size : HEADER.size + min(name_length, 256)])
    stop = field.find(b"!") + 1
    name = field[:stop] if stop else field.split(b"\0", 1)[0]
    return ChunkHeader(position, name, name_length, data_length)


def parse_named_header(data: bytes, position: int, name: bytes, *, path: str, frame: int | None = None) -> ChunkHeader:
    """Decode the header of a chunk that must have a certain name (with ``!``); errors name the place."""
    try:
        header, cause = parse_header(data, position), None
        if header.name == name:
            return header
        message = f"another chunk is here: {header.name!r}"
    except errors.CorruptFileError as error:
        message, cause = error.bare, error
    raise errors.corrupt(f"{message}; {_SEARCH_HINT}", path=path, chunk=name, frame=frame, offset=position) from cause


def encode_chunk(name: bytes, head: bytes, tail_length: int = 0) -> bytes:
    """Encode a chunk up to and including ``head``; ``head`` ends on a page boundary, as in files of NIS-Elements.

    For a frame this puts the first pixel 4096 bytes behind the chunk's start. The 20 spare bytes of the name field
    allow a chunk to be renamed in place. The caller writes the other ``tail_length`` bytes of data (a frame's
    pixels) behind it, padded to the next page.
    """
    reserved = HEADER.size + len(name) + _NAME_RESERVE
    name_length = len(name)
    if head:
        name_length += _NAME_RESERVE + page_up(reserved + len(head)) - (reserved + len(head))
    header = HEADER.pack(MAGIC, name_length, len(head) + tail_length)
    return header + name.ljust(name_length, b"\0") + head


def encode_signature(version: tuple[int, int] = (3, 0)) -> bytes:
    """Encode the first page of a file: the signature chunk with the format version."""
    text = b"Ver%d.%d" % version
    chunk = HEADER.pack(MAGIC, len(FILE_SIGNATURE), 64) + FILE_SIGNATURE + text.ljust(64, b"\0")
    return chunk.ljust(PAGE, b"\0")


_FORMATS = {
    b"version https://git-lfs": "a pointer of Git LFS; run 'git lfs pull' to get the file",
    b"II*\0": "a TIFF file",
    b"MM\0*": "a TIFF file",
    b"II+\0": "a BigTIFF file",
    b"MM\0+": "a BigTIFF file",
    b"\x89HDF": "an HDF5 file (such as IMS)",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip file; decompress it first",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"<?xml": "an XML document",
}


def _describe_start(start: bytes) -> str:
    """Return what a file is that does not start like ND2."""
    if not start:
        return "not an ND2 file: it is empty (0 bytes)"
    if not any(start):
        return (
            "not an ND2 file: it starts with zeros, as after a failed copy; "
            "rescue=True or the command 'nd2 rescue' finds what is left"
        )
    text = start.lower()
    for magic, kind in _FORMATS.items():
        if text.startswith(magic.lower()):
            return f"not an ND2 file: it is {kind}"
    return f"not an ND2 file: it starts with {start[:4]!r}"


def parse_version(head: bytes, *, path: str = "") -> tuple[int, int]:
    """Read the format version from the first `VERSION_BYTES` bytes of a file, or more."""
    if head[:4] == LEGACY_MAGIC_BYTES and head[4:8] in (b"jP  ", b""):
        return (1, 0)
    if head[:4] != MAGIC_BYTES:
        raise errors.not_nd2(_describe_start(bytes(head)), path=path)
    header = parse_header(head, 0)
    match = _VERSION.match(head, min(header.data_offset, len(head)))
    if header.name != FILE_SIGNATURE or match is None:
        raise errors.corrupt("there is no format version in the file signature chunk", path=path, offset=0)
    return (int(match[1]), int(match[2]))


def parse_tail(tail: bytes, file_size: int, *, path: str = "", slack: int = 0) -> int:
    """Return the position of the chunk map from the last 40 bytes of a file.

    It may be ``slack`` bytes beyond the end, in a file that lost bytes.
    """
    position = file_size - TAIL.size
    if len(tail) < TAIL.size or position < 0:
        raise errors.corrupt("file is too short to hold a chunk map", path=path, offset=0)
    signature, offset = TAIL.unpack(tail[-TAIL.size :])
    if signature != MAP_SIGNATURE:
        raise errors.corrupt(
            "the file does not end with a chunk map signature; it was cut short, or its acquisition did not finish",
            path=path,
            offset=position,
        )
    if not 0 < offset < position + slack:
        raise errors.corrupt(
            f"the chunk map cannot start at {offset} in a file of {file_size} bytes",
            path=path,
            offset=position + len(MAP_SIGNATURE),
        )
    return int(offset)


@record
class ChunkMap:
    """Where every chunk of a file starts: frames as arrays, shape (n,), in the order of the map; others by name.

    A frame has its sequence index, the position of its chunk header, and the length of its data according to the
    map. A size that equals the position means "unknown".
    """

    frame_index: NDArray[np.int64]
    frame_position: NDArray[np.uint64]
    frame_size: NDArray[np.uint64]
    others: dict[bytes, tuple[int, int]]
    position: int

    @cached_property
    def starts(self) -> NDArray[np.uint64]:
        """Sorted positions of all chunks, the map's own included."""
        rest = [position for position, _ in self.others.values()]
        return np.sort(np.concatenate([self.frame_position, np.array([*rest, self.position], np.uint64)]))

    def room(self, position: int) -> int:
        """Return the number of bytes from a chunk's start to the next chunk's start."""
        after = int(self.starts.searchsorted(np.uint64(position), "right"))
        return int(self.starts[after]) - position if after < len(self.starts) else 0


def parse_map(data: Sliceable, position: int, *, path: str = "") -> ChunkMap:
    """Decode a chunk map: a packed list of ``name!``, position (u64), data length (u64).

    The list is walked with array operations, because a map may list millions of frames.
    """
    others: dict[bytes, tuple[int, int]] = {}
    most = len(data) // _MIN_FRAME_ENTRY + 1
    index, position_of, size_of = np.empty(most, np.int64), np.empty(most, np.uint64), np.empty(most, np.uint64)
    count = start = 0
    size = _PIECE
    while start < len(data):
        piece = data[start : start + size]
        bangs = _name_ends(piece)
        starts = np.concatenate([[0], bangs[:-1] + 17]) if len(bangs) else bangs
        end = _terminator(piece, starts, bangs)
        entries = int(np.searchsorted(bangs, len(piece) - 16)) if end is None else end
        starts, bangs = starts[:entries], bangs[:entries]
        if entries:
            values = _windows(piece, 16)[bangs + 1].view("<u8").reshape(-1, 2)
            is_frame, found = _frame_indices(piece, starts, bangs)
            stop = count + len(found)
            index[count:stop] = found
            position_of[count:stop], size_of[count:stop] = values[is_frame].T
            count = stop
            for first, bang, (where, nbytes) in zip(
                starts[~is_frame].tolist(), bangs[~is_frame].tolist(), values[~is_frame].tolist(), strict=True
            ):
                others[piece[first : bang + 1]] = where, nbytes
        if end is not None:
            sizes = size_of[:count]
            if start and count and (sizes == sizes[0]).all():  # the frames of a raw file: no megabytes for one number
                sizes = np.broadcast_to(sizes[:1].copy(), count)
            return ChunkMap(index[:count], position_of[:count], sizes, others, position)
        # An entry that the piece cuts is the first of the next one, which is longer if it does not hold a whole entry.
        size = _PIECE if entries else 2 * size
        if not entries and start + len(piece) == len(data):
            break
        start += int(bangs[-1]) + 17 if entries else 0
    raise errors.corrupt("the chunk map has no end", path=path, chunk=MAP_NAME, offset=position)


def _name_ends(data: bytes) -> NDArray[np.int64]:
    """Find the ``!`` that ends each name, without being misled by a 0x21 inside the 16 bytes behind a name.

    An entry takes 17 bytes or more. A map with more than one ``!`` in 17 bytes is walked, in memory
    that grows with its entries only.
    """
    is_bang = np.frombuffer(data, np.uint8) == ord("!")
    if np.count_nonzero(is_bang) > len(data) // 17:
        from array import array

        walk, place = array("q"), data.find(b"!")
        while place >= 0:
            walk.append(place)
            place = data.find(b"!", place + 17)
        return np.array(walk, np.int64)
    bangs = np.flatnonzero(is_bang)
    if not len(bangs):
        return bangs
    # Two names end at least 17 bytes apart. A candidate that far behind the one before is surely the end of a name;
    # one that is nearer is, unless it lies within the fields of the name before, which only a walk can tell.
    sure = np.concatenate([[True], np.diff(bangs) > 16])
    last = 0
    for i in np.flatnonzero(~sure).tolist():
        last = bangs[i - 1] if sure[i - 1] else last
        sure[i] = bangs[i] - last > 16
    ends: NDArray[np.int64] = bangs[sure]
    return ends


def _terminator(data: bytes, starts: NDArray[np.int64], bangs: NDArray[np.int64]) -> int | None:
    """Return the index of the entry that ends the list, or None."""
    found = data.find(MAP_SIGNATURE)
    while found >= 0:
        entry = int(np.searchsorted(starts, found))
        if entry < len(starts) and starts[entry] == found:
            return entry
        found = data.find(MAP_SIGNATURE, found + 1)
    return None


def _windows(data: bytes, width: int) -> NDArray[np.void]:
    """Return a view of the ``width`` bytes that begin at each place: indexing it gathers them."""
    return np.ndarray((max(len(data) - width + 1, 0),), f"V{width}", data, 0, (1,))


def _frame_indices(
    data: bytes, starts: NDArray[np.int64], bangs: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which names are ``ImageDataSeq|N!``, and the N of those."""
    first = len(FRAME_PREFIX)
    digits = bangs - starts - first
    is_frame = (digits > 0) & (digits < 16)
    is_frame[is_frame] = _windows(data, first)[starts[is_frame]].view(f"S{first}") == FRAME_PREFIX
    count = digits[is_frame]
    width = int(count.max(initial=1))
    # A prefix of 13 bytes precedes each number: only absurd ones could begin before the map, in its first entry.
    first_digits = np.maximum(bangs[is_frame] - width, 0)
    text = _windows(data, width)[first_digits].view(np.uint8).reshape(-1, width)
    index, valid = np.zeros(len(count), np.int64), np.ones(len(count), bool)
    for place, character in zip(range(width, 0, -1), text.T, strict=True):
        digit = (character - np.uint8(ord("0"))) * (count >= place)  # 0 before the number
        valid &= digit < 10
        index *= 10
        index += digit
    # Canonical numbers only: "03" is not frame 3.
    valid &= index >= _SMALLEST[count]
    is_frame[is_frame] = valid
    return is_frame, index[valid]


def encode_map(entries: Iterable[tuple[bytes, int, int]], position: int, frames: FrameEntries | None = None) -> bytes:
    """Encode the chunk map chunk, the last of a file: names, positions and data lengths.

    Entries are sorted by name, descending, as in every real file; the chunk ends on a page and ends the file.
    ``frames`` are those that are not among ``entries``: millions of them, quickly.
    """
    tail = TAIL.pack(MAP_SIGNATURE, position)
    pack = struct.Struct("<QQ").pack
    above: list[bytes] = []
    below: list[bytes] = []
    for name, where, size in sorted(entries, reverse=True):
        (above if name > FRAME_PREFIX else below).append(name + pack(where, size))
    records = [] if frames is None else _frame_records(*frames)
    body = b"".join([*above, *records, *below])
    start = HEADER.size + len(MAP_NAME)
    total = page_up(start + len(body) + 2 * len(tail))
    header = HEADER.pack(MAGIC, len(MAP_NAME), total - start) + MAP_NAME
    padding = bytes(total - start - len(body) - 2 * len(tail))
    return b"".join((header, body, tail, padding, tail))


def _frame_records(index: NDArray[np.int64], position: NDArray[np.uint64], size: NDArray[np.uint64]) -> list[bytes]:
    """Encode the map's entries of frames, their names in descending order."""
    width = len(str(int(index.max(initial=0))))
    digits = np.searchsorted(10 ** np.arange(1, width, dtype=np.int64), index, side="right") + 1
    # Names sort as text: by their digits from the left, and "1!" before "10!".
    leading = index * 10 ** (width - digits)
    order = np.lexsort((digits, leading))[::-1]
    first, last = len(FRAME_PREFIX), len(FRAME_PREFIX) + width
    parts = []
    for at in range(0, len(order), _RECORDS):
        block = order[at : at + _RECORDS]
        table = np.empty((len(block), last + 17), np.uint8)
        table[:, :first] = np.frombuffer(FRAME_PREFIX, np.uint8)
        rest = leading[block]
        for column in range(last - 1, first - 1, -1):
            rest, digit = np.divmod(rest, 10)
            table[:, column] = digit + ord("0")
        table[:, last] = ord("!")
        fields = np.stack((position[block], size[block]), axis=1).astype("<u8")
        table[:, last + 1 :] = fields.view(np.uint8)
        # Columns after the digits of shorter numbers are not part of the name.
        used = np.ones(table.shape, bool)
        used[:, first:last] = np.arange(width) < digits[block, None]
        parts.append(table[used].tobytes())
    return parts
