"""Writing aside and renaming into place, so that a file or folder of the final name is always a whole one."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_number = itertools.count()


@contextmanager
def atomic_path(dest: Path) -> Iterator[Path]:
    """Give a path beside ``dest`` to write to; what is there at the end replaces ``dest``.

    Where the block raises, what was written is removed and ``dest`` stays as it was. A process that is killed leaves
    ``dest`` as it was, too, and beside it a hidden file or folder whose name ends in ``.partial``; see `remove_stale`.

    Parameters
    ----------
    dest : Path
        The final file or folder.
    """
    partial = _beside(dest, "partial")
    try:
        yield partial
        if partial.is_dir() and os.path.lexists(dest):
            # A folder cannot be replaced in one step: the old one goes aside, and comes back should the new one fail.
            old = _beside(dest, "old")
            os.rename(dest, old)
            try:
                os.rename(partial, dest)
            except BaseException:
                os.rename(old, dest)
                raise
            remove(old)
        else:
            os.replace(partial, dest)
    finally:
        remove(partial)


def remove_stale(dest: Path) -> None:
    """Remove what processes left beside ``dest`` that were killed while they wrote it.

    Only that of processes of this machine that are gone; what may still be written stays, and on Windows everything. What
    cannot be removed is no reason not to write.
    """
    name = re.compile(rf"\.{re.escape(dest.name)}\.{re.escape(_host())}-(\d+)-\d+\.partial")
    with suppress(OSError):
        for path in dest.parent.iterdir():
            match = name.fullmatch(path.name)
            if match and not _runs(int(match[1])):
                remove(path)


def _beside(dest: Path, suffix: str) -> Path:
    return dest.with_name(f".{dest.name}.{_host()}-{os.getpid()}-{next(_number)}.{suffix}")


def _host() -> str:
    return re.sub(r"\W+", "_", socket.gethostname())


def _runs(process: int) -> bool:
    """Return whether a process of this machine runs, as far as one can tell."""
    if os.name == "nt":  # there, a signal to ask would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
