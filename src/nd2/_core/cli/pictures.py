"""The command that makes pictures: ``show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nd2._core.cli.command import (
    FILE,
    OVERWRITE,
    SEVERAL,
    Command,
    arguments,
    flag,
    index_or_name,
    open_file,
    stem,
    value,
)
from nd2._core.io.destination import resolve

if TYPE_CHECKING:
    import argparse


def _show(options: argparse.Namespace) -> None:
    dest = options.output or f"{stem(options)}.png"
    with open_file(options) as file:
        target = resolve(dest, "PNG", overwrite=options.overwrite, sources=[file.path])
        picture = file.thumbnail(
            options.frame,
            tiles=options.tiles,
            channels=options.channel,
            split=options.split,
            size=options.size,
        )
        target.write(picture.png())
    print(dest)


SHOW = Command(
    "make a picture (PNG) of some frames",
    "nd2 show cells.nd2\nnd2 show cells.nd2 --frame 0 --split -o first.png",
    arguments(
        FILE,
        value("--output -o", "PATH", "PNG file (FILE.png in this folder)"),
        value(
            "--frame -n",
            "N",
            "sequence index of a frame; may be repeated",
            type=int,
            **SEVERAL,
        ),
        value("--tiles -t", "N", "frames at most (%(default)s)", type=int, default=16),
        value(
            "--channel -c",
            "C",
            "index or name of a channel; may be repeated",
            type=index_or_name,
            **SEVERAL,
        ),
        flag("--split", "each channel in a tile of its own"),
        value("--size", "N", "pixels of the longer side (%(default)s)", type=int, default=1024),
        OVERWRITE,
    ),
    _show,
)
