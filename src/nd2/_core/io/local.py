"""Local files by positional reads: no lock, no shared file position, no memory map that could outlive the file."""

from __future__ import annotations

import errno
import os
import stat
import threading
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.io.source import ByteSource

if TYPE_CHECKING:
    from collections.abc import Sequence

_O_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# Linux cuts a single read at 0x7ffff000 bytes.
_MAX_READ = 1 << 30


class LocalSource(ByteSource):
    """Bytes of a file in the local file system.

    Parameters
    ----------
    path : str
        Path of the file. It is opened at once, so that what does not exist or is a folder fails early.

    Raises
    ------
    OSError
        If the file cannot be opened (``FileNotFoundError``, ``IsADirectoryError``, ``PermissionError`` ...).
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._lock = threading.Lock()
        self._fd = -1
        self._open()

    def _open(self) -> None:
        # Asked before opening: opening a pipe would wait for its writer.
        mode = os.stat(self._path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "a folder, not an ND2 file", self._path)
        if not stat.S_ISREG(mode):
            raise errors.not_nd2("not a regular file", path=self._path)
        fd = os.open(self._path, _O_FLAGS)
        found = os.fstat(fd)
        self._size, self._mtime, self._fd = found.st_size, found.st_mtime_ns, fd

    def _handle(self) -> int:
        """Return the descriptor, opened anew after unpickling."""
        if self._fd < 0:
            with self._lock:
                if self._closed:
                    raise errors.closed(self.url)
                if self._fd < 0:
                    self._reopen()
        return self._fd

    def _reopen(self) -> None:
        expected = self.identity
        self._open()
        if self.identity != expected:
            os.close(self._fd)
            self._fd, self._size, self._mtime = -1, expected[1], int(expected[2])
            raise errors.source("the file changed since it was opened first", path=self.url)

    @property
    def url(self) -> str:
        return self._path

    @property
    def size(self) -> int:
        return self._size

    @property
    def identity(self) -> tuple[str, int, str]:
        """``(path, size, mtime in ns)``."""
        return (self._path, self._size, str(self._mtime))

    def read(self, offset: int, nbytes: int) -> bytes:
        self._check(offset, nbytes)
        if 0 < nbytes <= _MAX_READ:
            data = _pread(self._handle(), nbytes, offset)
            if len(data) == nbytes:
                return data
        buffer = bytearray(nbytes)
        self.read_into([(offset, memoryview(buffer))])
        return bytes(buffer)

    def read_into(self, targets: Sequence[tuple[int, memoryview]]) -> None:
        fd = self._handle()
        for offset, buffer in targets:
            view = buffer if buffer.format == "B" and buffer.ndim == 1 else buffer.cast("B")
            self._check(offset, view.nbytes)
            done = 0
            while done < view.nbytes:
                got = _preadinto(fd, view[done : done + _MAX_READ], offset + done)
                if not got:
                    raise errors.source(
                        f"file ends {view.nbytes - done} bytes too early; was it cut while it was read?",
                        path=self.url,
                        offset=offset + done,
                    )
                done += got

    def _check(self, offset: int, nbytes: int) -> None:
        # Checked before anything is allocated: a damaged file may ask for exabytes.
        if offset < 0 or nbytes < 0 or offset + nbytes > self._size:
            raise errors.beyond_end(offset, nbytes, self._size, path=self.url)

    def release(self) -> None:
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)

    def reopen(self) -> LocalSource:
        new = object.__new__(LocalSource)
        new.__setstate__(self.__getstate__())
        return new

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._path, "size": self._size, "mtime": self._mtime}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._path, self._size, self._mtime = state["path"], state["size"], state["mtime"]
        self._lock = threading.Lock()
        self._fd = -1

    def __del__(self) -> None:
        # A view that is dropped leaves no handle behind; there is nothing to warn about, nothing can be lost.
        fd, self._fd = getattr(self, "_fd", -1), -1
        if fd >= 0:
            os.close(fd)

    def __repr__(self) -> str:
        return f"LocalSource({self._path!r})"


if hasattr(os, "preadv"):

    def _pread(fd: int, nbytes: int, offset: int) -> bytes:
        return os.pread(fd, nbytes, offset)

    def _preadinto(fd: int, view: memoryview, offset: int) -> int:
        return os.preadv(fd, [view], offset)

else:  # Windows has no positional read in the standard library: seek and read under one lock.
    _seek_lock = threading.Lock()

    def _pread(fd: int, nbytes: int, offset: int) -> bytes:
        with _seek_lock:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.read(fd, nbytes)

    def _preadinto(fd: int, view: memoryview, offset: int) -> int:
        data = _pread(fd, len(view), offset)
        view[: len(data)] = data
        return len(data)
