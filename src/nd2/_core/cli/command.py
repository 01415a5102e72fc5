"""What a subcommand is, and the arguments that several commands share."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nd2._core.file import ND2File


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


SEVERAL: dict[str, Any] = {"action": "append"}
MANY: dict[str, Any] = {**SEVERAL, "default": []}
FILE = value("file", "FILE", "path or URL of an ND2 file")
OVERWRITE = flag("--overwrite", "replace what is there")
DEST_OPTION = value("--dest-option", "KEY=VALUE", "option for the file system of DEST", **MANY)
STORAGE_OPTION = value(
    "--storage-option",
    "KEY=VALUE",
    "option for the file system of a URL; may be given several times",
    **MANY,
)
ND2_DEST = value("dest", "DEST", "ND2 file to write")
QUIET = flag("--quiet -q", "show no progress bar")


def open_file(options: argparse.Namespace) -> ND2File:
    from nd2._core.file import ND2File

    return ND2File(options.file, storage_options=options.storage_options)


def stem(options: argparse.Namespace) -> str:
    from nd2._core.io.urls import file_stem

    return file_stem(options.file)


def shows_progress(options: argparse.Namespace) -> bool:
    return not options.quiet and sys.stderr.isatty()
