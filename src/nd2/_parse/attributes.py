"""Image attributes: from the ``ImageAttributes`` tree to `Attributes`."""

from __future__ import annotations

from nd2 import _errors
from nd2._parse import _tree
from nd2.structures import Attributes, CompressionType

COMPRESSION: dict[int, CompressionType] = {0: "lossless", 1: "lossy"}
UNCOMPRESSED = 2
_MOST_COMPONENTS = 1 << 16


def parse(raw: _tree.Tree, *, plane_count: int | None) -> Attributes:
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
    tree = _tree.root(raw, "SLxImageAttributes")
    width, height, components, bits = (
        _tree.integer(tree, key) for key in ("uiWidth", "uiHeight", "uiComp", "uiBpcInMemory")
    )
    if min(width, height, components, bits) <= 0 or components > _MOST_COMPONENTS:
        raise _errors.corrupt(
            f"image attributes give {width} x {height} pixels of {components} components with {bits} bits"
        )
    tile_width, tile_height = (
        _tree.integer(tree, "uiTileWidth"),
        _tree.integer(tree, "uiTileHeight"),
    )
    tiled = (tile_width > 0 and tile_width != width) or (tile_height > 0 and tile_height != height)
    significant = _tree.integer(tree, "uiBpcSignificant", bits)
    compression = COMPRESSION.get(_tree.integer(tree, "eCompression", UNCOMPRESSED))
    return Attributes(
        bitsPerComponentInMemory=bits,
        bitsPerComponentSignificant=significant if 0 < significant <= bits else bits,
        componentCount=components,
        heightPx=height,
        # As Nikon's own reader has it: 32 bits are floating point, whatever the stored pixel type says.
        pixelDataType="float" if bits == 32 else "unsigned",
        sequenceCount=_tree.integer(tree, "uiSequenceCount"),
        widthBytes=_tree.integer(tree, "uiWidthBytes"),
        widthPx=width,
        compressionLevel=_tree.real(tree, "dCompressionParam") if compression else None,
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
