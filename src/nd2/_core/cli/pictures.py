"""The command that makes pictures and animations: ``show``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.cli.command import (
    OVERWRITE,
    SEVERAL,
    Command,
    arguments,
    files_and_dest,
    flag,
    index_or_name,
    number,
    run_tasks,
    value,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from nd2._core.batch import Task
    from nd2._core.io.destination import Destination
    from nd2._core.readers import Reader
    from nd2._core.views.facts import Facts

_PICTURES = ("PNG", "JPEG", "TIFF", "PDF")
_ANIMATIONS = ("MP4", "GIF", "APNG")


def _show(options: argparse.Namespace) -> int:
    from nd2._core.open import open_reader
    from nd2._core.views.facts import Facts

    formats = _ANIMATIONS if options.animate else _PICTURES
    work = _animate if options.animate else _picture
    annotated = not options.plain and _draws()

    def one(task: Task) -> None:
        with open_reader(task.source, storage_options=options.storage_options) as reader:
            target = _target(task, formats, overwrite=options.overwrite)
            work(reader, Facts(reader), target, options, annotated)
        print(task.dest)

    return run_tasks(options, ".mp4" if options.animate else ".png", one, dest=options.output)


def _target(task: Task, formats: Sequence[str], *, overwrite: bool) -> Destination:
    """Return the destination, in the format of its suffix."""
    from nd2._core.io.destination import SUFFIXES, guess_format, resolve

    suffix = os.path.splitext(task.dest.lower())[1]
    known = [one for form in formats for one in SUFFIXES[form][:2]]
    if suffix and suffix not in known:
        raise ValueError(f"{task.dest!r} has none of the suffixes {', '.join(known)}")
    form = guess_format(task.dest, {form: form for form in formats})
    return resolve(task.dest, form, overwrite=overwrite, sources=[task.source])


def _draws() -> bool:
    """Return whether Pillow is installed; say what is missing without it."""
    from importlib.util import find_spec

    if find_spec("PIL") is not None:
        return True
    lacking = errors.missing_package("Pillow", "plot", "for scale bar and names")
    sys.stderr.write(f"nd2 show: {lacking}\n")
    return False


def _picture(reader: Reader, facts: Facts, target: Destination, options: Any, annotated: bool) -> None:
    from nd2._core.views.picture import PictureOptions, picture

    how = PictureOptions(
        options.frame, options.tiles, options.split, options.size, options.channel, annotated=annotated
    )
    target.write(picture(reader, facts, how).encode(target.form))


def _animate(reader: Reader, facts: Facts, target: Destination, options: Any, annotated: bool) -> None:
    from nd2._core.views.animation import AnimationOptions, write_animation

    how = AnimationOptions(options.axis, options.fps, options.size, options.channel, annotated=annotated)
    with target.file() as path:
        write_animation(reader, facts, path, target.form, how)


SHOW = Command(
    "make a picture of some frames, or an animation",
    "nd2 show cells.nd2\n"
    "nd2 show cells.nd2 first.jpg --frame 0 --split\n"
    "nd2 show cells.nd2 movie.mp4 --animate --fps 12\n"
    "nd2 show 'data/*.nd2' --out-dir pictures",
    arguments(
        *files_and_dest("PNG, JPEG, TIFF or PDF by its suffix, by default FILE.png in this folder"),
        value("--frame -n", "N", "sequence index of a frame; repeatable", type=number(0), **SEVERAL),
        value("--tiles -t", "N", "maximum number of frames (%(default)s)", type=number(1), default=16),
        value(
            "--channel -c",
            "C",
            "index or name of a channel; repeatable (all but those in bright field)",
            type=index_or_name,
            **SEVERAL,
        ),
        flag("--split", "show channels side by side instead of as a composite"),
        value("--size", "N", "length of the longer side in pixels (up to 1024)", type=number(1)),
        flag("--plain", "draw no scale bar and no names"),
        flag("--animate", "write an animation of the time points or planes: MP4, GIF or APNG"),
        value("--axis", "LOOP", "the loop to animate (T, otherwise Z)"),
        value("--fps", "N", "frames per second (%(default)s)", type=float, default=10.0),
        OVERWRITE,
    ),
    _show,
)
