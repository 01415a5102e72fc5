"""Binary layers of a chunked file: where the masks of each frame are, and how one is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.format import masks
from nd2._core.format.chunks import SEQUENCE_PREFIX, display_name
from nd2._core.frames.selection import as_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from nd2._core.chunks.binary_layers import LayerInfo, TileGrid
    from nd2._core.frames.plan import Picks
    from nd2._core.io import ByteSource
    from nd2._core.readers.chunk_file import ChunkAddress, ChunkFile

_TILE = re.compile(r"CustomDataSeq\|(TiledRasterBinaryData_-?\d+)_(\d{1,10})_(\d{1,10})\|(\d{1,10})")
_RUNS = re.compile(r"CustomDataSeq\|(.+)\|(\d{1,10})")


@dataclass(frozen=True, slots=True, eq=False)
class LayerChunks(Sequence["NDArray[Any] | None"]):
    """The masks of one binary layer, one for each frame; each is read on access and not kept."""

    source: ByteSource
    info: LayerInfo
    shape: tuple[int, int]
    """Shape of a frame's values: that of the image."""
    frame_count: int
    chunks: Mapping[int, Mapping[tuple[int, int], ChunkAddress]]
    dims = ("Y", "X")

    def __len__(self) -> int:
        return self.frame_count

    def __getitem__(self, index: Any) -> Any:
        frames = range(self.frame_count)[index]  # raises IndexError if there is no such frame
        if isinstance(frames, range):
            return [self.read(frame) for frame in frames]
        return self.read(frames)

    @property
    def present(self) -> list[int]:
        """Frames for which something is stored."""
        return sorted(frame for frame in self.chunks if frame < self.frame_count)

    def read(self, frame: int) -> NDArray[Any] | None:
        """Read the mask of a frame, shape (Y, X): the number of the object at each pixel, or 0; None without a mask."""
        tiles = self.chunks.get(frame)
        if not tiles:
            return None
        grid = self.info.tiles
        if grid is not None:
            return _assemble(grid, tiles, frame)
        chunk = tiles[0, 0]
        data = chunk.read()
        with errors.within(path=chunk.source.url, chunk=chunk.name, frame=frame):
            return masks.decode_runs(data, self.shape)

    def read_fitted(self, frame: int) -> NDArray[Any] | None:
        """Read the mask of a frame as `read` does, in the size of the image."""
        mask = self.read(frame)
        return None if mask is None else fit(mask, self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type that can hold the number of any object, in all masks of the layer."""
        return np.dtype("u4" if self.info.tiles is None else f"u{self.info.tiles.bits // 8}")

    def take(self, frames: NDArray[np.intp], picks: Picks) -> NDArray[Any]:
        """Return a part of the masks of some frames, zero for frames without a mask."""
        rows, columns = picks
        part = np.zeros((len(frames), len(rows), len(columns)), self.dtype)
        if part.size:
            for place, frame in enumerate(frames.tolist()):
                mask = self.read_fitted(frame)
                if mask is not None:
                    part[place] = mask[as_index(rows)][:, as_index(columns)]
        return part

    def token(self) -> tuple[Any, ...]:
        """Return what distinguishes this layer from others."""
        addresses = [
            (frame, place, chunk.position) for frame, tiles in self.chunks.items() for place, chunk in tiles.items()
        ]
        return ("labels", *self.source.identity, repr(self.info), hash(tuple(addresses)))


def fit(mask: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Return a mask in the size of the image: the raster of a layer may be smaller or larger."""
    if mask.shape == shape:
        return mask
    whole = np.zeros(shape, mask.dtype)
    common = tuple(slice(0, min(pair)) for pair in zip(mask.shape, shape, strict=True))
    whole[common] = mask[common]
    return whole


def _assemble(grid: TileGrid, tiles: Mapping[tuple[int, int], ChunkAddress], frame: int) -> NDArray[Any]:
    """Read tiles and put them together; missing tiles are empty."""
    height, width = grid.tile_height, grid.tile_width
    mask = np.zeros((grid.height, grid.width), f"<u{grid.bits // 8}")
    spans = [(chunk.position, chunk.extent) for chunk in tiles.values()]
    next(iter(tiles.values())).source.prefetch(spans)
    for (row, column), chunk in tiles.items():
        part = mask[row * height : (row + 1) * height, column * width : (column + 1) * width]
        if part.size:
            data = chunk.read()
            with errors.within(path=chunk.source.url, chunk=chunk.name, frame=frame):
                tile = masks.decode_tile(data, (height, width), grid.bits, compressed=grid.compressed)
            part[...] = tile[: part.shape[0], : part.shape[1]]
    return mask


def layer_chunks(
    layers: Iterable[LayerInfo], chunk_file: ChunkFile, image_shape: tuple[int, int], frame_count: int
) -> list[LayerChunks]:
    """Find the chunks of binary layers."""
    layers = list(layers)
    places: dict[str, dict[int, dict[tuple[int, int], ChunkAddress]]] = {layer.file_tag: {} for layer in layers}
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
    return [LayerChunks(chunk_file.source, layer, image_shape, frame_count, places[layer.file_tag]) for layer in layers]
