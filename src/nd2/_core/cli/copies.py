"""The commands that write ND2 files: ``rescue`` and ``crop``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nd2._core.cli.command import (
    FILE,
    ND2_DEST,
    OVERWRITE,
    Command,
    arguments,
    open_file,
    pick,
    value,
)

if TYPE_CHECKING:
    import argparse


def _rescue(options: argparse.Namespace) -> None:
    from nd2._core.write.rescue import rescue_file

    report = rescue_file(
        options.file,
        options.dest,
        storage_options=options.storage_options,
        overwrite=options.overwrite,
    )
    print(report)


def _crop(options: argparse.Namespace) -> None:
    picks = {name: getattr(options, name) for name in "TZP"}
    with open_file(options) as file:
        file.write_nd2(
            options.dest,
            options.position,
            overwrite=options.overwrite,
            **{name: value for name, value in picks.items() if value is not None},
        )
    print(options.dest)


RESCUE = Command(
    "write what is left of a damaged file as a sound one",
    "nd2 rescue broken.nd2 whole.nd2",
    arguments(FILE, ND2_DEST, OVERWRITE),
    _rescue,
)


CROP = Command(
    "write some frames as an ND2 file of their own",
    "nd2 crop cells.nd2 start.nd2 -T 0:100 -Z 3\nnd2 crop plate.nd2 well.nd2 --position B02",
    arguments(
        FILE,
        ND2_DEST,
        value("-T", "PICK", "time points: 3, 0:100, ::2 or 0,2,5", type=pick),
        value("-Z", "PICK", "planes, in the same way", type=pick),
        value("-P", "PICK", "positions, in the same way", type=pick),
        value("--position", "NAME", "name of the only position"),
        OVERWRITE,
    ),
    _crop,
)
