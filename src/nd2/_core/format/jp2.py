"""The container of legacy ND2 files: JPEG 2000 boxes, codestreams, and the box map at the end of the file.

A box is a big-endian length (header included), a four-letter kind, then the payload. One codestream (``jp2c``) holds
one channel of one frame; XML boxes hold the metadata. The last 40 bytes of a file have the position of the box map,
which gives every box a second name, its tag. All of it is unverified on real files.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.values import cached_property, record

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from nd2._core.format.pixels import PixelLayout


SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
MAP_SIGNATURE = b"LABORATORY IMAGING ND BOX MAP 00"
TAIL = struct.Struct("<32sQ")
CODESTREAM = b"LUNK"
"""Tag of the codestreams."""
HEADER_BYTES = 16
"""The longest header of a box; most take half of it."""

_SHORT = struct.Struct(">I4s")
_LONG = struct.Struct(">Q")
_IHDR = struct.Struct(">IIHBB")
_SIZ = struct.Struct(">4sHHIIIIIIIIHB")
_SIZ_MARKERS = b"\xff\x4f\xff\x51"
SIZE_BYTES = _SIZ.size
"""Bytes at the start of a codestream that contain its size."""

_ENTRY = np.dtype([("kind", "S4"), ("tag", "S4"), ("offset", "<u8")])
_OF_KIND = (b"jP  ", b"ftyp", b"jp2h")
_TAG_OF_ROOT = {
    b"CalibrationSeq": b"VCAL",
    b"MetadataSeq": b"VIMD",
    b"Calibration": b"ACAL",
    b"AdvancedImageAttributes": b"ARTT",
    b"Metadata_V1.2": b"AIM1",
    b"Metadata": b"AIMD",
    b"TextInfo": b"TINF",
}
_ROOT = re.compile(rb"<(?!(?:variant|no_name)\b)([A-Za-z_][\w.\-]*)")
_ROOT_WITHIN = 256


@record
class Box:
    """One box, found at ``position`` in the file."""

    position: int
    kind: bytes
    header_length: int
    length: int

    @property
    def payload_offset(self) -> int:
        """Position of the first byte behind the header."""
        return self.position + self.header_length

    @property
    def end(self) -> int:
        """Position after the last byte."""
        return self.position + self.length


def parse_box(data: bytes | memoryview, position: int, file_size: int) -> Box:
    """Decode the head of a box from its first 16 bytes, fewer at the end of the file."""
    if len(data) < _SHORT.size:
        raise errors.corrupt("box header is cut short", offset=position)
    length, kind = _SHORT.unpack_from(data)
    header = _SHORT.size
    if length == 1:
        header += _LONG.size
        if len(data) < header:
            raise errors.corrupt("box header is cut short", offset=position)
        (length,) = _LONG.unpack_from(data, _SHORT.size)
    elif length == 0:
        length = file_size - position
    if not header <= length <= file_size - position:
        raise errors.corrupt(
            f"no box starts here: kind {kind!r}, {length} bytes, in a file of {file_size}", offset=position
        )
    return Box(position, kind, header, length)


@record
class ImageSize:
    """Size of one codestream: pixels, components of a pixel, bits of a component; the compression's number."""

    height: int
    width: int
    components: int
    bits: int
    compression: int = 7


def parse_image_header(payload: bytes) -> ImageSize | None:
    """Find the size in a JP2 header (the payload of a ``jp2h`` box)."""
    position = 0
    while position + _SHORT.size <= len(payload):
        box = parse_box(payload[position : position + HEADER_BYTES], position, len(payload))
        if box.kind == b"ihdr" and box.end - box.payload_offset >= _IHDR.size:
            height, width, components, depth, compression = _IHDR.unpack_from(payload, box.payload_offset)
            if depth == 0xFF:
                return None
            return ImageSize(height, width, components, (depth & 0x7F) + 1, compression)
        position = box.end
    return None


def parse_codestream_size(data: bytes | memoryview) -> ImageSize:
    """Read the size from the first bytes of a codestream."""
    if len(data) < _SIZ.size or bytes(data[:4]) != _SIZ_MARKERS:
        raise errors.corrupt("no JPEG 2000 codestream starts here")
    _, _, _, right, bottom, left, top, _, _, _, _, components, depth = _SIZ.unpack_from(data)
    return ImageSize(bottom - top, right - left, components, (depth & 0x7F) + 1)


