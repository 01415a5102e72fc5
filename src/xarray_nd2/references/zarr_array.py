"""The image of a file as a Zarr array over the file's own bytes, before any library: what every emitter writes down."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.frames.array import PIXEL_DIMS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.format.pixels import PixelLayout
    from nd2._core.frames.array import FrameArray

BAND_BYTES = 64 << 20
"""Frames that are larger than this are cut into bands of rows of at most this size, where their height allows it."""
_MIN_BAND = 1 << 20
_INSTEAD = (
    "write the pixels as Zarr instead, with xarray.open_dataset(file, engine='nd2').to_zarr(folder)"
)


@dataclass(frozen=True)
class ChunkReferences:
    """Byte ranges of an array's chunks.

    Attributes
    ----------
    offsets, lengths : ndarray of uint64, shape of the chunk grid
        Where each chunk is in the file; length 0 means that there is none.
    """

    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint64]

    @property
    def complete(self) -> bool:
        """Whether no chunk is missing."""
        return bool((self.lengths > 0).all())


@dataclass(frozen=True)
class ZarrModel:
    """The image as a Zarr array over the file's own bytes.

    Attributes
    ----------
    dims : tuple of str
        Axes of the array.
    shape, chunks : tuple of int
        Shapes of the array and of a chunk; a chunk may be wider than the array, where rows are padded.
    dtype : numpy.dtype
    codec : {"raw", "zlib"}
    references : ChunkReferences
    transpose : tuple of int, optional
        Place on the array's axes of each axis of the stored bytes; None where the bytes lie as the array says.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    codec: str
    references: ChunkReferences
    transpose: tuple[int, ...] | None = None

    def with_dims(self, dims: tuple[str, ...]) -> ZarrModel:
        """Return the same array with its axes in another order, which a transpose codec makes of the stored bytes.

        Only an array whose bytes lie as it says can be rearranged.
        """
        places = [self.dims.index(dim) for dim in dims]
        order = tuple(dims.index(dim) for dim in self.dims)
        # Where only axes of one item change places, the bytes stay as they are.
        longer = [place for place in order if self.chunks[places[place]] > 1]
        refs = self.references
        return replace(
            self,
            dims=dims,
            shape=tuple(self.shape[i] for i in places),
            chunks=tuple(self.chunks[i] for i in places),
            references=ChunkReferences(
                refs.offsets.transpose(places), refs.lengths.transpose(places)
            ),
            transpose=None if longer == sorted(longer) else order,
        )


def zarr_model(image: FrameArray) -> ZarrModel:
    """Describe an image as chunks of the file, its axes in the order in which the bytes lie: loops, Y, X, C, S.

    One chunk is one frame. Where rows are padded by part of a pixel, it is one row; where a frame that is not
    compressed is larger than 64 MiB, it is a band of rows.

    Raises
    ------
    ValueError
        If the frames' bytes are not those of any Zarr chunk: compressed frames whose rows are padded by part of a
        pixel, and frames of legacy files (JPEG 2000).
    """
    pixels = image.frames.pixels
    rows, width = _chunk_rows_and_width(pixels)
    sizes, loops = image.all_sizes, image.grid.dims
    dims = (*loops, *(dim for dim in ("Y", "X", "C", "S") if dim in image.dims))
    chunk = {"Y": rows, "X": width, "C": pixels.channels, "S": pixels.samples}
    offsets, lengths = image.frames.table.locations(image.grid.frames().reshape(-1))
    present = lengths > 0
    if pixels.codec == "raw":
        lengths = np.where(present, rows * pixels.row_bytes, 0)
        if rows == 1:  # the padding behind the last pixel of a row belongs to no chunk
            lengths = np.where(present, width * _pixel_bytes(pixels), 0)
    grid = image.grid.shape
    bands = pixels.height // max(rows, 1)
    if bands > 1:
        offsets = offsets[:, None] + np.arange(bands) * rows * pixels.row_bytes
        offsets[~present] = 0
        lengths = np.repeat(lengths[:, None], bands, axis=1)
        grid = (*grid, bands)
    grid = (*grid, *(1 for dim in dims if dim in PIXEL_DIMS and not (dim == "Y" and bands > 1)))
    return ZarrModel(
        dims,
        tuple(sizes[dim] for dim in dims),
        tuple(chunk.get(dim, 1) for dim in dims),
        pixels.dtype,
        pixels.codec,
        ChunkReferences(
            offsets.astype(np.uint64).reshape(grid), lengths.astype(np.uint64).reshape(grid)
        ),
    )


def _pixel_bytes(pixels: PixelLayout) -> int:
    return pixels.channels * pixels.samples * pixels.dtype.itemsize


def _chunk_rows_and_width(pixels: PixelLayout) -> tuple[int, int]:
    """Return how many rows a chunk has, and how many pixels wide it is."""
    if pixels.codec not in ("raw", "zlib"):
        raise ValueError(
            f"frames are stored as {pixels.codec}, for which no Zarr reader has a codec of its own: {_INSTEAD}"
        )
    width, padding = divmod(pixels.row_bytes, _pixel_bytes(pixels))
    if not padding:
        return _band_rows(pixels), width
    if pixels.codec == "zlib":
        raise ValueError(
            f"frames are compressed and their rows are padded by part of a pixel ({pixels.row_bytes} bytes, "
            f"{_pixel_bytes(pixels)} a pixel): no Zarr chunk has these bytes; {_INSTEAD}"
        )
    return 1, pixels.width


def _band_rows(pixels: PixelLayout) -> int:
    """Return the rows of a chunk: all, or of a huge frame a part that divides the height, as all chunks are equal."""
    if pixels.codec != "raw" or pixels.frame_bytes <= BAND_BYTES:
        return pixels.height
    bands = math.ceil(pixels.frame_bytes / BAND_BYTES)
    for count in range(bands, pixels.frame_bytes // _MIN_BAND + 1):
        if pixels.height % count == 0:
            return pixels.height // count
    return pixels.height
