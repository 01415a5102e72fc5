"""The program: its commands, its parser and its exit status."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.cli.command import STORAGE_OPTION, Command, arguments, parse_storage_options
from nd2._core.cli.copies import CROP, RESCUE
from nd2._core.cli.exports import TIFF, ZARR
from nd2._core.cli.pictures import SHOW
from nd2._core.cli.tables import EVENTS, INDEX, INFO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        arguments(STORAGE_OPTION)(sub)
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
