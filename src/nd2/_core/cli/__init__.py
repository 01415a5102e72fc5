"""The command ``nd2``: what is in a file, and what can be made of it.

Exit status: 0, 1 where a file could not be read or written, 2 for wrong options, 130 when it is interrupted.
"""

from nd2._core.cli.command import (
    DEST_OPTION,
    FILE,
    OVERWRITE,
    Argument,
    Command,
    arguments,
    flag,
    parse_storage_options,
    value,
)
from nd2._core.cli.program import COMMANDS, main

__all__ = [
    "COMMANDS",
    "DEST_OPTION",
    "FILE",
    "OVERWRITE",
    "Argument",
    "Command",
    "arguments",
    "flag",
    "main",
    "parse_storage_options",
    "value",
]
