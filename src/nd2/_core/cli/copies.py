"""The commands that write ND2 files: ``rescue`` and ``crop``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nd2._core.cli.command import (
    OVERWRITE,
    POSITION,
    SEVERAL,
    Command,
    arguments,
    convert,
    files_and_dest,
    index_or_name,
    pick,
    run_tasks,
    value,
)

if TYPE_CHECKING:
    import argparse

    from nd2._core.batch import Task
    from nd2._core.file import ND2File

_AXES = "TZPYX"


def _overwrites(options: argparse.Namespace, dest: str) -> bool:
    """Return whether an output may replace an ND2 file: only the one that ``--output`` names.

    A shell may expand a pattern to two files, and a folder may hold raw data of the same names.
    """
    from nd2._core.io.urls import local_path

    if not options.overwrite or options.output is not None:
        return bool(options.overwrite)
    if os.path.lexists(local_path(dest)):
        raise ValueError(f"to replace {dest!r}, name it with --output")
    return False


def _rescue(options: argparse.Namespace) -> int:
    from nd2._core.write.rescue import rescue_file

    def rescue(task: Task) -> None:
        report = rescue_file(
            task.source, task.dest, storage_options=options.storage_options, overwrite=_overwrites(options, task.dest)
        )
        print(f"{task.dest}: {report}")

    return run_tasks(options, ".nd2", rescue, dest=options.output)


def _crop(options: argparse.Namespace) -> int:
    picks = {name: getattr(options, name) for name in _AXES}
    picks = {name: pick for name, pick in picks.items() if pick is not None}

    if options.channel:
        picks["C"] = options.channel

    def crop(file: ND2File, dest: str) -> None:
        file.write_nd2(dest, options.position, overwrite=_overwrites(options, dest), **picks)

    return convert(options, ".nd2", crop, dest=options.output)


RESCUE = Command(
    "copy what is left of a damaged file to a new file that any reader opens",
    "nd2 rescue broken.nd2 repaired.nd2\nnd2 rescue 'broken/*.nd2' --out-dir repaired",
    arguments(*files_and_dest("an ND2 file"), OVERWRITE),
    _rescue,
)


CROP = Command(
    "write a part of a file as a new ND2 file",
    "nd2 crop cells.nd2 start.nd2 -T 0:100 -Z 3\n"
    "nd2 crop cells.nd2 corner.nd2 -Y 0:512 -X 0:512 --channel GFP\n"
    "nd2 crop plate.nd2 well.nd2 --position B02\n"
    "nd2 crop 'data/*.nd2' --out-dir first -T 0",
    arguments(
        *files_and_dest("an ND2 file"),
        value("-T", "PICK", "time points: 3, 0:100, ::2 or 0,2,5", type=pick),
        value("-Z", "PICK", "planes, in the same way", type=pick),
        value("-P", "PICK", "positions, in the same way", type=pick),
        POSITION,
        value("-Y", "PICK", "rows: 100:400, :512", type=pick),
        value("-X", "PICK", "columns, in the same way", type=pick),
        value("--channel -c", "C", "index or name of a channel; repeatable", type=index_or_name, **SEVERAL),
        OVERWRITE,
    ),
    _crop,
)
