"""Pictures: composites of channels in their colors, and montages of frames."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nd2._core.readers import Reader
    from nd2._core.views.facts import Facts

_PERCENTILES = 0.1, 99.9
"""Percentiles of the values that become black and full color."""
_SAMPLES = 4
"""Frames from which the range of values to display is taken."""
_BANDS, _BAND_ROWS = 8, 32
"""Bands of rows of each of them."""
_SAMPLE_WIDTH = 512
_SAMPLE_BYTES = 64 << 20
"""Bytes to read for them, except for the first."""
_WHITE = (255, 255, 255)
_LARGEST, _LEGIBLE = 1024, 640
"""Pixels of the longer side by default: of large images, and up to which small ones are enlarged."""
_GAP = 2
"""Pixels between the tiles of a montage."""


@record
class PictureOptions:
    """Options of a picture.

    Attributes
    ----------
    frames : sequence of int, optional
        Sequence indices of the frames; by default some that are spread evenly, and if it is one, the
        middle plane of the first stack.
    size : int, optional
        Longer side of the picture in pixels; that of a montage may be a few pixels less. By default
        the size of the image, within limits.
    channels : sequence of int or str, optional
        By default all, but in composites none in bright field.
    annotated : bool
        Whether to draw a scale bar, and the names of frames and channels.
    """

    frames: Sequence[int] | None = None
    tiles: int = 16
    split: bool = False
    size: int | None = None
    channels: Sequence[int | str] | None = None
    annotated: bool = False

    def __post_init__(self) -> None:
        if self.tiles < 1 or (self.size is not None and self.size < 1):
            raise ValueError("tiles and size must be at least 1")
        for what in ("frames", "channels"):
            if getattr(self, what) is not None and len(getattr(self, what)) == 0:
                raise ValueError(f"there is nothing to show: {what} is empty")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture, which a notebook shows as the value of a cell.

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

    def encode(self, form: str) -> bytes:
        """Return the picture as a file of a format.

        Parameters
        ----------
        form : str
            PNG, or one that Pillow has: JPEG, TIFF, PDF.

        Raises
        ------
        ImportError
            If Pillow is not installed.
        """
        if form == "PNG":
            return self.png()
        from nd2._core.views.drawing import encode

        return encode(self.pixels, form)

    def _repr_png_(self) -> bytes:
        return self.png()


def scaled(values: NDArray[Any], top: float | None = None) -> NDArray[np.float32]:
    """Scale values to 0 to 1: from 0 to ``top``, or by their own limits; values that are not finite become 0."""
    return stretch(values, contrast_limits(values) if top is None else (0.0, top))


def stretch(values: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.float32]:
    """Scale values to 0 to 1; values that are not finite become 0."""
    low, high = limits
    data = _finite(values)
    part: NDArray[np.float32] = ((data.clip(low, high) - low) / (high - low)).astype(np.float32)
    return part


def contrast_limits(values: NDArray[Any]) -> tuple[float, float]:
    """Return the values that become black and full color; the second is the larger one."""
    data = _finite(values)
    if not data.size:
        return 0.0, 1.0
    low, high = map(float, np.percentile(data, _PERCENTILES))
    return low, high if high > low else max(float(data.max()), low + 1)


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return values in double precision, in which both ends of single precision do not overflow; 0 for NaN."""
    finite: NDArray[np.float64] = np.nan_to_num(values, posinf=0, neginf=0).astype(np.float64)
    return finite


def blend(layers: NDArray[np.float32], colors: NDArray[Any]) -> NDArray[np.float32]:
    """Add channels from 0 to 1, shape (C, ...), each in its color from 0 to 1, shape (C, 3); return shape (..., 3)."""
    total = np.tensordot(layers, colors.astype(np.float32), axes=(0, 0))
    return np.minimum(total, 1, dtype=np.float32)


