"""Arrays and groups of a Zarr hierarchy, before any library and any version of the format."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy as np

from nd2._core.frames.array import PIXEL_DIMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.format.pixels import PixelLayout
    from nd2._core.frames.array import FrameArray

BAND_BYTES = 64 << 20
"""Larger frames are cut into bands of rows of at most this size, if their height allows it."""
_MIN_BAND = 1 << 20
_INSTEAD = "write the pixels as Zarr instead, with xarray.open_dataset(file, engine='nd2').to_zarr(folder)"


class Data(Protocol):
    """Data of an array: byte ranges, values in memory, or an image that is read by chunks."""

    def transpose(self, order: Sequence[int], /) -> Self:
        """Return the data with their axes in another order."""


@dataclass(frozen=True, eq=False)
class ByteRanges:
    """Byte ranges of an array's chunks.

    Attributes
    ----------
    offsets, lengths : ndarray of uint64, shape of the chunk grid
        Where each chunk is in its file; length 0 means that the chunk is missing.
    """

    urls: tuple[str, ...]
    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint64]
    files: NDArray[np.intp] | None = None

    @property
    def complete(self) -> bool:
        """Whether no chunk is missing."""
        return bool((self.lengths > 0).all())

    def transpose(self, order: Sequence[int], /) -> ByteRanges:
        """Return the ranges with the axes of the chunk grid in another order."""
        files = None if self.files is None else self.files.transpose(order)
        return replace(self, offsets=self.offsets.transpose(order), lengths=self.lengths.transpose(order), files=files)


NO_DATA = ByteRanges((), np.zeros(0, np.uint64), np.zeros(0, np.uint64))
"""Data of an array before its chunks are known."""


@dataclass(frozen=True, eq=False)
class ZarrArray:
    """An array as Zarr holds it.

    Attributes
    ----------
    dims : tuple of str
        Axes.
    shape, chunks : tuple of int
        Shapes of the array and of a chunk; a chunk may be wider than the array if rows are padded.
    dtype : numpy.dtype
    data : ByteRanges or ndarray or Data
        Where the chunks are, or the values, which are one chunk.
    attrs : dict
    codec : {"raw", "zlib"}
        How the bytes of a chunk are compressed.
    transpose : tuple of int, optional
        Place on the array's axes of each axis of the stored bytes; None if these are in order.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    data: Data = NO_DATA
    attrs: dict[str, Any] = field(default_factory=dict)
    codec: Literal["raw", "zlib"] = "raw"
    transpose: tuple[int, ...] | None = None

    @classmethod
    def from_values(cls, dims: Iterable[str], values: Any, attrs: Mapping[str, Any] | None = None) -> ZarrArray:
        """Make the array of values in memory: little-endian, texts of fixed width, one chunk."""
        array = np.asarray(values)
        if array.dtype.kind in "OT":
            array = np.array(array.tolist(), np.str_)
        if array.dtype.itemsize == 0:  # all texts are empty
            array = array.astype("U1")
        array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        return cls(tuple(dims), array.shape, array.shape, array.dtype, array, plain(attrs or {}))

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks on each axis."""
        return tuple(-(-n // max(m, 1)) for n, m in zip(self.shape, self.chunks, strict=True))

    def with_dims(self, dims: tuple[str, ...]) -> ZarrArray:
        """Return the array with its axes in another order, by a transpose codec if one is needed.

        The stored bytes of this array must be in order.
        """
        places = [self.dims.index(dim) for dim in dims]
        order = tuple(dims.index(dim) for dim in self.dims)
        # If only axes of one item change places, the bytes stay as they are.
        longer = [place for place in order if self.chunks[places[place]] > 1]
        return replace(
            self,
            dims=dims,
            shape=tuple(self.shape[i] for i in places),
            chunks=tuple(self.chunks[i] for i in places),
            data=self.data.transpose(places),
            transpose=None if longer == sorted(longer) else order,
        )


@dataclass(frozen=True, eq=False)
class ZarrGroup:
    """A group: its path (empty for the root), its attributes, and its arrays by name."""

    path: str
    attrs: dict[str, Any]
    arrays: Mapping[str, ZarrArray] = field(default_factory=dict)

    @classmethod
    def from_image(
        cls, path: str, attrs: Mapping[str, Any], image: ZarrArray, coords: Mapping[str, ZarrArray], name: str = "image"
    ) -> ZarrGroup:
        """Make the group of an image and its coordinates, which CF names in an attribute."""
        others = " ".join(coord for coord in coords if coord not in image.dims)
        named = {key: value for key, value in image.attrs.items() if key != "coordinates"}
        named |= {"coordinates": others} if others else {}
        return cls(path, plain(attrs), {name: replace(image, attrs=named), **coords})

    @property
    def items(self) -> Iterator[tuple[str, ZarrArray]]:
        """Path and value of each array."""
        prefix = f"{self.path}/" if self.path else ""
        return ((f"{prefix}{name}", array) for name, array in self.arrays.items())


def plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with NumPy's scalars and arrays as Python's numbers and lists."""
    return {
        key: value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value for key, value in attrs.items()
    }


