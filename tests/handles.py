"""Which files this process holds open."""

from __future__ import annotations

import os
from pathlib import Path


def count_handles(path: Path) -> int:
    """Return how often a file, or the files of a folder, are open; other tests' threads may open and close others."""
    place = path.resolve()
    open_files = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    return sum(place in (Path(name), *Path(name).parents) for name in open_files)


def no_handle_is_left(path: Path) -> bool:
    return count_handles(path) == 0
