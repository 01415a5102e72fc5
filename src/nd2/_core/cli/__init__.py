"""The command ``nd2``: show the contents of files, and convert them.

Exit status: the number of files that failed (at most 100), 1 for any other failure, 2 for wrong
options, 130 when interrupted.
"""

from nd2._core.cli.command import (
    DEST_OPTION,
    FILE,
    OVERWRITE,
    Argument,
    Command,
    arguments,
    convert,
    files_and_dest,
    flag,
    parse_storage_options,
    run_tasks,
    value,
)
from nd2._core.cli.program import COMMANDS, full_parser, main

__all__ = [
    "COMMANDS",
    "DEST_OPTION",
    "FILE",
    "OVERWRITE",
    "Argument",
    "Command",
    "arguments",
    "convert",
    "files_and_dest",
    "flag",
    "full_parser",
    "main",
    "parse_storage_options",
    "run_tasks",
    "value",
]