def image_array(image: FrameArray, url: str, attrs: Mapping[str, Any]) -> ZarrArray:
    """Describe an image as chunks of the file at ``url``, its axes in stored order: loops, Y, X, C, S.

    A chunk is a frame; a row if rows are padded by part of a pixel; a band of rows if an
    uncompressed frame is larger than 64 MiB.
    """
    pixels = image.frames.pixels
    codec, rows, width = _chunk_form(pixels)
    sizes, loops = image.all_sizes, image.grid.dims
    dims = (*loops, *(dim for dim in ("Y", "X", "C", "S") if dim in image.dims))
    chunk = {"Y": rows, "X": width, "C": pixels.channels, "S": pixels.samples}
    offsets, lengths = image.frames.table.locations(image.grid.frames().reshape(-1))
    present = lengths > 0
    if codec == "raw":
        lengths = np.where(present, rows * pixels.row_bytes, 0)
        if rows == 1:  # the padding after the last pixel of a row belongs to no chunk
            lengths = np.where(present, width * _pixel_bytes(pixels), 0)
    grid = image.grid.shape
    bands = pixels.height // max(rows, 1)
    if bands > 1:
        offsets = offsets[:, None] + np.arange(bands) * rows * pixels.row_bytes
        offsets[~present] = 0
        lengths = np.repeat(lengths[:, None], bands, axis=1)
        grid = (*grid, bands)
    grid = (*grid, *(1 for dim in dims if dim in PIXEL_DIMS and not (dim == "Y" and bands > 1)))
    return ZarrArray(
        dims,
        tuple(sizes[dim] for dim in dims),
        tuple(chunk.get(dim, 1) for dim in dims),
        pixels.dtype,
        ByteRanges((url,), offsets.astype(np.uint64).reshape(grid), lengths.astype(np.uint64).reshape(grid)),
        plain(attrs),
        codec,
    )


def _pixel_bytes(pixels: PixelLayout) -> int:
    return pixels.channels * pixels.samples * pixels.dtype.itemsize


def _chunk_form(pixels: PixelLayout) -> tuple[Literal["raw", "zlib"], int, int]:
    """Return the codec of a chunk, its number of rows, and its width in pixels."""
    if pixels.codec not in ("raw", "zlib"):
        raise ValueError(
            f"frames are stored as {pixels.codec}, for which no Zarr reader has a built-in codec: {_INSTEAD}"
        )
    width, padding = divmod(pixels.row_bytes, _pixel_bytes(pixels))
    if pixels.codec == "raw":
        return ("raw", 1, pixels.width) if padding else ("raw", _band_rows(pixels), width)
    if padding:
        raise ValueError(
            "frames are compressed and their rows are padded by part of a pixel "
            f"({pixels.row_bytes} bytes, {_pixel_bytes(pixels)} per pixel): no Zarr chunk has these "
            f"bytes; {_INSTEAD}"
        )
    return "zlib", pixels.height, width


def _band_rows(pixels: PixelLayout) -> int:
    """Return the rows of a chunk: all, or of a huge frame a divisor of the height, as chunks are equal."""
    if pixels.frame_bytes <= BAND_BYTES:
        return pixels.height
    bands = math.ceil(pixels.frame_bytes / BAND_BYTES)
    for count in range(bands, pixels.frame_bytes // _MIN_BAND + 1):
        if pixels.height % count == 0:
            return pixels.height // count
    return pixels.height
