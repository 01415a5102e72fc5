"""The command that makes pictures: ``show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nd2._core.cli.command import (
    OUT_DIR,
    OVERWRITE,
    SEVERAL,
    Command,
    arguments,
    convert,
    files_and_dest,
    flag,
    index_or_name,
    number,
    value,
)

if TYPE_CHECKING:
    import argparse

    from nd2._core.file import ND2File


def _show(options: argparse.Namespace) -> int:
    from nd2._core.io.destination import resolve

    def write(file: ND2File, dest: str) -> None:
        target = resolve(dest, "PNG", overwrite=options.overwrite, sources=[file.path])
        picture = file.thumbnail(
            options.frame,
            tiles=options.tiles,
            channels=options.channel,
            split=options.split,
            size=options.size,
        )
        target.write(picture.png())

    return convert(options, ".png", write, dest=options.output)


SHOW = Command(
    "make a picture (PNG) of some frames",
    "nd2 show cells.nd2\nnd2 show cells.nd2 first.png --frame 0 --split\nnd2 show 'data/*.nd2' --out-dir pictures",
    arguments(
        files_and_dest("a PNG file, by default FILE.png in this folder"),
        value("--output -o", "PATH", "the output of the only file"),
        OUT_DIR,
        value(
            "--frame -n",
            "N",
            "sequence index of a frame; repeatable",
            type=number(0),
            **SEVERAL,
        ),
        value(
            "--tiles -t", "N", "maximum number of frames (%(default)s)", type=number(1), default=16
        ),
        value(
            "--channel -c",
            "C",
            "index or name of a channel; repeatable",
            type=index_or_name,
            **SEVERAL,
        ),
        flag("--split", "show channels side by side instead of as a composite"),
        value(
            "--size",
            "N",
            "length of the longer side in pixels (%(default)s)",
            type=number(1),
            default=1024,
        ),
        OVERWRITE,
    ),
    _show,
)
