"""Binary layers: the two tables that describe them, and the names of the chunks of their pixels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.chunks import fields
from nd2._core.format.clx_lite import I32, U32, Items
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Iterable

RUNS_NAME = b"CustomDataVar|BinaryMetadata_v1!"
"""The table of run-length encoded layers."""
RASTERS_NAME = b"CustomData|BinaryMetadata_v2!"
"""The table of tiled layers."""

_BITS = (8, 16, 32)
_MAX_PIXELS = 1 << 26
"""Tiles that NIS-Elements writes have a quarter of a million pixels."""
_FIELDS = (
    ("uiBinLayerID", "layer_id", U32),
    ("uiState", "state", U32),
    ("uiColor", "color", U32),
    ("strName", "name", str),
    ("strCompName", "comp_name", str),
    ("uiCompOrder", "comp_order", U32),
    ("strFileTag", "file_tag", str),
    ("uiColorMode", "color_mode", I32),
)
_BARE_FIELDS = fields.bare(_FIELDS)
_NO_VALUES = {name: None for _, name, _ in _FIELDS}


@record
class TileGrid:
    """Sizes of a raster layer and of its tiles in pixels."""

    height: int
    width: int
    tile_height: int
    tile_width: int
    bits: int
    compressed: bool


@record
class LayerInfo:
    """Metadata of a layer; `tiles` is None for one that is run-length encoded."""

    name: str
    file_tag: str
    comp_name: str | None = None
    comp_order: int | None = None
    color: int | None = None
    color_mode: int | None = None
    state: int | None = None
    layer_id: int | None = None
    tiles: TileGrid | None = None


def mask_name(file_tag: str, frame: int) -> bytes:
    """Return the name of the chunk that holds a frame's mask of a run-length encoded layer."""
    return f"CustomDataSeq|{file_tag}|{frame}!".encode()


def decode_runs(raw: fields.Tree) -> list[LayerInfo]:
    """Return the run-length encoded layers; names of the tree have no type prefix.

    Layers without a name or a tag of their chunks are left out.
    """
    layers = []
    # Not unwrapped, because a list may hold one layer.
    for item in fields.levels(raw.get("BinaryMetadata_v1", raw)):
        values = fields.read(item, _BARE_FIELDS, _NO_VALUES)
        if values["name"] is not None and values["file_tag"]:
            layers.append(LayerInfo(**values))
    return layers


def encode_runs(layers: Iterable[LayerInfo]) -> Items:
    """Return the tree of run-length encoded layers."""
    items = Items(
        ("BinaryItem", {key: kind(getattr(layer, name) or kind()) for key, name, kind in _FIELDS}) for layer in layers
    )
    return Items([("BinaryMetadata_v1", items)])


def decode_rasters(data: bytes) -> list[LayerInfo]:
    """Return the tiled layers, from JSON."""
    try:
        items = json.loads(data.rstrip(b"\0").decode("utf-8", "replace"))
    except ValueError as error:
        raise errors.corrupt(f"the list of binary layers is not JSON: {error}") from None
    if not isinstance(items, list):
        raise errors.corrupt("the metadata of binary layers is not a list")
    return [_raster(item) for item in items if isinstance(item, dict)]


def _raster(item: dict[str, Any]) -> LayerInfo:
    number = fields.integer(item, "binLayerId")
    height, width, tile_height, tile_width = (
        fields.integer(item, f"bin{key}") for key in ("Height", "Width", "TileHeight", "TileWidth")
    )
    bits = fields.integer(item, "binBitdepth", 32)
    compression = fields.text(item, "binCompressionId")
    grid = TileGrid(height, width, tile_height or height, tile_width or width, bits, compression == "zlib")
    if compression not in ("", "zlib"):
        raise errors.unsupported(f"binary layers with {compression!r} compression")
    if bits not in _BITS or min(grid.height, grid.width, grid.tile_height, grid.tile_width) <= 0:
        raise errors.corrupt(f"a binary layer has impossible tiles: {grid}")
    if max(height * width, grid.tile_height * grid.tile_width) > _MAX_PIXELS:
        raise errors.corrupt(f"a binary layer is larger than {_MAX_PIXELS} pixels: {grid}")
    comp, order, color, mode, state = (
        item.get(f"bin{key}") for key in ("Comp", "CompOrder", "Color", "ColorMode", "State")
    )
    name, tag = fields.text(item, "binName"), f"TiledRasterBinaryData_{number}"
    return LayerInfo(name, tag, comp, order, color, mode, state, number, grid)
