"""Pictures: composites of channels in their colors, montages of frames, and the names and scale bars on them."""

from __future__ import annotations

import functools
import io
import math
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.views.placement import rgb_picks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
_MIN_SIDE = 64
"""Shorter side in pixels below which a tile has no room for text."""


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
        height, width, _ = self.pixels.shape
        rows = np.zeros((height, 1 + width * 3), np.uint8)  # each row begins with its filter: none
        rows[:, 1:] = self.pixels.reshape(height, -1)
        parts = {
            b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
            b"IDAT": zlib.compress(rows.tobytes(), 6),
            b"IEND": b"",
        }
        chunks = (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in parts.items()
        )
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)

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
        out = io.BytesIO()
        known: dict[str, dict[str, Any]] = {"JPEG": {"quality": 90}, "TIFF": {"compression": "tiff_lzw"}}
        pillow().Image.fromarray(self.pixels).save(out, form, **known.get(form, {}))
        return out.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png()


def stretch(values: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.float32]:
    """Scale values to 0 to 1; values that are not finite become 0."""
    low, high = limits
    data = _finite(values)
    return ((data.clip(low, high) - low) / (high - low)).astype(np.float32)


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
    """Paints frames of a file, all in the same size and with the same limits.

    Every so many rows and columns are read: of files that are not compressed, only these rows.
    """

    def __init__(
        self, reader: Reader, facts: Facts, channels: Sequence[int], shape: tuple[int, int], *, split: bool = False
    ) -> None:
        self.reader, self.facts, self.channels, self.split = reader, facts, channels, split
        layout = reader.layout
        rows, self._rows = np.unique(_nearest(layout.height, shape[0]), return_inverse=True)
        columns, self._columns = np.unique(_nearest(layout.width, shape[1]), return_inverse=True)
        self._picks = (np.array(channels), rows, columns, rgb_picks(reader)[-1])
        self.limits: list[tuple[float, float]] | None = None

    @property
    def colors(self) -> NDArray[np.float64]:
        """Color of each channel, from 0 to 1; white if the file has only one."""
        single = len(self.facts.channels) == 1
        rgb = [_WHITE if single else self.facts.channels[c].rgb for c in self.channels]
        return np.array(rgb) / 255

    def read(self, frames: Sequence[int]) -> NDArray[Any]:
        """Return the visible pixels of frames, shape (n, C, Y, X, S), samples red, green, blue."""
        unique = np.unique(np.array(frames, np.intp))
        return self.reader.frames.read(unique, self._picks)[np.searchsorted(unique, frames)]

    def measure(self, pixels: NDArray[Any]) -> list[tuple[float, float]]:
        """Take the limits of some frames for all, and return those of each channel."""
        count = len(self.channels)
        self.limits = _full_range(self.facts, count) or [contrast_limits(pixels[:, c]) for c in range(count)]
        return self.limits

    def paint(self, pixels: NDArray[Any]) -> list[NDArray[np.uint8]]:
        """Return the tiles of frames that were read, shape (Y, X, 3): one per frame, or per frame and channel."""
        limits = self.measure(pixels) if self.limits is None else self.limits
        layers = np.stack([stretch(pixels[:, c], one) for c, one in enumerate(limits)])
        groups = [slice(c, c + 1) for c in range(len(self.channels))] if self.split else [slice(None)]
        if self.facts.is_color:
            # There is no rule to blend several channels in color: one tile for each, or their mean.
            parts = [layers[group].mean(axis=0, dtype=np.float32) for group in groups]
        else:
            parts = [blend(layers[group, ..., 0], self.colors[group]) for group in groups]
        tiles = (tile for frame in zip(*parts, strict=True) for tile in frame)
        return [to_8bit(tile)[self._rows][:, self._columns] for tile in tiles]


def _full_range(facts: Facts, channels: int) -> list[tuple[float, float]] | None:
    """Return the full range for color images, whose contrast is not adjusted; None for other images."""
    if not facts.is_color or facts.max_value is None:
        return None
    return [(0.0, float(facts.max_value))] * channels


def _nearest(size: int, wanted: int) -> NDArray[np.intp]:
    """Return the index of the pixel that is nearest to each of ``wanted`` evenly spread ones."""
    return ((np.arange(wanted) + 0.5) * size / wanted).astype(np.intp)


def shown_channels(facts: Facts, channels: Sequence[int | str] | None, *, split: bool = False) -> list[int]:
    """Return the channels to paint: by default all, in composites without those in bright field."""
    if channels is not None:
        return facts.channel_indices(channels)
    return list(range(len(facts.channels))) if split else facts.composite_channels


