"""Binary layers: from their two kinds of metadata to one description of a layer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from nd2._core import errors
from nd2._core.chunks import fields

_BITS = (8, 16, 32)
_MAX_PIXELS = 1 << 26
"""The vendor's own tiles have a quarter of a million pixels."""


@dataclass(frozen=True, slots=True)
class TileGrid:
    """How a raster layer is cut into tiles."""

    height: int
    width: int
    tile_height: int
    tile_width: int
    bits: int
    compressed: bool


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """What the metadata say of a layer; `tiles` is None for one that is run-length encoded."""

    name: str
    file_tag: str
    comp_name: str | None
    comp_order: int | None
    color: int | None
    color_mode: int | None
    state: int | None
    layer_id: int | None
    tiles: TileGrid | None = None


def parse_runs(raw: fields.Tree) -> list[LayerInfo]:
    """Return the run-length encoded layers that ``BinaryMetadata_v1`` lists, names without prefix.

    A layer that has no name or no tag of its chunks is left out.
    """
    # Not unwrapped: a list of one layer is a list.
    items = fields.levels(raw.get("BinaryMetadata_v1", raw))
    return [
        LayerInfo(
            fields.text(item, "Name"),
            fields.text(item, "FileTag"),
            item.get("CompName"),
            item.get("CompOrder"),
            item.get("Color"),
            item.get("ColorMode"),
            item.get("State"),
            item.get("BinLayerID"),
        )
        for item in items
        if "Name" in item and fields.text(item, "FileTag")
    ]


def parse_rasters(data: bytes) -> list[LayerInfo]:
    """Return the tiled layers that ``BinaryMetadata_v2`` lists.

    Raises
    ------
    ValueError
        If it is no list of layers, or the tiles of one are impossible.
    """
    try:
        items = json.loads(data.rstrip(b"\0").decode("utf-8", "replace"))
    except ValueError as error:
        raise errors.corrupt(f"the list of binary layers is no JSON: {error}") from None
    if not isinstance(items, list):
        raise errors.corrupt("the metadata of binary layers are no list")
    return [_raster(item) for item in items if isinstance(item, dict)]


def _raster(item: dict[str, Any]) -> LayerInfo:
    number = fields.integer(item, "binLayerId")
    height, width, tile_height, tile_width = (
        fields.integer(item, f"bin{key}") for key in ("Height", "Width", "TileHeight", "TileWidth")
    )
    bits = fields.integer(item, "binBitdepth", 32)
    compression = fields.text(item, "binCompressionId")
    grid = TileGrid(
        height, width, tile_height or height, tile_width or width, bits, compression == "zlib"
    )
    if compression not in ("", "zlib"):
        raise errors.unsupported(f"binary layers with {compression!r} compression")
    if bits not in _BITS or min(grid.height, grid.width, grid.tile_height, grid.tile_width) <= 0:
        raise errors.corrupt(f"a binary layer has impossible tiles: {grid}")
    if max(height * width, grid.tile_height * grid.tile_width) > _MAX_PIXELS:
        raise errors.corrupt(f"a binary layer is too large to be true: {grid}")
    return LayerInfo(
        fields.text(item, "binName"),
        f"TiledRasterBinaryData_{number}",
        item.get("binComp"),
        item.get("binCompOrder"),
        item.get("binColor"),
        item.get("binColorMode"),
        item.get("binState"),
        number,
        grid,
    )
