"""Image attributes: ``SLxImageAttributes``."""

from __future__ import annotations

from typing import Any

from nd2._core import errors
from nd2._core.chunks import fields
from nd2._core.format.clx_lite import I32, U32
from nd2._core.structures import Attributes, CompressionType

NAMES = (b"ImageAttributesLV!", b"ImageAttributes!")

_FIELDS = (
    ("uiWidth", "widthPx", U32),
    ("uiWidthBytes", "widthBytes", U32),
    ("uiHeight", "heightPx", U32),
    ("uiComp", "componentCount", U32),
    ("uiBpcInMemory", "bitsPerComponentInMemory", I32),
    ("uiBpcSignificant", "bitsPerComponentSignificant", I32),
    ("uiSequenceCount", "sequenceCount", U32),
    ("uiTileWidth", "tileWidthPx", U32),
    ("uiTileHeight", "tileHeightPx", U32),
)
_COMPRESSION: tuple[CompressionType, ...] = ("lossless", "lossy")
"""Kinds of compression by their stored number; other numbers mean no compression."""
_UNCOMPRESSED = 2
_UNSIGNED, _REAL = 1, 2


def decode(raw: fields.Tree, *, plane_count: int | None, max_components: int) -> Attributes:
    """Return the attributes of the image; more components than ``max_components`` are an error."""
    tree = fields.root(raw, "SLxImageAttributes")
    values = fields.read(tree, _FIELDS)
    width, height = values["widthPx"], values["heightPx"]
    components, bits = values["componentCount"], values["bitsPerComponentInMemory"]
    if min(width, height, components, bits) <= 0 or components > max_components:
        raise errors.corrupt(
            f"image attributes give {width} x {height} pixels of {components} components with {bits} bits; "
            "rescue=True guesses them"
        )
    if not 0 < values["bitsPerComponentSignificant"] <= bits:
        values["bitsPerComponentSignificant"] = bits
    if not (0 < values["tileWidthPx"] != width or 0 < values["tileHeightPx"] != height):
        values["tileWidthPx"] = values["tileHeightPx"] = None
    code = fields.integer(tree, "eCompression", _UNCOMPRESSED)
    compression = _COMPRESSION[code] if 0 <= code < len(_COMPRESSION) else None
    return Attributes(
        **values,
        # As in Nikon's reader: 32 bits are floating point, whatever the stored pixel type.
        pixelDataType="float" if bits == 32 else "unsigned",
        compressionLevel=fields.real(tree, "dCompressionParam") if compression else None,
        compressionType=compression,
        channelCount=channel_count(plane_count, components),
    )


def channel_count(plane_count: int | None, components: int) -> int:
    """Return the number of channels.

    That is the number of planes in the picture metadata, if it is possible. Otherwise one or three
    components are one channel, and more are one channel each.
    """
    if plane_count is not None and 1 <= plane_count <= components:
        return plane_count
    return 1 if components in (1, 3) else components


def encode(value: Attributes) -> dict[str, Any]:
    """Return the tree of the attributes: with all fields, because some readers require them."""
    width, compression = value.widthPx or 0, value.compressionType
    code = _COMPRESSION.index(compression) if compression in _COMPRESSION else _UNCOMPRESSED
    value = value._replace(
        widthPx=width,
        widthBytes=value.widthBytes or 0,
        tileWidthPx=value.tileWidthPx or width,
        tileHeightPx=value.tileHeightPx or value.heightPx,
    )
    return {
        "SLxImageAttributes": {
            **fields.write(value, _FIELDS),
            "eCompression": I32(code),
            "dCompressionParam": float(value.compressionLevel or 0.0),
            "ePixelType": I32(_REAL if value.pixelDataType == "float" else _UNSIGNED),
            "uiVirtualComponents": U32(value.componentCount),
        }
    }
