"""Animations of a time lapse or a stack: MP4 through ffmpeg, GIF and APNG through Pillow."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.values import record
from nd2._core.views.picture import Painter, PictureOptions, fitting_shape, shown_channels

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


@record
class AnimationOptions:
    """Options of an animation.

    Attributes
    ----------
    axis : str, optional
        The loop to run through; by default time, or else the first loop of several steps that is
        not one of positions.
    size : int, optional
        Longer side in pixels; as for pictures.
    channels : sequence of int or str, optional
        As for pictures.
    """

    axis: str | None = None
    fps: float = 10.0
    size: int | None = None
    channels: Sequence[int | str] | None = None
    annotated: bool = True

    def __post_init__(self) -> None:
        if not self.fps > 0:
            raise ValueError("the number of frames per second must be above 0")


def write_animation(reader: Reader, facts: Facts, path: Path, form: str, options: AnimationOptions) -> None:
    """Write the frames along one loop, with the same limits; of other loops the first, of stacks the middle."""
    frames = _frames(reader, options.axis)
    how = PictureOptions(size=options.size, channels=options.channels)
    height, width = fitting_shape((reader.layout.height, reader.layout.width), options.size)
    if form == "MP4":  # the codec takes even numbers only
        height, width = height + height % 2, width + width % 2
    painter = Painter(reader, facts, shown_channels(facts, how), (height, width))
    spread = np.linspace(0, len(frames) - 1, min(len(frames), _SAMPLES)).round().astype(int)
    sample = painter.read([frames[i] for i in np.unique(spread)])
    painter.measure(sample)

    def tiles() -> Iterator[NDArray[np.uint8]]:
        for first in range(0, len(frames), _BLOCK):
            part = frames[first : first + _BLOCK]
            for frame, tile in zip(part, painter.paint(painter.read(part)), strict=True):
                if options.annotated:
                    from nd2._core.views.drawing import annotate

                    annotate([tile], [frame], reader, facts, painter)
                yield tile

    if form == "MP4":
        with _ffmpeg(path, options.fps, (height, width)) as pipe:
            for tile in tiles():
                pipe.write(np.ascontiguousarray(tile).data)
        return
    from nd2._core.views.drawing import save_frames

    save_frames(tiles(), path, form, options.fps, np.concatenate(painter.paint(sample)))


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
    fixed = [count // 2 if name[0] == "Z" else 0 for name, count in counts.items()]
    moved = list(counts).index(axis)
    return [int(reader.layout.grid.frame([*fixed[:moved], step, *fixed[moved + 1 :]])) for step in range(counts[axis])]


@contextmanager
def _ffmpeg(path: Path, fps: float, shape: tuple[int, int]) -> Iterator[Any]:
    """Yield a pipe for frames that ffmpeg encodes; raise ``OSError`` with its message if it fails."""
    import subprocess

    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError as error:
        raise errors.missing_package("imageio-ffmpeg", "animate", "to write MP4") from error
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
