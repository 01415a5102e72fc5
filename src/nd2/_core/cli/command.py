"""The type of a subcommand, and what the commands share: arguments, streams, and the loop over files."""

from __future__ import annotations

import argparse
import codecs
import json
import os
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from nd2._core.batch import Task
    from nd2._core.file import ND2File

    Argument: TypeAlias = Callable[[argparse.ArgumentParser], argparse.Action]


_ASCII = {"µ": "u", "μ": "u", "×": "x", "°": "deg", "–": "-", "…": "..."}
_HANDLER = "nd2.ascii"


@record
class Command:
    """A subcommand.

    Attributes
    ----------
    help : str
        One line that says what it does.
    examples : str
        Example commands, one per line, printed by ``--help``.
    configure : callable
        Adds the arguments to a parser, as `arguments` does.
    run : callable
        Runs the command with the parsed options, of which ``storage_options`` is a dict or None;
        returns the exit status, None for 0.
    opens_files : bool
        Whether the command has the option ``--storage-option``.
    """

    help: str
    examples: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]
    opens_files: bool = True


def value(names: str, metavar: str | None, text: str, **options: Any) -> Argument:
    """Return an argument, or an option with a value; ``names`` are separated by spaces."""
    return lambda parser: parser.add_argument(*names.split(), metavar=metavar, help=text, **options)


def flag(names: str, text: str) -> Argument:
    """Return an option without a value; ``names`` are separated by spaces."""
    return lambda parser: parser.add_argument(*names.split(), action="store_true", help=text)


def arguments(*items: Argument | str) -> Callable[[argparse.ArgumentParser], None]:
    """Return a function that adds arguments to a parser; a text is the name of one of `SHARED`."""

    def configure(parser: argparse.ArgumentParser) -> None:
        for item in items:
            add = SHARED[item] if isinstance(item, str) else item
            add(parser)

    return configure


def parse_storage_options(items: Sequence[str]) -> dict[str, Any]:
    """Return the options of a file system from ``key=value`` items.

    A value is JSON (``anon=true``) if it can be parsed as such, otherwise text. A dot in a key makes
    a nested dict (``client_kwargs.endpoint_url=http://localhost:9000``).
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
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers separated by commas") from None


def number(minimum: int, maximum: int | None = None, *, auto: bool = False) -> Callable[[str], Any]:
    """Return a parser of numbers within limits; with ``auto``, it also accepts that word."""
    limits = f"from {minimum}" if maximum is None else f"from {minimum} to {maximum}"
    choice = " or 'auto'" if auto else ""

    def parse(text: str) -> int | str:
        if auto and text == "auto":
            return text
        found = int(text) if text.lstrip("-").isdecimal() else minimum - 1
        if found < minimum or (maximum is not None and found > maximum):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {limits}{choice}")
        return found

    return parse


def index_or_name(text: str) -> int | str:
    """Parse an index or a name."""
    return int(text) if text.lstrip("-").isdecimal() else text


def pick(text: str) -> int | slice | list[int]:
    """Parse indices: ``3``, ``0:100``, ``::2`` or ``0,2,5``."""
    try:
        if ":" in text:
            return slice(*(int(part) if part else None for part in text.split(":")))
        return list(numbers(text)) if "," in text else int(text)
    except (ValueError, TypeError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an index, a range (first:stop:step) or a list of indices"
        ) from None


def _pairs(name: str, place: str) -> Argument:
    text = f"option for the file system of {place}; repeatable"
    return value(name, "KEY=VALUE", text, action="append", default=[])


SHARED = {
    "file": value("file", "FILE", "path or URL of an ND2 file"),
    "files": value("files", "FILE", "paths, patterns or URLs of ND2 files", nargs="+"),
    "--dask": value("--dask", "ADDRESS", "work on the dask cluster of this scheduler, such as tcp://host:8786"),
    "--overwrite": flag("--overwrite", "replace outputs that exist"),
    "--dest-option": _pairs("--dest-option", "the output"),
    "--storage-option": _pairs("--storage-option", "a URL"),
    "--position": value("--position -p", "P", "index or name of the only position", type=index_or_name),
    "--levels": value(
        "--levels", "N", "levels of the pyramid, or auto (%(default)s)", type=number(1, auto=True), default=1
    ),
    "--quiet": flag("--quiet -q", "show no progress bar"),
}
"""Arguments that several commands have."""


def format_option(choices: Sequence[str], default: str) -> Argument:
    """Return the option that names the format of a table or document."""
    text = f"format of the output; by default that of its suffix, otherwise {default}"
    return value("--format -f", None, text, choices=choices)


def files_and_dest(output: str) -> list[Argument]:
    """Return the arguments of a command that writes one file for each that it reads."""
    text = f"ND2 files (paths, patterns or URLs); the second path is the output, {output}"
    return [
        value("files", "FILE", text, nargs="+"),
        value("--output -o", "PATH", "the output of a single file"),
        value("--out-dir", "DIR", "folder or URL for the outputs of several files"),
    ]


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Spell the signs of units in ASCII, and escape every other character."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    spelled = [_ASCII.get(sign) or sign.encode("ascii", "backslashreplace").decode("ascii") for sign in signs]
    return "".join(spelled), error.end


codecs.register_error(_HANDLER, _replace)


def accept_all_characters() -> None:
    """Let the streams replace characters that their encoding does not support."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_HANDLER)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print each warning once, in one line without the place in the code."""
    shown = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if text not in shown:
            shown.add(text)
            print(f"warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.filterwarnings("always", category=UserWarning)
        warnings.showwarning = show
        yield


def terminal_width() -> int | None:
    """Return the number of columns of the terminal; None if the output is not a terminal."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def shows_progress(quiet: bool) -> bool:
    """Return whether to show progress bars."""
    return not quiet and sys.stderr.isatty()


def convert(
    options: argparse.Namespace, suffix: str, work: Callable[[ND2File, str], object], *, at_once: int = 1
) -> int:
    """Open each file and call ``work`` with its output; print the outputs, return the exit status."""
    from nd2._core.file import ND2File

    def one(task: Task) -> None:
        with ND2File(task.source, storage_options=options.storage_options) as file:
            work(file, task.dest)
        print(task.dest)

    return run_tasks(options, suffix, one, at_once=at_once)


def run_tasks(options: argparse.Namespace, suffix: str, work: Callable[[Task], object], *, at_once: int = 1) -> int:
    """Call ``work`` for each file with its output; return the exit status.

    With ``at_once``, several files are processed at the same time, and one progress bar counts them.
    """
    from nd2._core.batch import plan_tasks, run_batch
    from nd2._core.io.urls import is_url, local_path

    tasks = plan_tasks(options.files, suffix, options.output, options.out_dir, options.storage_options)
    if options.out_dir is not None and not is_url(folder := local_path(options.out_dir)):
        os.makedirs(folder, exist_ok=True)
    at_once = min(at_once, len(tasks))
    progress = at_once > 1 and shows_progress(options.quiet)
    if at_once > 1:
        options.quiet = True  # no bar per file
    return run_batch(options.command, tasks, work, at_once=at_once, progress=progress)
