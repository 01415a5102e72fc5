"""The container of legacy files, encoded: what `nd2._core.format.jp2` decodes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from nd2._core.format.jp2 import _ENTRY, _IHDR, _LONG, _SHORT, MAP_SIGNATURE, TAIL, ImageSize

if TYPE_CHECKING:
    from collections.abc import Iterable


def encode_box(kind: bytes, payload: bytes) -> bytes:
    """Encode a box; a long one gets the long form of its length."""
    length = _SHORT.size + len(payload)
    if length < 1 << 32:
        return _SHORT.pack(length, kind) + payload
    return _SHORT.pack(1, kind) + _LONG.pack(length + _LONG.size) + payload


def encode_image_header(size: ImageSize) -> bytes:
    """Encode a JP2 header box: size and color space (gray, or sRGB for three components)."""
    ihdr = _IHDR.pack(size.height, size.width, size.components, size.bits - 1, size.compression)
    color = struct.pack(">BBBI", 1, 0, 0, 16 if size.components == 3 else 17)
    return encode_box(b"jp2h", encode_box(b"ihdr", ihdr + b"\0\0") + encode_box(b"colr", color))


def encode_map(entries: Iterable[tuple[bytes, bytes, int]]) -> bytes:
    """Encode the box that ends a file: the map of kind, tag and position of each box, and the file's tail.

    Notes
    -----
    The map is in a ``uuid`` box, which other software skips.
    """
    packed = np.array(list(entries), _ENTRY)
    body = len(packed).to_bytes(4, "big") + packed.tobytes()
    tail = TAIL.pack(MAP_SIGNATURE, len(body) + TAIL.size)
    return encode_box(b"uuid", b"ND2 legacy map\0\0" + body + tail)