@record
class BoxMap:
    """Kind, tag and position of every box of a file, shape (n,), in the order of the map."""

    kinds: NDArray[np.bytes_]
    tags: NDArray[np.bytes_]
    offsets: NDArray[np.uint64]
    end: int

    @classmethod
    def from_entries(cls, entries: NDArray[np.void], end: int) -> BoxMap:
        """Take the columns of the entries of a map, of type ``_ENTRY``."""
        return cls(entries["kind"], entries["tag"], entries["offset"].astype(np.uint64), end)

    def of(self, name: bytes) -> NDArray[np.uint64]:
        """Return the positions of the boxes of a tag (of a kind, for ``jP  ``, ``ftyp``, ``jp2h``), in their order."""
        of_kind = np.isin(self.kinds, _OF_KIND)
        here = self.kinds == name if name in _OF_KIND else (self.tags == name) & ~of_kind
        return self.offsets[np.flatnonzero(here)]

    @cached_property
    def _starts(self) -> NDArray[np.uint64]:
        return np.unique(np.append(self.offsets, np.uint64(self.end)))

    def room(self, offsets: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return the number of bytes from each box to the next listed box."""
        after = np.searchsorted(self._starts, offsets, side="right")
        following: NDArray[np.uint64] = np.append(self._starts, self._starts[-1])[after]
        return np.maximum(following, offsets) - offsets


def parse_tail(tail: bytes, file_size: int, *, path: str = "") -> int | None:
    """Return the position of the box map from the last 40 bytes of a file; None if the file has no map."""
    if len(tail) < TAIL.size:
        return None
    signature, distance = TAIL.unpack(tail[-TAIL.size :])
    if signature != MAP_SIGNATURE:
        return None
    if not TAIL.size < distance <= file_size:
        raise errors.corrupt(
            f"the box map cannot start {distance} bytes before the end of a file of {file_size} bytes",
            path=path,
            offset=file_size - 8,
        )
    return int(file_size - distance)


def parse_map(data: bytes, position: int, *, path: str = "") -> BoxMap:
    """Decode a box map: a count (big-endian), then kind, tag and position (u64, little-endian) of each box."""
    count = int.from_bytes(data[:4], "big")
    if 4 + count * _ENTRY.itemsize + TAIL.size > len(data):
        raise errors.corrupt(f"the box map is too short for its {count} entries", path=path, offset=position)
    entries = np.frombuffer(data, _ENTRY, count, 4)
    if (entries["offset"] >= position).any():
        raise errors.corrupt(
            f"the box map lists a box at {int(entries['offset'].max())}, behind the map itself",
            path=path,
            offset=position,
        )
    return BoxMap.from_entries(entries, position)


def walk(read: Callable[[int, int], bytes], file_size: int) -> BoxMap:
    """Rebuild the map of a file without one, from box to box; a box that is cut ends the walk.

    Codestreams are identified by their kind, XML boxes by their root element.
    """
    found: list[tuple[bytes, bytes, int]] = []
    position = 0
    while position + _SHORT.size <= file_size:
        head = read(position, min(HEADER_BYTES + _ROOT_WITHIN, file_size - position))
        try:
            box = parse_box(head, position, file_size)
        except ValueError:
            break
        tag = b""
        if box.kind == b"jp2c":
            tag = CODESTREAM
        elif box.kind == b"xml ":
            root = _ROOT.search(head[box.header_length : box.length])
            tag = _TAG_OF_ROOT.get(root[1], b"") if root else b""
        found.append((box.kind, tag, position))
        position = box.end
    return BoxMap.from_entries(np.array(found, _ENTRY), position)


def codestream_decoder() -> Callable[..., NDArray[Any]]:
    """Return the function that decodes a codestream."""
    with errors.requirement("imagecodecs", "legacy", "for the pixels of legacy (JPEG 2000) files"):
        from imagecodecs import jpeg2k_decode
    decode: Callable[..., NDArray[Any]] = jpeg2k_decode
    return decode


def decode_codestream(data: bytes | memoryview, pixels: PixelLayout) -> NDArray[Any]:
    """Decode the codestream of one channel with imagecodecs, shape (1, Y, X, S)."""
    size = parse_codestream_size(data[:SIZE_BYTES])
    expected = (pixels.height, pixels.width, pixels.samples)
    if (size.height, size.width, size.components) != expected:
        raise errors.corrupt(
            f"the codestream is of {size.height} x {size.width} pixels of {size.components} components, "
            "the file of {} x {} pixels of {}".format(*expected)
        )
    try:
        plane = codestream_decoder()(data, numthreads=1)
    except (RuntimeError, ValueError) as error:
        raise errors.corrupt(f"the codestream cannot be decoded: {error}") from error
    if plane.size != np.prod(expected) or plane.dtype.itemsize > pixels.dtype.itemsize:
        raise errors.corrupt(f"the codestream holds {plane.shape} {plane.dtype}, expected {expected} {pixels.dtype}")
    return plane.reshape(1, *expected)
