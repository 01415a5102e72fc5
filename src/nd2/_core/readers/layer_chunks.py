"""Binary layers of a chunked file: where the masks of each frame are, and how one is read."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from nd2._core import errors
from nd2._core.format import masks
from nd2._core.format.chunks import SEQUENCE_PREFIX, display_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from nd2._core.chunks.binary_layers import LayerInfo, TileGrid
    from nd2._core.io import ByteSource
    from nd2._core.readers.chunk_address import ChunkAddress
    from nd2._core.readers.chunk_file import ChunkFile

_Mask = TypeVar("_Mask")

_TILE = re.compile(r"CustomDataSeq\|(TiledRasterBinaryData_-?\d+)_(\d+)_(\d+)\|(\d+)")
_RUNS = re.compile(r"CustomDataSeq\|(.+)\|(\d+)")


@dataclass(frozen=True, slots=True)
class LayerChunks:
    """One binary layer. It pickles small, and reads the mask of a frame on request.

    Attributes
    ----------
    info : LayerInfo
        Name, color and form of the layer.
    shape : (int, int)
        Height and width of the image.
    chunks : mapping
        Frame -> place of a tile (row, column) -> chunk. Run-length encoded layers have one tile.
    """

    info: LayerInfo
    shape: tuple[int, int]
    chunks: Mapping[int, Mapping[tuple[int, int], ChunkAddress]]

    def with_source(self, source: ByteSource) -> LayerChunks:
        """Return the same layer in another source of the same bytes."""
        chunks = {
            frame: {place: chunk.with_source(source) for place, chunk in tiles.items()}
            for frame, tiles in self.chunks.items()
        }
        return replace(self, chunks=chunks)

    def read(self, frame: int) -> NDArray[Any] | None:
        """Read the mask of a frame.

        Returns
        -------
        ndarray, shape (Y, X), or None
            The number of the object at each pixel, 0 for none; None if the frame has no mask.

        Raises
        ------
        ValueError
            If the mask is damaged.
        """
        tiles = self.chunks.get(frame)
        if not tiles:
            return None
        grid = self.info.tiles
        if grid is None:
            return _decode(tiles[0, 0], frame, lambda data: masks.decode_runs(data, self.shape))
        return _assemble(grid, tiles, frame)

    def read_fitted(self, frame: int) -> NDArray[Any] | None:
        """Read the mask of a frame as `read` does, in the size of the image."""
        mask = self.read(frame)
        return None if mask is None else fit(mask, self.shape)


def fit(mask: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Return a mask in the size of the image: the raster of a layer may be smaller or larger."""
    if mask.shape == shape:
        return mask
    whole = np.zeros(shape, mask.dtype)
    common = tuple(slice(0, min(pair)) for pair in zip(mask.shape, shape, strict=True))
    whole[common] = mask[common]
    return whole


def _assemble(
    grid: TileGrid, tiles: Mapping[tuple[int, int], ChunkAddress], frame: int
) -> NDArray[Any]:
    """Read tiles and put them together; missing tiles are empty."""
    height, width = grid.tile_height, grid.tile_width
    mask = np.zeros((grid.height, grid.width), f"<u{grid.bits // 8}")
    spans = [(chunk.position, chunk.extent) for chunk in tiles.values()]
    next(iter(tiles.values())).source.prefetch(spans)
    for (row, column), chunk in tiles.items():
        part = mask[row * height : (row + 1) * height, column * width : (column + 1) * width]
        if part.size:
            tile = _decode(
                chunk,
                frame,
                lambda data: masks.decode_tile(
                    data, (height, width), grid.bits, compressed=grid.compressed
                ),
            )
            part[...] = tile[: part.shape[0], : part.shape[1]]
    return mask


def _decode(chunk: ChunkAddress, frame: int, decode: Callable[[bytes], _Mask]) -> _Mask:
    data = chunk.read()
    try:
        return decode(data)
    except ValueError as error:
        raise errors.corrupt_in(
            error, path=chunk.source.url, chunk=chunk.name, frame=frame
        ) from error


def layer_chunks(
    layers: Iterable[LayerInfo], chunk_file: ChunkFile, shape: tuple[int, int]
) -> list[LayerChunks]:
    """Find the chunks of binary layers, for an image of a certain height and width."""
    layers = list(layers)
    places: dict[str, dict[int, dict[tuple[int, int], ChunkAddress]]] = {
        layer.file_tag: {} for layer in layers
    }
    for raw_name in chunk_file.names:
        if not raw_name.startswith(SEQUENCE_PREFIX):
            continue
        name = display_name(raw_name)
        match = _TILE.fullmatch(name) or _RUNS.fullmatch(name)
        tag, *numbers = match.groups() if match else ("",)
        if tag in places and (chunk := chunk_file.address(name)) is not None:
            *tile, frame = map(int, numbers)
            place = (tile[0], tile[1]) if tile else (0, 0)
            places[tag].setdefault(frame, {})[place] = chunk
    return [LayerChunks(layer, shape, places[layer.file_tag]) for layer in layers]
