"""What a subcommand of ``nd2`` is; other packages add theirs through the entry point group ``nd2.commands``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

GROUP = "nd2.commands"


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
        Adds the options to a parser; ``--storage-option`` is there already.
    run : callable
        Does the work with the parsed options, of which ``storage_options`` is a dict; returns the exit status.
    """

    help: str
    examples: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def parse_storage_options(items: Sequence[str]) -> dict[str, Any]:
    """Return the options of a file system from ``key=value`` items.

    Values are JSON where they can be (``anon=true``), text otherwise; a dot in a key makes a dict in a dict
    (``client_kwargs.endpoint_url=http://localhost:9000``).

    Raises
    ------
    ValueError
        If an item has no ``=``.
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
