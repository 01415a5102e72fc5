"""The commands that print what is in files: ``info`` and ``events``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from nd2._core.cli.command import Command, arguments, files_and_dest, format_option, run_tasks, terminal_width

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from nd2._core.batch import Task
    from nd2._core.file import ND2File
    from nd2._core.readers import Reader
    from nd2._core.views.facts import Facts

_INDENT = " " * 11
_UNKNOWN = "unknown"


def _voxel(_: Reader, facts: Facts) -> list[str]:
    if facts.pixel_size is None:
        return [_UNKNOWN]
    return [" ".join(f"{size:.6g}" for size in (*facts.pixel_size, facts.z_step) if size is not None)]


def _ome(reader: Reader, facts: Facts) -> list[str]:
    from nd2._core.export.ome import ome_xml

    return [ome_xml(reader, facts, include_unstructured=False, tiff_file_name=None)]


_FIELDS: dict[str, tuple[str, Callable[[Reader, Facts], list[str]]]] = {
    "shape": ("print the size of each axis", lambda reader, _: [" ".join(map(str, reader.layout.sizes.values()))]),
    "axes": ("print the letters of the axes", lambda reader, _: ["".join(reader.layout.sizes)]),
    "dtype": ("print the data type", lambda reader, _: [reader.dtype.name]),
    "voxel": ("print the voxel size in micrometers (x, y and z)", _voxel),
    "channels": ("print the channel names, one per line", lambda _, facts: [c.name for c in facts.channels]),
    "positions": (
        "print the position names, one per line",
        lambda _, facts: [name or _UNKNOWN for name in facts.position_names],
    ),
    "frames": ("print the number of frames", lambda reader, _: [str(reader.layout.frame_count)]),
    "start": (
        "print the start of the acquisition (UTC)",
        lambda _, facts: [f"{facts.start:%Y-%m-%dT%H:%M:%SZ}" if facts.start else _UNKNOWN],
    ),
    "ome": ("print the metadata as OME-XML", _ome),
}
"""Options of ``nd2 info`` that print one field: help, and what to print."""


def _info(options: argparse.Namespace) -> int:
    from nd2._core.batch import Task, run_batch
    from nd2._core.io.listing import expand
    from nd2._core.open import open_reader
    from nd2._core.views.facts import Facts

    paths = [path for file in options.files for path in expand(file, options.storage_options)]
    found: list[Any] = []

    def show(task: Task) -> None:
        with open_reader(task.source, storage_options=options.storage_options) as reader:
            if options.field:
                lines = _FIELDS[options.field][1](reader, Facts(reader))
                if len(paths) > 1 and options.field != "ome":
                    lines = [f"{task.source}: {line}" for line in lines]
                print("\n".join(lines))
                return
            from nd2._core.views.summary import as_text, summary

            facts = summary(reader, Facts(reader))
        if not options.json:
            print(*([""] if found else []), *_wrap(as_text(facts)), sep="\n")
        found.append(facts)

    status = run_batch(options.command, [Task(path, "") for path in paths], show)
    if options.json and found:
        print(json.dumps(found if len(paths) > 1 else found[0], indent=2))
    return status


def _wrap(lines: Iterable[str]) -> list[str]:
    """Fit lines into the terminal."""
    width = terminal_width()
    if width is None:
        return list(lines)
    from textwrap import TextWrapper

    columns = max(width, 2 * len(_INDENT))
    wrapper = TextWrapper(columns, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False)
    return [wrapper.fill(line) for line in lines]


def _configure_info(parser: argparse.ArgumentParser) -> None:
    arguments("files")(parser)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--json", action="store_true", help="print everything as JSON")
    for name, (text, _) in _FIELDS.items():
        group.add_argument(f"--{name}", dest="field", action="store_const", const=name, help=text)


def _events(options: argparse.Namespace) -> int:
    from nd2._core.batch import second_is_dest
    from nd2._core.catalog import FORMATS
    from nd2._core.file import ND2File
    from nd2._core.io.destination import SUFFIXES, guess_format, resolve
    from nd2._core.io.listing import expand

    if options.output is None and second_is_dest(options.files, ".csv"):
        *options.files, options.output = options.files
    prints = options.output is None and options.out_dir is None
    if prints and options.format is None and terminal_width() is not None:
        form = "table"
    else:
        form = options.format or guess_format(options.output or "", FORMATS)
    if form == "table" and not prints:
        raise ValueError("a table is printed only; files are CSV, JSON or Parquet")
    if prints and form == "parquet":
        raise ValueError("Parquet is not text; give an output file")
    if prints and sum(len(expand(file, options.storage_options)) for file in options.files) > 1:
        raise ValueError("give --out-dir for the tables of several files")

    def write(task: Task) -> None:
        with ND2File(task.source, storage_options=options.storage_options) as file:
            if form == "table":
                _print_events(file)
            elif prints:
                sys.stdout.write(_table(file, form).decode())
            else:
                dest = resolve(task.dest, FORMATS[form], overwrite=options.overwrite, sources=[file.path])
                dest.write(_table(file, form))
                print(task.dest)

    return run_tasks(options, SUFFIXES[FORMATS.get(form, "CSV")][0], write)


def _print_events(file: ND2File) -> None:
    """Print a table that fits the terminal."""
    import pandas as pd

    from nd2._core.catalog import format_table

    table = pd.DataFrame(file.events(orient="list")).map(_event_text)
    text, left_out = format_table(table, terminal_width() or 0)
    print(text)
    if left_out:
        sys.stderr.write(f"nd2 events: not shown: {', '.join(left_out)}; --format csv shows all\n")


def _event_text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if value == value else ""
    return str(value)


def _table(file: ND2File, form: str) -> bytes:
    """Return the table of recorded data in a format."""
    if form == "json":
        from nd2._core.views.jsonable import plain

        return json.dumps(plain(file.events(orient="records")), indent=1).encode() + b"\n"
    import pandas as pd

    from nd2._core.catalog import encode

    return encode(pd.DataFrame(file.events(orient="list")), form)


INFO = Command(
    "show the contents of files",
    "nd2 info cells.nd2\n"
    "nd2 info --json cells.nd2\n"
    "nd2 info --voxel 'data/*.nd2'\n"
    "nd2 info s3://bucket/cells.nd2 --storage-option anon=true",
    _configure_info,
    _info,
)


EVENTS = Command(
    "print the data recorded with each frame",
    "nd2 events cells.nd2\nnd2 events cells.nd2 events.parquet\nnd2 events 'data/*.nd2' --out-dir tables",
    arguments(
        *files_and_dest("by default the standard output"),
        format_option(["csv", "json", "parquet", "table"], "table on a terminal, and csv"),
        "--overwrite",
    ),
    _events,
)
