"""What Pillow draws: scale bars and names on tiles; and formats other than PNG."""

from __future__ import annotations

import functools
import io
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.views.picture import scale_bar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from nd2._core.readers import Reader
    from nd2._core.views.facts import Facts
    from nd2._core.views.picture import Painter

_MIN_SIDE = 64
"""Shorter side in pixels below which a tile has no room for text."""


def pillow() -> Any:
    """Return the modules of Pillow that draw: images, drawings, fonts."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise errors.missing_package("Pillow", "plot", "to draw") from error
    return Image, ImageDraw, ImageFont


def encode(pixels: NDArray[np.uint8], form: str) -> bytes:
    """Encode a picture, shape (height, width, 3), in a format of Pillow."""
    image_module, _, _ = pillow()
    out = io.BytesIO()
    known: dict[str, dict[str, Any]] = {"JPEG": {"quality": 90}, "TIFF": {"compression": "tiff_lzw"}}
    image_module.fromarray(pixels).save(out, form, **known.get(form, {}))
    return out.getvalue()


def save_frames(
    tiles: Iterable[NDArray[np.uint8]], path: Path, form: str, fps: float, sample: NDArray[np.uint8]
) -> None:
    """Write an animation, GIF or APNG, of frames of shape (height, width, 3).

    GIF has 256 colors: those of ``sample``, a picture of several frames, and white for names.
    """
    image_module, _, _ = pillow()
    images = [image_module.fromarray(tile) for tile in tiles]
    options: dict[str, Any] = {"save_all": True, "duration": 1000 / fps, "loop": 0}
    if form == "GIF":
        white = np.full((max(len(sample) // 100, 1), *sample.shape[1:]), 255, np.uint8)
        palette = image_module.fromarray(np.concatenate([sample, white])).quantize(256)
        images = [image.quantize(palette=palette, dither=0) for image in images]
    images[0].save(path, "GIF" if form == "GIF" else "PNG", append_images=images[1:], **options)


@functools.cache
def _font(size: int) -> Any:
    """Return a font with Greek letters: that of matplotlib, or of the system, or else Pillow's, which has none."""
    _, _, font_module = pillow()
    places = ["DejaVuSans.ttf", "Arial.ttf"]
    if (found := find_spec("matplotlib")) is not None and found.origin is not None:
        folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
        places.insert(0, str(folder / "DejaVuSans.ttf"))
    for place in places:
        with suppress(OSError):
            return font_module.truetype(place, size)
    return font_module.load_default(size)


def annotate(
    tiles: list[NDArray[np.uint8]], frames: Sequence[int], reader: Reader, facts: Facts, painter: Painter
) -> None:
    """Draw on tiles in place: loop indices, channel names in their colors, and a scale bar on the first tile."""
    height, width, _ = tiles[0].shape
    if min(height, width) < _MIN_SIDE:
        return
    image_module, draw_module, _ = pillow()
    size = min(max(height // 26, 10), 18)
    font = _font(size)
    channels = len(painter.channels) if painter.split else 1
    colors = [tuple(int(part * 255) for part in color) for color in painter.colors]
    names = [facts.channels[c].name for c in painter.channels]
    for number, tile in enumerate(tiles):
        image = image_module.fromarray(tile)
        draw = draw_module.Draw(image)
        frame, channel = divmod(number, channels)
        lines: list[tuple[str, tuple[int, ...]]] = []
        lines.append((frame_text(frames[frame], reader, facts), (255, 255, 255)))
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
            _draw_bar(draw, font, size, (height, width), reader, facts)
        tile[...] = np.asarray(image)


def frame_text(frame: int, reader: Reader, facts: Facts) -> str:
    """Return the place of a frame in the loops as a text; empty for a file of one frame."""
    layout = reader.layout
    if frame >= layout.frame_count:
        return f"frame {frame}" if reader.frame_count > 1 else ""
    parts = []
    for name, index in layout.grid.indices(np.array([frame])).items():
        place = int(index[0])
        if dict(layout.loops)[name] > 1:
            known = facts.position_names if name == facts.position_loop else ()
            parts.append((known[place] if place < len(known) else "") or f"{name} {place}")
    return "  ".join(parts)


def _light(color: tuple[int, ...]) -> tuple[int, ...]:
    """Return a color that can be read on black: with white, of which dark ones need more."""
    red, green, blue = color
    white = 0.5 - (0.3 * red + 0.6 * green + 0.1 * blue) / 255 / 2
    return tuple(round(part + (255 - part) * max(white, 0)) for part in color)


def _text(draw: Any, place: tuple[float, float], text: str, font: Any, color: Any, **how: Any) -> None:
    # Dark around light, so that the text is seen on any picture.
    draw.text(place, text, fill=color, font=font, stroke_width=1, stroke_fill=(0, 0, 0), **how)


def _draw_bar(draw: Any, font: Any, size: int, shape: tuple[int, int], reader: Reader, facts: Facts) -> None:
    if facts.pixel_size is None:
        return
    height, width = shape
    bar = scale_bar(facts.pixel_size[0] * reader.layout.width / width, width)
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
