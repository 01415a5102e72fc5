"""The command ``nd2``: what is in a file, and what can be made of it.

Exit status: 0, 1 where a file could not be read or written, 2 for wrong options, 130 when it is interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.file import ND2File
from nd2._core.io.destination import guess_format, resolve
from nd2._core.io.urls import file_stem
from nd2._core.open import open_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

GROUP = "nd2.commands"
"""Entry points of the commands that other packages add."""


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand.

    Attributes
    ----------
    help : str
        One line that says what it does.
    examples : str
        Lines that show how it is used, printed by ``--help``.
    configure : callable
        Adds the options to a parser, as `arguments` does; ``--storage-option`` is there already.
    run : callable
        Does the work with the parsed options, of which ``storage_options`` is a dict or None; returns the exit status,
        None for 0.
    """

    help: str
    examples: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]


@dataclass(frozen=True, slots=True)
class Argument:
    """What ``ArgumentParser.add_argument`` takes."""

    names: Sequence[str]
    options: Mapping[str, Any]


def flag(names: str, text: str) -> Argument:
    """Return an option without a value; ``names`` are separated by spaces."""
    return Argument(names.split(), {"action": "store_true", "help": text})


def value(names: str, metavar: str | None, text: str, **options: Any) -> Argument:
    """Return an argument, or an option with a value."""
    return Argument(names.split(), {"metavar": metavar, "help": text, **options})


def arguments(*items: Argument) -> Callable[[argparse.ArgumentParser], None]:
    """Return what adds arguments to a parser."""

    def configure(parser: argparse.ArgumentParser) -> None:
        for item in items:
            parser.add_argument(*item.names, **item.options)

    return configure


def parse_storage_options(items: Sequence[str]) -> dict[str, Any]:
    """Return the options of a file system from ``key=value`` items.

    Values are JSON where they can be (``anon=true``), text otherwise; a dot in a key makes a dict in a dict
    (``client_kwargs.endpoint_url=http://localhost:9000``).
    """
    options: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not key or not equals:
            raise ValueError(f"--storage-option {item!r} is not of the form key=value")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        *parents, last = key.split(".")
        level = options
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    return options


