"""Image attributes: from the ``ImageAttributes`` tree to `Attributes`."""

from __future__ import annotations

from nd2._core import errors
from nd2._core.chunks import fields
from nd2._core.structures import Attributes, CompressionType

COMPRESSION: dict[int, CompressionType] = {0: "lossless", 1: "lossy"}
UNCOMPRESSED = 2
_MAX_COMPONENTS = 1 << 16


def parse(raw: fields.Tree, *, plane_count: int | None) -> Attributes:
    """Parse the attributes of the image.

    Parameters
    ----------
    raw : mapping
        The decoded tree, with or without its root level.
    plane_count : int or None
        Number of channels by the picture metadata; None if the file has none. See `channel_count`.

    Raises
    ------
    ValueError
        If width, height, components or bits are missing or not positive, or components are more than 65,536.
    """
    tree = fields.root(raw, "SLxImageAttributes")
    width, height, components, bits = (
        fields.integer(tree, key) for key in ("uiWidth", "uiHeight", "uiComp", "uiBpcInMemory")
    )
    if min(width, height, components, bits) <= 0 or components > _MAX_COMPONENTS:
        raise errors.corrupt(
            f"image attributes give {width} x {height} pixels of {components} components with {bits} bits"
        )
    tile_width, tile_height = (
        fields.integer(tree, "uiTileWidth"),
        fields.integer(tree, "uiTileHeight"),
    )
    tiled = (tile_width > 0 and tile_width != width) or (tile_height > 0 and tile_height != height)
    significant = fields.integer(tree, "uiBpcSignificant", bits)
    compression = COMPRESSION.get(fields.integer(tree, "eCompression", UNCOMPRESSED))
    return Attributes(
        bitsPerComponentInMemory=bits,
        bitsPerComponentSignificant=significant if 0 < significant <= bits else bits,
        componentCount=components,
        heightPx=height,
        # As Nikon's own reader has it: 32 bits are floating point, whatever the stored pixel type says.
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
    """Return the number of channels: that of the planes of the picture metadata, where it is known and possible.

    Else one channel is assumed for one or three components, and for others as many as there are components.
    """
    if plane_count is not None and 1 <= plane_count <= components:
        return plane_count
    return 1 if components in (1, 3) else components
