"""A local file or folder that is written to ``NAME.part`` and renamed when it is complete."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import shutil
import stat
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Buffers = Sequence[bytes | memoryview]

PART = ".part"
_MAX_NAME = 240
"""Maximum length of a name in bytes, so that name and suffix fit into 255."""
_OPTIONAL = sum(getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPTIONAL
_EXCHANGE = {"linux": 2, "darwin": 2}
_NO_REPLACE = {"linux": 1, "darwin": 4}


class Part:
    """A file or folder that is not complete; ``check`` raises an error if the one at a path must not be replaced."""

    def __init__(self, final: Path, is_folder: bool, check: Callable[[Path], None]) -> None:
        self.final = self.place = final
        self._is_folder, self._check = is_folder, check
        self._made: list[Any] = []
        self._parents: list[Path] = []

    def create(self) -> int:
        """Create it under a new name, with the mode of the file that it will replace."""
        name = os.fsdecode(os.fsencode(self.final.name)[:_MAX_NAME])
        if self._is_folder:
            self._create_parents()
        for number in itertools.count(1):
            self.place = self.final.with_name(f"{name}{PART}{number if number > 1 else ''}")
            with suppress(FileExistsError):
                # One C call creates and records the file: Ctrl-C cannot interrupt in between.
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
        """Rename it to its final name, in one step if the system supports it.

        An old folder is checked again after it was renamed, when no other program adds to it.
        """
        if self._is_folder and os.path.lexists(self.final):
            self._copy_mode()
            self._replace_folder()
        else:
            replaces = os.path.lexists(self.final)
            self._check(self.final)
            if replaces:
                os.replace(self.place, self.final)
            elif not _rename(self.place, self.final, _NO_REPLACE):
                _link_or_replace(self.place, self.final)
            self._made = []  # other processes may use the temporary name now
        self._parents = []

    def _replace_folder(self) -> None:
        if _rename(self.place, self.final, _EXCHANGE):
            try:
                self._check(self.place)
            except BaseException:
                _rename(self.place, self.final, _EXCHANGE)
                raise
            return
        refuge = Path(tempfile.mkdtemp(prefix=f"{self.place.name}.", dir=self.final.parent))
        old = refuge / self.final.name
        try:
            os.rename(self.final, old)
            self._check(old)
            os.rename(self.place, self.final)
            self._made = []  # other processes may use the temporary name now
        except BaseException:
            if not os.path.lexists(self.final):
                os.rename(old, self.final)
            raise
        finally:
            # Only if the new folder has its name, or the old one has got it back.
            if not (os.path.lexists(self.place) and os.path.lexists(old)):
                _remove(refuge)

    def discard(self) -> None:
        """Remove the incomplete output, or the folder that was replaced. May be called twice."""
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


def _rename(source: Path, target: Path, flag: dict[str, int]) -> bool:
    """Exchange two names, or rename without replacing; return False if the system cannot do it."""
    names = os.fsencode(source), os.fsencode(target)
    with suppress(AttributeError):  # an older C library
        if sys.platform == "linux":
            here, libc = -100, ctypes.CDLL(None, use_errno=True)
            failed = libc.renameat2(here, names[0], here, names[1], flag["linux"])
        elif sys.platform == "darwin":
            libc = ctypes.CDLL(None, use_errno=True)
            failed = libc.renamex_np(*names, flag["darwin"])
        else:
            return False
        if failed and ctypes.get_errno() == errno.EEXIST:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))
        return not failed
    return False


def _link_or_replace(source: Path, target: Path) -> None:
    """Give a file a new name that must not exist, also on NFS; without hard links, nothing shows whether it does."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        os.replace(source, target)
    else:
        os.unlink(source)


def _remove(path: Path) -> None:
    """Remove a file or folder; ignore errors."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


if hasattr(os, "pwritev"):

    def _write_some(fd: int, parts: Buffers, position: int) -> int:
        return os.pwritev(fd, parts, position)

else:  # Windows: the file has one position, and one thread at a time
    _position_lock = threading.Lock()

    def _write_some(fd: int, parts: Buffers, position: int) -> int:
        with _position_lock:
            os.lseek(fd, position, os.SEEK_SET)
            return os.write(fd, parts[0])


def write_at(fd: int, parts: Buffers, position: int) -> None:
    """Write all parts, with one system call as a rule."""
    while (written := _write_some(fd, parts, position)) < sum(map(len, parts)):
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        position += written
        parts = _rest(parts, written)


def _rest(parts: Buffers, count: int) -> Buffers:
    """Return the parts without their first bytes."""
    left = []
    for part in parts:
        if count < len(part):
            left.append(memoryview(part)[count:])
        count = max(count - len(part), 0)
    return left