def numbers(text: str) -> tuple[int, ...]:
    """Parse ``1,2,3``."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of numbers with commas between"
        ) from None


def levels(text: str) -> int | str:
    """Parse a number or ``auto``."""
    return text if text == "auto" else int(text)


def index_or_name(text: str) -> int | str:
    """Parse an index or a name."""
    return int(text) if text.lstrip("-").isdigit() else text


def pick(text: str) -> int | slice | list[int]:
    """Parse what to take of a loop: ``3``, ``0:100``, ``::2`` or ``0,2,5``."""
    try:
        if ":" in text:
            return slice(*(int(part) if part else None for part in text.split(":")))
        return list(numbers(text)) if "," in text else int(text)
    except (ValueError, TypeError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither an index, nor first:stop:step, nor a list of indices"
        ) from None


_SEVERAL: dict[str, Any] = {"action": "append"}
_MANY: dict[str, Any] = {**_SEVERAL, "default": []}
_FORMS = {"csv": "CSV", "json": "JSON", "parquet": "Parquet"}
_BACKENDS = ("auto", "zarr", "tensorstore")
FILE = value("file", "FILE", "path or URL of an ND2 file")
OVERWRITE = flag("--overwrite", "replace what is there")
DEST_OPTION = value("--dest-option", "KEY=VALUE", "option for the file system of DEST", **_MANY)
_STORAGE_OPTION = value(
    "--storage-option",
    "KEY=VALUE",
    "option for the file system of a URL; may be given several times",
    **_MANY,
)
_ND2_DEST = value("dest", "DEST", "ND2 file to write")
_QUIET = flag("--quiet -q", "show no progress bar")


def _open(options: argparse.Namespace) -> ND2File:
    return ND2File(options.file, storage_options=options.storage_options)


def _stem(options: argparse.Namespace) -> str:
    return file_stem(options.file)


def _shows_progress(options: argparse.Namespace) -> bool:
    return not options.quiet and sys.stderr.isatty()


def _info(options: argparse.Namespace) -> None:
    from nd2._core.views.facts import Facts
    from nd2._core.views.summary import as_text, summary

    with open_reader(options.file, storage_options=options.storage_options) as reader:
        facts = summary(reader, Facts(reader))
    print(json.dumps(facts, indent=2) if options.json else "\n".join(as_text(facts)))


def _configure_index(parser: argparse.ArgumentParser) -> None:
    from nd2._core.catalog import add_arguments

    add_arguments(parser)


def _index(options: argparse.Namespace) -> int:
    from nd2._core.catalog import run

    try:
        return run(options, options.storage_options)
    except ValueError as error:  # bad files are rows: only an option can be wrong
        print(f"nd2 index: {errors.one_line(error)}", file=sys.stderr)
        return 2


def _events(options: argparse.Namespace) -> None:
    form = options.format or guess_format(options.output or "", _FORMS)
    if form == "parquet" and not options.output:
        raise ValueError("Parquet is not text: say where to write it with --output")
    dest = None
    with _open(options) as file:
        if options.output:
            dest = resolve(
                options.output, _FORMS[form], overwrite=options.overwrite, sources=[file.path]
            )
        if form == "json":
            from nd2._core.views.jsonable import plain

            data = json.dumps(plain(file.events(orient="records")), indent=1).encode() + b"\n"
        else:
            import pandas as pd

            table = pd.DataFrame(file.events(orient="list"))
            csv = form == "csv"
            data = table.to_csv(index=False).encode() if csv else table.to_parquet(index=False)
    if dest is None:
        sys.stdout.write(data.decode())
    else:
        dest.write(data)


def _tiff(options: argparse.Namespace) -> None:
    dest = options.dest or f"{_stem(options)}.ome.tif"
    with _open(options) as file:
        resolve(dest, "TIFF", overwrite=options.overwrite, sources=[file.path], local=True)
        file.write_tiff(
            dest,
            include_unstructured_metadata=not options.no_metadata,
            progress=_shows_progress(options),
        )
    print(dest)


def _zarr(options: argparse.Namespace) -> None:
    with _open(options) as file:
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
    with _open(options) as file:
        file.write_nd2(
            options.dest,
            options.position,
            overwrite=options.overwrite,
            **{name: value for name, value in picks.items() if value is not None},
        )
    print(options.dest)


def _show(options: argparse.Namespace) -> None:
    dest = options.output or f"{_stem(options)}.png"
    with _open(options) as file:
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


COMMANDS = {
    "info": Command(
        "say what is in a file",
        "nd2 info cells.nd2\n"
        "nd2 info --json cells.nd2\n"
        "nd2 info s3://bucket/cells.nd2 --storage-option anon=true",
        arguments(FILE, flag("--json", "print JSON")),
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
        arguments(
            FILE,
            value("--output -o", "PATH", "file to write (standard output)"),
            value("--format -f", None, "by default that of the output, else csv", choices=_FORMS),
            OVERWRITE,
        ),
        _events,
    ),
    "tiff": Command(
        "write TIFF, or OME-TIFF",
        "nd2 tiff cells.nd2 cells.ome.tif\nnd2 tiff cells.nd2 imagej.tif",
        arguments(
            FILE,
            value("dest", "DEST", "TIFF file (FILE.ome.tif in this folder)", nargs="?"),
            flag("--no-metadata", "leave the chunks of metadata out of the OME-XML"),
            OVERWRITE,
            _QUIET,
        ),
        _tiff,
    ),
    "zarr": Command(
        "write OME-Zarr",
        "nd2 zarr cells.nd2 cells.ome.zarr --levels auto\n"
        "nd2 zarr cells.nd2 s3://bucket/cells.zarr --dest-option key=... --dest-option secret=...",
        arguments(
            FILE,
            value("dest", "DEST", "folder or URL (FILE.ome.zarr in this folder)", nargs="?"),
            value("--chunks", "N,N,...", "shape of a chunk", type=numbers),
            value("--shards", "N,N,...", "shape of a shard", type=numbers),
            value("--levels", "N", "levels of the pyramid, or auto", type=levels, default=1),
            value("--position -p", "P", "the only position: index or name", type=index_or_name),
            value("--backend", None, "(%(default)s)", choices=_BACKENDS, default=_BACKENDS[0]),
            flag("--series", "a series, also for one position"),
            flag("--no-labels", "leave binary layers out"),
            flag("--no-metadata", "leave chunks of metadata out"),
            DEST_OPTION,
            OVERWRITE,
            _QUIET,
        ),
        _zarr,
    ),
    "rescue": Command(
        "write what is left of a damaged file as a sound one",
        "nd2 rescue broken.nd2 whole.nd2",
        arguments(FILE, _ND2_DEST, OVERWRITE),
        _rescue,
    ),
    "crop": Command(
        "write some frames as an ND2 file of their own",
        "nd2 crop cells.nd2 start.nd2 -T 0:100 -Z 3\nnd2 crop plate.nd2 well.nd2 --position B02",
        arguments(
            FILE,
            _ND2_DEST,
            value("-T", "PICK", "time points: 3, 0:100, ::2 or 0,2,5", type=pick),
            value("-Z", "PICK", "planes, in the same way", type=pick),
            value("-P", "PICK", "positions, in the same way", type=pick),
            value("--position", "NAME", "name of the only position"),
            OVERWRITE,
        ),
        _crop,
    ),
    "show": Command(
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
                **_SEVERAL,
            ),
            value("--tiles -t", "N", "frames at most (%(default)s)", type=int, default=16),
            value(
                "--channel -c",
                "C",
                "index or name of a channel; may be repeated",
                type=index_or_name,
                **_SEVERAL,
            ),
            flag("--split", "each channel in a tile of its own"),
            value("--size", "N", "pixels of the longer side (%(default)s)", type=int, default=1024),
            OVERWRITE,
        ),
        _show,
    ),
}


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
        options, rest = super().parse_known_args(args, namespace)
        for item in rest:
            name = item.partition("=")[0]
            if name.startswith("--"):
                self.error(str(errors.no_such("option", name, self._names)))
        return options, rest


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
        arguments(_STORAGE_OPTION)(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    given = sys.argv[1:] if argv is None else list(argv)
    # What other packages add is looked up only where it is needed.
    own = bool(given) and given[0] in COMMANDS
    commands = {given[0]: COMMANDS[given[0]]} if own else dict(_all_commands())
    parser = _parser(commands)
    if given and not given[0].startswith("-") and given[0] not in commands:
        parser.error(str(errors.no_such("command", given[0], commands)))
    options = parser.parse_args(given)
    try:
        options.storage_options = parse_storage_options(options.storage_option) or None
        status = commands[options.command].run(options) or 0
        sys.stdout.flush()  # here, so that a reader who has left is noticed below, not when Python ends
        return status
    except BrokenPipeError:
        # Whoever read the output has enough (``nd2 events FILE | head``); nothing is left to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError, NotImplementedError, IndexError, ImportError) as error:
        print(f"nd2 {options.command}: {errors.one_line(error)}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
