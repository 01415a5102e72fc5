"""A local file or folder that grows as ``NAME.part`` beside its destination, and takes its name when it is complete."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PART = ".part"
_MAX_NAME = 240
"""Bytes of a name that leave room for the suffix within the 255 of most file systems."""
_CREATE = (
    os.O_RDWR
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


class Part:
    """A file or folder that is not complete."""

    def __init__(self, final: Path, is_folder: bool, check: Callable[[], None]) -> None:
        self.final = self.place = final
        self._is_folder, self._check = is_folder, check
        self._made: list[Any] = []
        self._parents: list[Path] = []

    def create(self) -> int:
        """Create it, never over what is there, with the mode of the file that it replaces."""
        name = os.fsdecode(os.fsencode(self.final.name)[:_MAX_NAME])
        if self._is_folder:
            self._create_parents()
        for number in itertools.count(1):
            self.place = self.final.with_name(f"{name}{PART}{number if number > 1 else ''}")
            with suppress(FileExistsError):
                # One call into C creates it and notes that it is ours: Ctrl-C cannot come between.
                if self._is_folder:
                    self._made.extend(map(os.mkdir, [self.place]))
                    return -1
                self._made.extend(map(os.open, [self.place], [_CREATE], [0o666]))
                break
        self._copy_mode()
        return int(self._made[0])

    def _create_parents(self) -> None:
        missing = itertools.takewhile(lambda parent: not parent.exists(), self.final.parents)
        for parent in reversed(list(missing)):
            parent.mkdir(exist_ok=True)
            self._parents.insert(0, parent)

    def _copy_mode(self) -> None:
        with suppress(FileNotFoundError):
            os.chmod(self.place, stat.S_IMODE(os.stat(self.final).st_mode))

    def commit(self) -> None:
        """Put it in its place in one step; on systems that cannot exchange two folders, in two."""
        self._check()
        if not self._is_folder or not os.path.lexists(self.final):
            os.replace(self.place, self.final)
        else:
            self._copy_mode()
            if not _exchange(self.place, self.final):
                _replace_folder(self.place, self.final)
        self._parents = []

    def discard(self) -> None:
        """Remove what was written, or the old folder that was replaced; may be called twice."""
        try:
            self._discard()
        except KeyboardInterrupt:
            self._discard()
            raise

    def _discard(self) -> None:
        if self._made:
            _remove(self.place)
        for parent in self._parents:
            with suppress(OSError):
                parent.rmdir()


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; return False where the system cannot."""
    names = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "linux":
            here, exchange = -100, 2
            libc = ctypes.CDLL(None)
            return bool(libc.renameat2(here, names[0], here, names[1], exchange) == 0)
        if sys.platform == "darwin":
            swap = 2
            libc = ctypes.CDLL(None)
            return bool(libc.renamex_np(*names, swap) == 0)
    except AttributeError:  # an older library of C
        pass
    return False


def _replace_folder(new: Path, old: Path) -> None:
    """Replace a folder in two steps; the old one comes back where the second fails."""
    kept = new.with_name(f"{new.name}.old")
    try:
        os.rename(old, kept)
        os.rename(new, old)
    except BaseException:
        if not os.path.lexists(old):
            os.rename(kept, old)
        raise
    finally:
        if os.path.lexists(old):
            _remove(kept)


def _remove(path: Path) -> None:
    """Remove a file or folder, if it is there; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
