"""Animations of a time lapse or a stack: MP4 through ffmpeg, GIF and APNG through Pillow."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.views.picture import Painter, annotate, fitting_shape, middle_steps, pillow, shown_channels, spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nd2._core.readers import Reader
    from nd2._core.views.facts import Facts

_SAMPLES = 16
"""Frames that decide which values are black and full color."""
_BLOCK = 8
"""Frames that are read at once."""


def write_animation(
    reader: Reader,
    facts: Facts,
    path: Path,
    form: str,
    *,
    axis: str | None = None,
    fps: float = 10.0,
    size: int | None = None,
    channels: Sequence[int | str] | None = None,
    annotated: bool = True,
) -> None:
    """Write the frames along one loop, with the same limits; of other loops the first, of stacks the middle.

    The default loop is time, or else the first one of several steps that is not one of positions.
    """
    if not fps > 0:
        raise ValueError("the number of frames per second must be above 0")
    frames = _frames(reader, axis)
    height, width = fitting_shape((reader.layout.height, reader.layout.width), size)
    if form == "MP4":  # the codec takes even numbers only
        height, width = height + height % 2, width + width % 2
    painter = Painter(reader, facts, shown_channels(facts, channels), (height, width))
    sample = painter.read(spread(frames, _SAMPLES))
    painter.measure(sample)

    def tiles() -> Iterator[NDArray[np.uint8]]:
        for first in range(0, len(frames), _BLOCK):
            part = frames[first : first + _BLOCK]
            for frame, tile in zip(part, painter.paint(painter.read(part)), strict=True):
                if annotated:
                    annotate([tile], [frame], painter)
                yield tile

    if form == "MP4":
        with _ffmpeg(path, fps, (height, width)) as pipe:
            for tile in tiles():
                pipe.write(np.ascontiguousarray(tile).data)
        return
    image_type = pillow().Image
    images = [image_type.fromarray(tile) for tile in tiles()]
    options: dict[str, Any] = {"save_all": True, "duration": 1000 / fps, "loop": 0}
    if form == "GIF":  # 256 colors: those of several frames, and white for names
        colors = np.concatenate(painter.paint(sample))
        white = np.full((max(len(colors) // 100, 1), *colors.shape[1:]), 255, np.uint8)
        palette = image_type.fromarray(np.concatenate([colors, white])).quantize(256)
        images = [image.quantize(palette=palette, dither=0) for image in images]
    images[0].save(path, "GIF" if form == "GIF" else "PNG", append_images=images[1:], **options)


def _frames(reader: Reader, axis: str | None) -> list[int]:
    """Return the sequence index of each step."""
    counts = dict(reader.layout.loops)
    if axis is None:
        moving = [name for name, count in counts.items() if count > 1 and name[0] != "P"]
        axis = next((name for name in moving if name[0] == "T"), moving[0] if moving else None)
    if axis is None or counts.get(axis, 1) < 2:
        long = [name for name, count in counts.items() if count > 1]
        if axis is not None and long:
            raise errors.no_such("loop", axis, long, path=reader.source.url)
        raise ValueError(f"there is nothing to animate: neither time points nor planes (file {reader.source.url!r})")
    fixed = middle_steps(reader.layout.loops)
    moved = list(counts).index(axis)
    return [int(reader.layout.grid.frame([*fixed[:moved], step, *fixed[moved + 1 :]])) for step in range(counts[axis])]


@contextmanager
def _ffmpeg(path: Path, fps: float, shape: tuple[int, int]) -> Iterator[Any]:
    """Yield a pipe for frames that ffmpeg encodes; raise ``OSError`` with its message if it fails."""
    import subprocess

    with errors.requirement("imageio-ffmpeg", "animate", "to write MP4"):
        from imageio_ffmpeg import get_ffmpeg_exe
    height, width = shape
    source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {fps} -i -"
    # The name of an unfinished file does not have the suffix of the format.
    output = "-an -c:v libx264 -pix_fmt yuv420p -crf 20 -movflags +faststart -f mp4"
    command = [get_ffmpeg_exe(), "-y", "-v", "error", *source.split(), *output.split(), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process.stdin
        except BrokenPipeError:
            pass  # raised below, with the reason
        except BaseException:
            process.kill()
            raise
        _, message = process.communicate()
    if process.returncode:
        raise OSError(f"ffmpeg failed: {message.decode(errors='replace').strip()}")
