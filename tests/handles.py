"""Which files this process holds open."""

from __future__ import annotations

import os
from pathlib import Path


def count_handles(path: Path) -> int:
    """Return the number of handles of a file, or of the files in a folder.

    Handles of other files are not counted: threads of other tests may open and close them.
    """
    open_files = [Path(os.path.realpath(f"/proc/self/fd/{fd}")) for fd in os.listdir("/proc/self/fd")]
    return sum(one.is_relative_to(path.resolve()) for one in open_files)


def no_handle_is_left(path: Path) -> bool:
    return count_handles(path) == 0