def picture(
    reader: Reader,
    facts: Facts,
    frames: Sequence[int] | None = None,
    tiles: int = 16,
    *,
    split: bool = False,
    size: int | None = None,
    channels: Sequence[int | str] | None = None,
    annotated: bool = False,
) -> Picture:
    """Return a picture of some frames; see ``ND2File.thumbnail``.

    The range of each channel is that of the frames shown, so that they can be compared.
    """
    if tiles < 1 or (size is not None and size < 1):
        raise ValueError("tiles and size must be at least 1")
    for what, items in (("frames", frames), ("channels", channels)):
        if items is not None and len(items) == 0:
            raise ValueError(f"there is nothing to show: {what} is empty")
    frames = _frames(reader, frames, tiles)
    painted = shown_channels(facts, channels, split=split)
    count = len(frames) * (len(painted) if split else 1)
    height, width = reader.layout.height, reader.layout.width
    columns = _columns(count, height, width)
    shape = fitting_shape((height, width), size, -(-count // columns), columns)
    painter = Painter(reader, facts, painted, shape, split=split)
    drawn = painter.paint(painter.read(frames))
    if annotated:
        annotate(drawn, frames, painter)
    return Picture(_grid(drawn, columns))


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
    if (known := _full_range(facts, len(facts.channels))) is not None:
        return known
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
    frames = {reader.layout.grid.frame(middle_steps(loops, part)) for part in parts}
    present = reader.frames.table.present(reader.frame_count)
    found = sorted(frame for frame in frames if frame < len(present) and present[frame])
    return found or _frames(reader, None, 1)


def middle_steps(loops: Iterable[tuple[str, int]], part: float = 0) -> list[int]:
    """Return the step of each loop: in stacks the middle one, in others that after a part of them."""
    return [count // 2 if name[0] == "Z" else round(part * (count - 1)) for name, count in loops]


def spread(frames: Sequence[int] | NDArray[np.intp], count: int) -> list[int]:
    """Return at most so many of some frames, evenly spread."""
    places = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    return [int(frames[place]) for place in np.unique(places)]


def _frames(reader: Reader, frames: Sequence[int] | None, tiles: int) -> list[int]:
    """Return the frames to show; one tile shows the middle plane of the first stack."""
    count = reader.frame_count
    if frames is not None:
        for frame in frames:
            if not 0 <= frame < count:
                raise errors.frame_range(frame, count, path=reader.source.url)
        return list(frames)
    present = np.flatnonzero(reader.frames.table.present(count))
    if tiles == 1:
        middle = reader.layout.grid.frame(middle_steps(reader.layout.loops))
        if middle in present:
            return [middle]
    return spread(present if len(present) else np.arange(min(count, 1)), tiles)


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


def pillow() -> Any:
    """Return Pillow with its modules that draw: ``Image``, ``ImageDraw``, ``ImageFont``."""
    with errors.requirement("Pillow", "plot", "to draw"):
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
    return PIL


@functools.cache
def _font(size: int) -> Any:
    """Return a font with Greek letters: that of matplotlib, or of the system, or else Pillow's, which lacks them."""
    from importlib.util import find_spec

    places = ["DejaVuSans.ttf", "Arial.ttf"]
    if (found := find_spec("matplotlib")) is not None and found.origin is not None:
        folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
        places.insert(0, str(folder / "DejaVuSans.ttf"))
    for place in places:
        with suppress(OSError):
            return pillow().ImageFont.truetype(place, size)
    return pillow().ImageFont.load_default(size)


def annotate(tiles: Sequence[NDArray[np.uint8]], frames: Sequence[int], painter: Painter) -> None:
    """Draw on tiles in place: loop indices, channel names in their colors, and a scale bar on the first tile."""
    height, width, _ = tiles[0].shape
    if min(height, width) < _MIN_SIDE:
        return
    size = min(max(height // 26, 10), 18)
    font = _font(size)
    colors = [tuple(int(part * 255) for part in color) for color in painter.colors]
    names = [painter.facts.channels[c].name for c in painter.channels]
    for number, tile in enumerate(tiles):
        image = pillow().Image.fromarray(tile)
        draw = pillow().ImageDraw.Draw(image)
        frame, channel = divmod(number, len(names) if painter.split else 1)
        lines: list[tuple[str, tuple[int, ...]]] = [(_frame_text(frames[frame], painter), (255, 255, 255))]
        if painter.split:
            lines.append((names[channel], colors[channel]))
        elif number == 0 and len(names) > 1:
            lines += zip(names, colors, strict=True)
        y = size // 3
        for text, color in lines:
            if text and y + size < height:
                _text(draw, (size // 3, y), text, font, _light(color))
                y += size + size // 4
        if number == 0:
            _draw_bar(draw, font, size, (height, width), painter)
        tile[...] = np.asarray(image)


def _frame_text(frame: int, painter: Painter) -> str:
    """Return the place of a frame in the loops as a text; empty for a file of one frame."""
    facts, layout = painter.facts, painter.reader.layout
    if frame >= layout.frame_count:
        return f"frame {frame}" if painter.reader.frame_count > 1 else ""
    parts = []
    for name, index in layout.grid.indices(np.array([frame])).items():
        place = int(index[0])
        if dict(layout.loops)[name] > 1:
            known = facts.position_names if name == "P" else ()
            parts.append((known[place] if place < len(known) else "") or f"{name} {place}")
    return "  ".join(parts)


def _light(color: tuple[int, ...]) -> tuple[int, ...]:
    """Return a color that is legible on black: the darker it is, the more white is mixed in."""
    red, green, blue = color
    white = 0.5 - (0.3 * red + 0.6 * green + 0.1 * blue) / 255 / 2
    return tuple(round(part + (255 - part) * max(white, 0)) for part in color)


def _text(draw: Any, place: tuple[float, float], text: str, font: Any, color: Any, **how: Any) -> None:
    # Dark around light, so that the text is seen on any picture.
    draw.text(place, text, fill=color, font=font, stroke_width=1, stroke_fill=(0, 0, 0), **how)


def _draw_bar(draw: Any, font: Any, size: int, shape: tuple[int, int], painter: Painter) -> None:
    height, width = shape
    pixel = painter.facts.pixel_size
    bar = None if pixel is None else scale_bar(pixel[0] * painter.reader.layout.width / width, width)
    if bar is None:
        return
    length, text = bar
    right, bottom = width - size // 2, height - size // 2
    thick = max(size // 5, 2)
    box = (right - round(length), bottom - thick, right, bottom)
    draw.rectangle((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), fill=(0, 0, 0))
    draw.rectangle(box, fill=(255, 255, 255))
    half = font.getlength(text) / 2
    middle = min((box[0] + box[2]) / 2, width - half - 2)
    _text(draw, (middle, box[1] - size // 4), text, font, (255, 255, 255), anchor="mb")
