"""A picture of a file: a montage of some of its frames in the colours of the channels, as PNG."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.views.channels import channel_indices, channels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nd2._core.readers import Reader

_LOW, _HIGH = 0.1, 99.9
"""Percentiles of the values that become black and full colour."""
_LEGIBLE = 512
"""Pixels of the longer side up to which a small picture is enlarged."""
_GAP = 2
"""Pixels between the tiles of a montage."""


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """What to show.

    Attributes
    ----------
    frames : sequence of int, optional
        Sequence indices of the frames; by default some that are spread evenly, and if it is one, the middle plane of
        the first stack.
    tiles : int
        How many frames are shown at most, where none are given.
    split : bool
        Whether each channel has a tile of its own.
    size : int
        Longer side of the picture in pixels, at most.
    channels : sequence of int or str, optional
        Indices or names of the channels to show; by default all.

    Raises
    ------
    ValueError
        If ``tiles`` or ``size`` is less than 1, or ``frames`` or ``channels`` is empty.
    """

    frames: Sequence[int] | None = None
    tiles: int = 16
    split: bool = False
    size: int = 1024
    channels: Sequence[int | str] | None = None

    def __post_init__(self) -> None:
        if self.tiles < 1 or self.size < 1:
            raise ValueError("tiles and size must be at least 1")
        for what in ("frames", "channels"):
            if getattr(self, what) is not None and len(getattr(self, what)) == 0:
                raise ValueError(f"there is nothing to show: {what} is empty")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture, which a notebook shows where it is the value of a cell.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        Red, green, blue.
    """

    pixels: NDArray[np.uint8]

    def __repr__(self) -> str:
        height, width, _ = self.pixels.shape
        return f"<Picture of {width} x {height} pixels>"

    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        return encode_png(self.pixels)

    def _repr_png_(self) -> bytes:
        return self.png()


def picture(reader: Reader, look: PictureOptions) -> Picture:
    """Return a picture of some frames.

    The range of each channel is that of the frames shown, so that they can be compared.

    Raises
    ------
    IndexError
        If the file has no such frame, or no channel of that index.
    ValueError
        If the file has no channel of that name, or a frame is damaged.
    """
    frames = _frames(reader, look)
    shown = _shown(reader, look)
    tiles = len(frames) * (len(shown) if look.split else 1)
    columns = _columns(tiles, reader)
    rows = -(-tiles // columns)
    height, width = reader.layout.height, reader.layout.width
    step = max(math.ceil(max(height * rows, width * columns) / max(look.size, 1)), 1)
    # Every step-th row and column: of files that are not compressed, only these rows are read.
    samples = range(reader.layout.samples)
    picks = (np.array(shown), range(0, height, step), range(0, width, step), samples)
    unique = np.unique(np.array(frames, np.intp))
    pixels = reader.frames.read(unique, picks)[np.searchsorted(unique, frames)]
    small = _grid(_painted(reader, pixels, shown, split=look.split), columns)
    zoom = max(min(_LEGIBLE, look.size) // max(small.shape), 1)
    return Picture(small.repeat(zoom, axis=0).repeat(zoom, axis=1))


def _frames(reader: Reader, look: PictureOptions) -> list[int]:
    count = reader.frame_count
    if look.frames is not None:
        for frame in look.frames:
            if not 0 <= frame < count:
                raise errors.frame_range(frame, count, path=reader.source.url)
        return list(look.frames)
    present = np.flatnonzero(reader.frames.table.present(count))
    if look.tiles == 1:
        loops = reader.layout.loops
        middle = reader.layout.grid.frame([n // 2 if name[0] == "Z" else 0 for name, n in loops])
        if middle in present:
            return [middle]
    if not len(present):
        present = np.arange(min(count, 1))
    places = np.linspace(0, len(present) - 1, min(look.tiles, len(present))).round().astype(int)
    return [int(present[place]) for place in np.unique(places)]


def _shown(reader: Reader, look: PictureOptions) -> list[int]:
    """Return the indices of the channels to show."""
    names = [channel.name for channel in channels(reader)]
    if look.channels is None:
        return list(range(len(names)))
    return channel_indices(look.channels, names, path=reader.source.url)


def _columns(tiles: int, reader: Reader) -> int:
    """Return how many tiles stand side by side, so that the picture is about as high as it is wide."""
    height, width = max(reader.layout.height, 1), max(reader.layout.width, 1)
    return min(max(round(math.sqrt(tiles * height / width)), 1), tiles)


def _painted(
    reader: Reader, pixels: NDArray[Any], shown: Sequence[int], *, split: bool
) -> list[NDArray[np.float32]]:
    """Paint some channels of frames, shape (n, C, Y, X, S); return the tiles, shape (Y, X, 3) from 0 to 1."""
    scaled = np.stack([_scaled(pixels[:, c]) for c in range(pixels.shape[1])], axis=1)
    if reader.layout.samples > 1:
        # Several channels in colour have nothing that could mix them: one tile for each.
        rgb = scaled[..., ::-1] if reader.frames.pixels.sample_order == "BGR" else scaled
        return list(rgb.reshape(-1, *rgb.shape[2:]) if split else _mean(rgb))
    colours = np.array([channel.rgb for channel in channels(reader)], np.float32) / 255
    if len(colours) == 1:
        colours = np.ones((1, 3), np.float32)
    colours = colours[shown]
    layers = scaled * colours[:, None, None, :]
    if split:
        return list(layers.reshape(-1, *layers.shape[2:]))
    return list(np.minimum(layers.sum(axis=1), 1))


def _mean(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = pixels.mean(axis=1, dtype=np.float32)
    return mean


def _scaled(values: NDArray[Any]) -> NDArray[np.float32]:
    """Bring values to 0 to 1, but for the extremes."""
    # In double precision, so that values at both ends of single precision do not overflow.
    data = np.nan_to_num(values, posinf=0, neginf=0).astype(np.float64)
    if values.dtype == np.uint8 and values.shape[-1] > 1:
        low, high = 0.0, 255.0  # photographs are as bright as they are
    else:
        low, high = np.percentile(data, [_LOW, _HIGH]) if data.size else (0.0, 1.0)
        if high <= low:
            high = max(float(data.max(initial=0)), low + 1)
    scaled: NDArray[np.float32] = ((data.clip(low, high) - low) / (high - low)).astype(np.float32)
    return scaled


def _grid(tiles: Sequence[NDArray[np.float32]], columns: int) -> NDArray[np.uint8]:
    height, width, _ = tiles[0].shape
    rows = -(-len(tiles) // columns)
    shape = (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3)
    out = np.full(shape, 48, np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        y, x = row * (height + _GAP), column * (width + _GAP)
        out[y : y + height, x : x + width] = (tile * 255 + 0.5).astype(np.uint8)
    return out


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode a picture, shape (height, width, 3), as PNG."""
    height, width, _ = image.shape
    rows = np.zeros((height, 1 + width * 3), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = image.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6))
        + chunk(b"IEND", b"")
    )