def to_8bit(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert values from 0 to 1 to 0 to 255."""
    return (values * 255 + 0.5).astype(np.uint8)


def scale_bar(pixel_um: float, width: int) -> tuple[float, str] | None:
    """Return length in pixels and text of a scale bar: a round length, near a fifth of the width of an image."""
    about = pixel_um * width / 5
    if not (math.isfinite(about) and about > 0):
        return None
    power = 10.0 ** math.floor(math.log10(about))
    length = max(step * power for step in (1, 2, 5) if step * power <= about)
    factor, unit = next(
        (factor, unit)
        for factor, unit in ((1e-3, "mm"), (1.0, "µm"), (1e3, "nm"))
        if length * factor >= 1 or unit == "nm"
    )
    return length / pixel_um, f"{length * factor:g} {unit}"


class Painter:
    """Paints frames of a file in a given size, all with the same limits.

    Parameters
    ----------
    channels : list of int
        The channels to paint.
    shape : tuple of int
        Height and width of a painted frame. Every so many rows and columns are read: of files that
        are not compressed, only these rows.
    """

    def __init__(
        self, reader: Reader, facts: Facts, channels: Sequence[int], shape: tuple[int, int], *, split: bool = False
    ) -> None:
        self._reader, self._facts, self.channels, self.split = reader, facts, channels, split
        layout = reader.layout
        rows, self._rows = np.unique(_nearest(layout.height, shape[0]), return_inverse=True)
        columns, self._columns = np.unique(_nearest(layout.width, shape[1]), return_inverse=True)
        self._picks = (np.array(channels), rows, columns, range(layout.samples))
        self.limits: list[tuple[float, float]] | None = None

    @property
    def colors(self) -> NDArray[np.float64]:
        """Color of each channel, from 0 to 1; white if the file has only one."""
        single = len(self._facts.channels) == 1
        rgb = [_WHITE if single else self._facts.channels[c].rgb for c in self.channels]
        return np.array(rgb) / 255

    def read(self, frames: Sequence[int]) -> NDArray[Any]:
        """Return the visible pixels of frames, shape (n, C, Y, X, S), samples red, green, blue."""
        unique = np.unique(np.array(frames, np.intp))
        pixels = self._reader.frames.read(unique, self._picks)[np.searchsorted(unique, frames)]
        return pixels[..., ::-1] if self._reader.frames.pixels.sample_order == "BGR" else pixels

    def measure(self, pixels: NDArray[Any]) -> None:
        """Take the limits of some frames for all."""
        # Photographs in color are as bright as they are.
        if self._facts.is_color and self._facts.max_value is not None:
            self.limits = [(0.0, float(self._facts.max_value))] * len(self.channels)
        else:
            self.limits = [contrast_limits(pixels[:, c]) for c in range(len(self.channels))]

    def paint(self, pixels: NDArray[Any]) -> list[NDArray[np.uint8]]:
        """Return the tiles of frames that were read, shape (Y, X, 3): one per frame, or per frame and channel."""
        if self.limits is None:
            self.measure(pixels)
        assert self.limits is not None
        layers = np.stack([stretch(pixels[:, c], one) for c, one in enumerate(self.limits)])
        if self._facts.is_color:
            # There is no rule to blend several channels in color: one tile for each, or their mean.
            rgb = layers.swapaxes(0, 1)
            tiles = list(rgb.reshape(-1, *rgb.shape[2:]) if self.split else rgb.mean(axis=1, dtype=np.float32))
        else:
            layers = layers[..., 0]
            if self.split:
                colors = self.colors
                parts = [blend(layers[[c]], colors[[c]]) for c in range(len(self.channels))]
                tiles = list(np.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:]))
            else:
                tiles = list(blend(layers, self.colors))
        return [to_8bit(tile)[self._rows][:, self._columns] for tile in tiles]


def _nearest(size: int, wanted: int) -> NDArray[np.intp]:
    """Return the index of the pixel that is nearest to each of ``wanted`` evenly spread ones."""
    return ((np.arange(wanted) + 0.5) * size / wanted).astype(np.intp)


def shown_channels(facts: Facts, options: PictureOptions) -> list[int]:
    """Return the channels to paint."""
    if options.channels is not None:
        return facts.channel_indices(options.channels)
    if options.split:
        return list(range(len(facts.channels)))
    return facts.composite_channels


def picture(reader: Reader, facts: Facts, options: PictureOptions) -> Picture:
    """Return a picture of some frames.

    The range of each channel is that of the frames shown, so that they can be compared.
    """
    frames = _frames(reader, options)
    channels = shown_channels(facts, options)
    count = len(frames) * (len(channels) if options.split else 1)
    height, width = reader.layout.height, reader.layout.width
    columns = _columns(count, height, width)
    shape = fitting_shape((height, width), options.size, -(-count // columns), columns)
    painter = Painter(reader, facts, channels, shape, split=options.split)
    tiles = painter.paint(painter.read(frames))
    if options.annotated:
        from nd2._core.views.drawing import annotate

        annotate(tiles, frames, reader, facts, painter)
    return Picture(_grid(tiles, columns))


def fitting_shape(image: tuple[int, int], size: int | None, rows: int = 1, columns: int = 1) -> tuple[int, int]:
    """Return height and width of tiles that make a picture of a size, by default of one that suits."""
    height, width = max(image[0], 1), max(image[1], 1)
    whole = max(height * rows + _GAP * (rows - 1), width * columns + _GAP * (columns - 1))
    if size is None:
        if whole <= _LARGEST:  # small pictures are enlarged by a whole number
            zoom = max(_LEGIBLE // whole, 1)
            return height * zoom, width * zoom
        size = _LARGEST
    scale = min((size - _GAP * (rows - 1)) / (height * rows), (size - _GAP * (columns - 1)) / (width * columns))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def channel_limits(reader: Reader, facts: Facts) -> list[tuple[float, float]]:
    """Return the range of values to display for each channel, from some rows of a few frames.

    These are middle planes, spread over positions and time: one position may be empty.
    """
    if facts.is_color and facts.max_value is not None:
        return [(0.0, float(facts.max_value))] * len(facts.channels)
    channels, height, width, samples = reader.frames.pixels.shape
    rows: range | NDArray[np.intp] = range(height)
    if height > _BANDS * _BAND_ROWS:
        # Bands, not every n-th row: of a remote file, each is one request.
        starts = np.linspace(0, height - _BAND_ROWS, _BANDS).astype(np.intp)
        rows = (starts[:, None] + np.arange(_BAND_ROWS)).reshape(-1)
    step = max(-(-width // _SAMPLE_WIDTH), 1)
    picks = (range(channels), rows, range(0, width, step), range(samples))
    sample = reader.frames.read(np.array(_sample_frames(reader, len(rows)), np.intp), picks)
    return [contrast_limits(sample[:, c]) for c in range(channels)]


def _sample_frames(reader: Reader, rows: int) -> list[int]:
    """Return the middle planes of a few positions and time points; any frame if all these are missing."""
    loops, pixels = reader.layout.loops, reader.frames.pixels
    nbytes = pixels.row_bytes * rows if pixels.codec == "raw" else pixels.frame_bytes
    count = min(max((n for name, n in loops if name[0] != "Z"), default=1), _SAMPLES)
    count = max(min(count, _SAMPLE_BYTES // max(nbytes, 1)), 1)
    parts = [k / max(count - 1, 1) for k in range(count)]
    frames = {
        reader.layout.grid.frame([n // 2 if name[0] == "Z" else round(part * (n - 1)) for name, n in loops])
        for part in parts
    }
    present = reader.frames.table.present(reader.frame_count)
    found = sorted(frame for frame in frames if frame < len(present) and present[frame])
    return found or _frames(reader, PictureOptions(tiles=1))


def _frames(reader: Reader, options: PictureOptions) -> list[int]:
    count = reader.frame_count
    if options.frames is not None:
        for frame in options.frames:
            if not 0 <= frame < count:
                raise errors.frame_range(frame, count, path=reader.source.url)
        return list(options.frames)
    present = np.flatnonzero(reader.frames.table.present(count))
    if options.tiles == 1:
        loops = reader.layout.loops
        middle = reader.layout.grid.frame([n // 2 if name[0] == "Z" else 0 for name, n in loops])
        if middle in present:
            return [middle]
    if not len(present):
        present = np.arange(min(count, 1))
    places = np.linspace(0, len(present) - 1, min(options.tiles, len(present))).round().astype(int)
    return [int(present[place]) for place in np.unique(places)]


def _columns(tiles: int, height: int, width: int) -> int:
    """Return how many tiles a row has, so that the picture is about as high as it is wide."""
    return min(max(round(math.sqrt(tiles * max(height, 1) / max(width, 1))), 1), tiles)


def _grid(tiles: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    height, width, _ = tiles[0].shape
    rows = -(-len(tiles) // columns)
    shape = (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3)
    out = np.full(shape, 48, np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        y, x = row * (height + _GAP), column * (width + _GAP)
        out[y : y + height, x : x + width] = tile
    return out


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode a picture, shape (height, width, 3), as PNG."""
    height, width, _ = image.shape
    rows = np.zeros((height, 1 + width * 3), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = image.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6))
        + chunk(b"IEND", b"")
    )
