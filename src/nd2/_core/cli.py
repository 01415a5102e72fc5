"""The command ``nd2``: what is in a file, and what can be made of it.

Exit status: 0, 1 where a file could not be read or written, 2 for wrong options, 130 when it is interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.command import GROUP, Command, parse_storage_options
from nd2._core.file import ND2File
from nd2._core.io.urls import file_name, is_url
from nd2._core.open import open_reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nd2._core.readers import Reader


def _file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="path or URL of an ND2 file")


def _opened(options: argparse.Namespace) -> ND2File:
    return ND2File(options.file, storage_options=options.storage_options or None)


def _reader(options: argparse.Namespace) -> Reader:
    return open_reader(options.file, storage_options=options.storage_options or None)


def _stem(options: argparse.Namespace) -> str:
    return Path(file_name(options.file)).stem


def _progress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", "-q", action="store_true", help="show no progress bar")


def _shows_progress(options: argparse.Namespace) -> bool:
    return not options.quiet and sys.stderr.isatty()


def _overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def _refuse_existing(dest: str, overwrite: bool) -> None:
    if not overwrite and not is_url(dest) and os.path.lexists(dest):
        raise errors.exists(dest)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of numbers with commas between"
        ) from None


# ------------------------------------------------------------------------------------------------------------- info


def _configure_info(parser: argparse.ArgumentParser) -> None:
    _file(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _info(options: argparse.Namespace) -> int:
    from nd2._core.views.facts import Facts
    from nd2._core.views.summary import as_text, summary

    with _reader(options) as reader:
        found = summary(reader, Facts(reader))
    print(json.dumps(found, indent=2) if options.json else "\n".join(as_text(found)))
    return 0


# ------------------------------------------------------------------------------------------------------------ index


def _configure_index(parser: argparse.ArgumentParser) -> None:
    from nd2._core.catalog import add_arguments

    add_arguments(parser)


def _index(options: argparse.Namespace) -> int:
    from nd2._core.catalog import run

    try:
        return run(options, options.storage_options or None)
    except ValueError as error:  # bad files are rows: only an option can be wrong
        print(f"nd2 index: {error}", file=sys.stderr)
        return 2


# ----------------------------------------------------------------------------------------------------------- events


def _configure_events(parser: argparse.ArgumentParser) -> None:
    _file(parser)
    parser.add_argument("--output", "-o", metavar="PATH", help="file to write (standard output)")
    parser.add_argument(
        "--format",
        "-f",
        choices=["csv", "json", "parquet"],
        help="by default what the name of the output says, else csv",
    )
    _overwrite(parser)


def _events(options: argparse.Namespace) -> int:
    suffix = Path(options.output or "").suffix[1:]
    form = options.format or (suffix if suffix in ("json", "parquet") else "csv")
    if form == "parquet" and not options.output:
        raise ValueError("Parquet is no text: say where to write it with --output")
    with _opened(options) as file:
        if form == "json":
            from nd2._core.views.jsonable import plain

            data = json.dumps(plain(file.events(orient="records")), indent=1).encode() + b"\n"
        else:
            import pandas as pd

            table = pd.DataFrame(file.events(orient="list"))
            if form == "csv":
                data = table.to_csv(index=False).encode()
            else:
                data = table.to_parquet(index=False)
    if not options.output:
        sys.stdout.write(data.decode())
        return 0
    _write(options.output, data, options.overwrite)
    return 0


def _write(dest: str, data: bytes, overwrite: bool) -> None:
    from nd2._core.io.destination import atomic_path

    _refuse_existing(dest, overwrite)
    with atomic_path(Path(dest)) as partial:
        partial.write_bytes(data)


# ------------------------------------------------------------------------------------------------------------- tiff


def _configure_tiff(parser: argparse.ArgumentParser) -> None:
    _file(parser)
    parser.add_argument(
        "dest", nargs="?", metavar="DEST", help="TIFF file (FILE.ome.tif in this folder)"
    )
    parser.add_argument(
        "--no-metadata",
        action="store_true",
        help="leave the chunks of metadata out of the OME-XML",
    )
    _overwrite(parser)
    _progress(parser)


def _tiff(options: argparse.Namespace) -> int:
    dest = options.dest or f"{_stem(options)}.ome.tif"
    _refuse_existing(dest, options.overwrite)
    with _opened(options) as file:
        file.write_tiff(
            dest,
            include_unstructured_metadata=not options.no_metadata,
            progress=_shows_progress(options),
        )
    print(dest)
    return 0


# ------------------------------------------------------------------------------------------------------------- zarr


def _levels(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _index_or_name(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text


def _configure_zarr(parser: argparse.ArgumentParser) -> None:
    _file(parser)
    parser.add_argument(
        "dest", nargs="?", metavar="DEST", help="folder or URL (FILE.ome.zarr in this folder)"
    )
    parser.add_argument("--chunks", type=_numbers, metavar="N,N,...", help="shape of a chunk")
    parser.add_argument("--shards", type=_numbers, metavar="N,N,...", help="shape of a shard")
    parser.add_argument(
        "--levels", type=_levels, default=1, metavar="N", help="levels of the pyramid, or auto"
    )
    parser.add_argument(
        "--position",
        "-p",
        type=_index_or_name,
        metavar="P",
        help="the only position: index or name",
    )
    parser.add_argument(
        "--backend", choices=["auto", "zarr", "tensorstore"], default="auto", help="(%(default)s)"
    )
    parser.add_argument("--series", action="store_true", help="a series, also for one position")
    parser.add_argument("--no-labels", action="store_true", help="leave binary layers out")
    parser.add_argument("--no-metadata", action="store_true", help="leave chunks of metadata out")
    parser.add_argument(
        "--dest-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option for the file system of DEST",
    )
    _overwrite(parser)
    _progress(parser)


def _zarr(options: argparse.Namespace) -> int:
    with _opened(options) as file:
        dest = file.write_ome_zarr(
            options.dest or f"{_stem(options)}.ome.zarr",
            chunk_shape=options.chunks or "auto",
            shard_shape=options.shards,
            backend=options.backend,
            progress=_shows_progress(options),
            position=options.position,
            force_series=options.series,
            include_all_metadata=not options.no_metadata,
            include_labels=not options.no_labels,
            overwrite=options.overwrite,
            levels=options.levels,
            storage_options=parse_storage_options(options.dest_option),
        )
    print(dest)
    return 0


# ------------------------------------------------------------------------------------------------- other ND2 files


def _configure_rescue(parser: argparse.ArgumentParser) -> None:
    _file(parser)
    parser.add_argument("dest", metavar="DEST", help="ND2 file to write")
    _overwrite(parser)


def _rescue(options: argparse.Namespace) -> int:
    from nd2._core.write.rescue import rescue_file

    _refuse_existing(options.dest, options.overwrite)
    report = rescue_file(
        options.file, options.dest, storage_options=options.storage_options or None
    )
    print(report)
    return 0


def _pick(text: str) -> int | slice | list[int]:
    """Return what to take of a loop: ``3``, ``0:100``, ``::2`` or ``0,2,5``."""
    try:
        if ":" in text:
            return slice(*(int(part) if part else None for part in text.split(":")))
        if "," in text:
            return list(_numbers(text))
        return int(text)
    except (ValueError, TypeError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither an index, nor first:stop:step, nor a list of indices"
        ) from None


def _configure_crop(parser: argparse.ArgumentParser) -> None:
    _file(parser)
    parser.add_argument("dest", metavar="DEST", help="ND2 file to write")
    for name, what in (("T", "time points"), ("Z", "planes"), ("P", "positions")):
        parser.add_argument(
            f"-{name}", type=_pick, metavar="PICK", help=f"{what}: 3, 0:100, ::2 or 0,2,5"
        )
    parser.add_argument("--position", metavar="NAME", help="name of the only position")
    _overwrite(parser)


def _crop(options: argparse.Namespace) -> int:
    _refuse_existing(options.dest, options.overwrite)
    picks = {name: getattr(options, name) for name in "TZP"}
    with _opened(options) as file:
        file.write_nd2(
            options.dest,
            options.position,
            **{name: pick for name, pick in picks.items() if pick is not None},
        )
    print(options.dest)
    return 0


# ------------------------------------------------------------------------------------------------------------- show


def _configure_show(parser: argparse.ArgumentParser) -> None:
    _file(parser)
    parser.add_argument("--output", "-o", metavar="PATH", help="PNG file (FILE.png in this folder)")
    parser.add_argument(
        "--frame",
        "-n",
        type=int,
        action="append",
        metavar="N",
        help="sequence index of a frame to show; may be given several times",
    )
    parser.add_argument(
        "--tiles", "-t", type=int, default=16, metavar="N", help="frames at most (%(default)s)"
    )
    parser.add_argument(
        "--channel",
        "-c",
        type=_index_or_name,
        action="append",
        metavar="C",
        help="index or name of a channel to show; may be given several times",
    )
    parser.add_argument(
        "--split", action="store_true", help="each channel beside the others, not over them"
    )
    parser.add_argument(
        "--size",
        type=int,
        default=1024,
        metavar="N",
        help="pixels of the longer side (%(default)s)",
    )
    _overwrite(parser)


def _show(options: argparse.Namespace) -> int:
    from nd2._core.views.facts import Facts
    from nd2._core.views.picture import PictureOptions, picture

    look = PictureOptions(
        options.frame, options.tiles, options.split, options.size, options.channel
    )
    dest = options.output or f"{_stem(options)}.png"
    _refuse_existing(dest, options.overwrite)
    with _reader(options) as reader:
        found = picture(reader, Facts(reader), look)
    _write(dest, found.png(), options.overwrite)
    print(dest)
    return 0


COMMANDS = {
    "info": Command(
        "say what is in a file",
        "nd2 info cells.nd2\n"
        "nd2 info --json cells.nd2\n"
        "nd2 info s3://bucket/cells.nd2 --storage-option anon=true",
        _configure_info,
        _info,
    ),
    "index": Command(
        "list files in a table, CSV or JSON",
        "nd2 index data --recurse --sort-by kb-\n"
        "nd2 index data -F \"acquired > '2020' and kb < 500\" -i name,axes,shape\n"
        "nd2 index data --format csv > index.csv",
        _configure_index,
        _index,
    ),
    "events": Command(
        "print what was recorded with each frame",
        "nd2 events cells.nd2\nnd2 events cells.nd2 -o events.parquet",
        _configure_events,
        _events,
    ),
    "tiff": Command(
        "write TIFF, or OME-TIFF",
        "nd2 tiff cells.nd2 cells.ome.tif\nnd2 tiff cells.nd2 imagej.tif",
        _configure_tiff,
        _tiff,
    ),
    "zarr": Command(
        "write OME-Zarr",
        "nd2 zarr cells.nd2 cells.ome.zarr --levels auto\n"
        "nd2 zarr cells.nd2 s3://bucket/cells.zarr --dest-option key=... --dest-option secret=...",
        _configure_zarr,
        _zarr,
    ),
    "rescue": Command(
        "write what is left of a damaged file as a sound one",
        "nd2 rescue broken.nd2 whole.nd2",
        _configure_rescue,
        _rescue,
    ),
    "crop": Command(
        "write some frames as an ND2 file of their own",
        "nd2 crop cells.nd2 start.nd2 -T 0:100 -Z 3\nnd2 crop plate.nd2 well.nd2 --position B02",
        _configure_crop,
        _crop,
    ),
    "show": Command(
        "make a picture (PNG) of some frames",
        "nd2 show cells.nd2\nnd2 show cells.nd2 --frame 0 --split -o first.png",
        _configure_show,
        _show,
    ),
}


# ---------------------------------------------------------------------------------------------------------- running


def _all_commands() -> Iterator[tuple[str, Command]]:
    """Return the commands of this package, then those that other packages add."""
    from importlib.metadata import entry_points

    yield from COMMANDS.items()
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        yield point.name, point.load()


class _Parser(argparse.ArgumentParser):
    """A parser that suggests options which are like one that it does not know."""

    def __init__(self, **options: Any) -> None:
        self._names: list[str] = []
        super().__init__(**options)

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        self._names += names
        return super().add_argument(*names, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, rest = super().parse_known_args(args, namespace)
        for item in rest:
            name = item.partition("=")[0]
            if name.startswith("--"):
                self.error(str(errors.no_such("option", name, self._names)))
        return found, rest


def _parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    from nd2._core._version import CREATOR

    parser = _Parser(
        prog="nd2", description="Look at Nikon ND2 files, and make other files of them."
    )
    parser.add_argument("--version", action="version", version=CREATOR)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in commands.items():
        examples = "\n".join(f"  {line}" for line in command.examples.splitlines())
        sub = subparsers.add_parser(
            name,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.configure(sub)
        sub.add_argument(
            "--storage-option",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="option for the file system of a URL; may be given several times",
        )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands behind ``nd2``; by default that of this process.

    Returns
    -------
    int
        The exit status.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    # What other packages add is looked up only where it is needed.
    own = bool(given) and given[0] in COMMANDS
    commands = {given[0]: COMMANDS[given[0]]} if own else dict(_all_commands())
    parser = _parser(commands)
    if given and not given[0].startswith("-") and given[0] not in commands:
        parser.error(str(errors.no_such("command", given[0], commands)))
    options = parser.parse_args(given)
    try:
        options.storage_options = parse_storage_options(options.storage_option)
        status = commands[options.command].run(options)
        sys.stdout.flush()  # here, so that a reader who has left is noticed below, not when Python ends
        return status
    except BrokenPipeError:
        # Whoever read the output has enough (``nd2 events FILE | head``); nothing is left to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError, NotImplementedError, IndexError, ImportError) as error:
        print(f"nd2 {options.command}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
