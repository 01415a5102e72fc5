"""The command ``nd2``: show the contents of files, and convert them.

Exit status: the number of files that failed (at most 100), 1 for any other failure, 2 for wrong options,
130 when interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.cli.command import Command, accept_all_characters, arguments, parse_storage_options, plain_warnings
from nd2._core.cli.index import INDEX
from nd2._core.cli.outputs import CROP, RESCUE, SHOW, TIFF, ZARR
from nd2._core.cli.system import COMPLETION, VERSIONS
from nd2._core.cli.tables import EVENTS, INFO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["COMMANDS", "Command", "all_commands", "arguments", "full_parser", "main", "parse_storage_options"]

GROUP = "nd2.commands"
"""Entry points of the commands that other packages add."""

COMMANDS = {
    "info": INFO,
    "index": INDEX,
    "events": EVENTS,
    "tiff": TIFF,
    "zarr": ZARR,
    "rescue": RESCUE,
    "crop": CROP,
    "show": SHOW,
    "versions": VERSIONS,
    "completion": COMPLETION,
}


_FAILURES = (OSError, ValueError, NotImplementedError, IndexError, ImportError, MemoryError)
"""Errors of files and options. Any other error is a bug in this package."""


def all_commands() -> Iterator[tuple[str, Command]]:
    """Return the commands of this package, then those that other packages add."""
    from importlib.metadata import entry_points

    yield from COMMANDS.items()
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        yield point.name, point.load()


class _Parser(argparse.ArgumentParser):
    """A parser that suggests options similar to an unknown one."""

    def __init__(self, **options: Any) -> None:
        self._mixes = False
        super().__init__(**options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        if self._subparsers is not None or self._mixes:
            return super().parse_known_args(args, namespace)
        self._mixes = True  # options between positional arguments; it calls this method twice
        options, rest = self.parse_known_intermixed_args(args, namespace)
        self._mixes = False
        for item in rest:
            name = item.partition("=")[0]
            if name.startswith("-"):
                known = [name for name in self._option_string_actions if name.startswith("--")]
                self.error(str(errors.no_such("option", name, known)))
        if rest:  # with the usage of this command
            noun = "argument" if len(rest) == 1 else "arguments"
            self.error(f"unexpected {noun}: {' '.join(rest)}")
        return options, rest


class _Version(argparse.Action):
    """Prints versions; they are looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from nd2._core.cli.system import version_line

        print(version_line())
        parser.exit()


def _parser(commands: dict[str, Command], *, configure: bool = True) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="nd2",
        description="Show the contents of Nikon ND2 files, and convert them to other formats.",
        epilog="Every command has examples: nd2 COMMAND --help",
    )
    parser.add_argument("-V", "--version", action=_Version, nargs=0, help="print versions and exit")
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
        if configure:
            command.configure(sub)
            sub.set_defaults(storage_option=[])
            if command.opens_files:
                arguments("--storage-option")(sub)
    return parser


def full_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands, for completion and for the documentation."""
    return _parser(dict(all_commands()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    accept_all_characters()
    if argv is None:
        # No command computes with BLAS, whose threads take a tenth of the time of `nd2 info` to start.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    given = sys.argv[1:] if argv is None else list(argv)
    # Commands of other packages are looked up only if they are needed.
    name = given[0] if given else ""
    commands = {name: COMMANDS[name]} if name in COMMANDS else dict(all_commands())
    if name in commands:
        commands = {name: commands[name]}
    parser = _parser(commands, configure=name in commands)
    if name and not name.startswith("-") and name not in commands:
        parser.error(str(errors.no_such("command", name, commands)))
    options = parser.parse_args(given)
    try:
        options.storage_options = parse_storage_options(options.storage_option) or None
        with plain_warnings():
            status = commands[options.command].run(options) or 0
        sys.stdout.flush()  # here, so that a closed pipe is noticed below, not when Python exits
        return status
    except BrokenPipeError:
        # The reader of the output has enough (``nd2 events FILE | head``); nothing is left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except _FAILURES as error:
        print(f"nd2 {options.command}: {errors.one_line(error)}", file=sys.stderr)
        return 1
