"""The image of a file as a Zarr array over the file's own bytes, before any library: what every emitter writes down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._array import PIXEL_DIMS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._array import FrameArray


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


@dataclass(frozen=True)
class ZarrModel:
    """The image as a Zarr array over the file's own bytes.

    Attributes
    ----------
    dims : tuple of str
        Axes in the order in which the bytes lie: loops, Y, X, C, S.
    shape, chunks : tuple of int
        Shapes of the array and of a chunk; a chunk may be wider than the array, where rows are padded.
    dtype : numpy.dtype
    codec : {"raw", "zlib"}
    references : ChunkReferences
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    codec: str
    references: ChunkReferences


def zarr_model(image: FrameArray) -> ZarrModel:
    """Describe an image as chunks of the file.

    One chunk is one frame; where rows are padded by less than a pixel, one chunk is one row.

    Raises
    ------
    ValueError
        If the frames' bytes are not those of any Zarr chunk: compressed frames whose rows are padded by part of a
        pixel.
    """
    pixels = image.frames.pixels
    pixel_bytes = pixels.channels * pixels.samples * pixels.dtype.itemsize
    by_rows = pixels.row_bytes % pixel_bytes != 0
    if by_rows and pixels.codec != "raw":
        raise ValueError(
            "frames are compressed and their rows are padded by part of a pixel: no Zarr chunk has these bytes; "
            "write the pixels with ds.to_zarr() instead"
        )
    sizes = dict(zip(image.all_dims, image.all_shape, strict=True))
    loops = tuple(name for name, _, _ in image.loops if name in image.dims)
    dims = (*loops, *(dim for dim in ("Y", "X", "C", "S") if dim in image.dims))
    width = pixels.width if by_rows else pixels.row_bytes // pixel_bytes
    chunk = {
        "Y": 1 if by_rows else pixels.height,
        "X": width,
        "C": pixels.channels,
        "S": pixels.samples,
    }
    index = np.full((), image.first, np.intp)
    for _, count, step in image.loops:
        index = np.add.outer(index, np.arange(count) * step)
    offsets, lengths = image.frames.table.lookup(index.reshape(-1))
    present = lengths > 0
    if pixels.codec == "raw":
        lengths = np.where(present, pixels.frame_bytes, 0)
    grid: tuple[int, ...] = tuple(sizes[dim] for dim in loops)
    if by_rows:
        rows = np.arange(pixels.height) * pixels.row_bytes
        offsets = offsets[:, None] + rows
        lengths = np.repeat(
            np.where(present, pixels.packed_row_bytes, 0)[:, None], pixels.height, axis=1
        )
        grid = (*grid, pixels.height)
    grid = (*grid, *(1 for dim in dims if dim in PIXEL_DIMS and not (dim == "Y" and by_rows)))
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
