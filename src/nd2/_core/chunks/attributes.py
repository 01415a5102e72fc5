"""Image attributes: ``SLxImageAttributes``."""

from __future__ import annotations

from typing import Any

from nd2._core import errors
from nd2._core.chunks import fields
from nd2._core.format.clx_lite import I32, U32
from nd2._core.structures import Attributes, CompressionType

NAMES = (b"ImageAttributesLV!", b"ImageAttributes!")

_COMPRESSION: tuple[CompressionType, ...] = ("lossless", "lossy")
"""Kinds of compression by their stored number; other numbers mean no compression."""
_UNCOMPRESSED = 2
_UNSIGNED, _REAL = 1, 2
_MAX_COMPONENTS = 1 << 16


def decode(raw: fields.Tree, *, plane_count: int | None) -> Attributes:
    """Return the attributes of the image."""
    tree = fields.root(raw, "SLxImageAttributes")
    width, height, components, bits = (
        fields.integer(tree, key) for key in ("uiWidth", "uiHeight", "uiComp", "uiBpcInMemory")
    )
    if min(width, height, components, bits) <= 0 or components > _MAX_COMPONENTS:
        raise errors.corrupt(
            f"image attributes give {width} x {height} pixels of {components} components with {bits} bits"
        )
    tile_width = fields.integer(tree, "uiTileWidth")
    tile_height = fields.integer(tree, "uiTileHeight")
    tiled = 0 < tile_width != width or 0 < tile_height != height
    significant = fields.integer(tree, "uiBpcSignificant", bits)
    code = fields.integer(tree, "eCompression", _UNCOMPRESSED)
    compression = _COMPRESSION[code] if 0 <= code < len(_COMPRESSION) else None
    return Attributes(
        bitsPerComponentInMemory=bits,
        bitsPerComponentSignificant=significant if 0 < significant <= bits else bits,
        componentCount=components,
        heightPx=height,
        # As in Nikon's reader: 32 bits are floating point, whatever the stored pixel type.
        pixelDataType="float" if bits == 32 else "unsigned",
        sequenceCount=fields.integer(tree, "uiSequenceCount"),
        widthBytes=fields.integer(tree, "uiWidthBytes"),
        widthPx=width,
        compressionLevel=fields.real(tree, "dCompressionParam") if compression else None,
        compressionType=compression,
        tileHeightPx=tile_height if tiled else None,
        tileWidthPx=tile_width if tiled else None,
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
    width, height = value.widthPx or 0, value.heightPx
    compression = value.compressionType
    code = _COMPRESSION.index(compression) if compression in _COMPRESSION else _UNCOMPRESSED
    return {
        "SLxImageAttributes": {
            "uiWidth": U32(width),
            "uiWidthBytes": U32(value.widthBytes or 0),
            "uiHeight": U32(height),
            "uiComp": U32(value.componentCount),
            "uiBpcInMemory": I32(value.bitsPerComponentInMemory),
            "uiBpcSignificant": I32(value.bitsPerComponentSignificant),
            "uiSequenceCount": U32(value.sequenceCount),
            "uiTileWidth": U32(value.tileWidthPx or width),
            "uiTileHeight": U32(value.tileHeightPx or height),
            "eCompression": I32(code),
            "dCompressionParam": float(value.compressionLevel or 0.0),
            "ePixelType": I32(_REAL if value.pixelDataType == "float" else _UNSIGNED),
            "uiVirtualComponents": U32(value.componentCount),
        }
    }
