"""Local files by positional reads: no lock, no shared file position, and no memory map."""

from __future__ import annotations

import errno
import os
import stat
import threading
import weakref
import zlib
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.io.handles import Handle, open_handle
from nd2._core.io.source import ByteSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nd2._core.io.source import Span


# Linux cuts a single read at 0x7ffff000 bytes.
_MAX_READ = 1 << 30
_TAIL = 4096
"""Bytes at the end of a file, with its chunk map, that distinguish it from others of its length."""
_RESOLUTIONS = (2_000_000_000, 1_000_000_000, 1_000_000, 1_000, 100)
_CHANGED = "the file changed since it was opened; open it again"
_LOST = (errno.ESTALE, errno.ENOTCONN)
"""Errors of network file systems after which a new handle may work."""


class LocalSource(ByteSource):
    """Bytes of a file in the local file system.

    The handle is one of a bounded number in the process: it may be closed between two reads, and
    is opened again by the next one, which checks that the file is the same.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._lock = threading.Lock()
        self._handle: Handle | None = None
        handle = self._open()
        self._size, self._mtime = handle.size, handle.mtime
        self._tail = self._read_tail(handle)
        self._handle = handle

    def _open(self) -> Handle:
        # Checked before opening: opening a pipe would wait for its writer.
        mode = os.stat(self._path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder, not an ND2 file", self._path)
        if not stat.S_ISREG(mode):
            raise errors.not_nd2("not a regular file", path=self._path)
        return open_handle(self._path, weakref.WeakMethod(self._forget))

    def _forget(self, handle: Handle) -> None:
        if self._handle is handle:
            self._handle = None

    def _read_tail(self, handle: Handle) -> int:
        """Return a checksum of the end of the file."""
        size = handle.size
        return zlib.crc32(_pread(handle.fd, min(_TAIL, size), max(size - _TAIL, 0)))

    def _open_handle(self) -> Handle:
        """Return the handle; it is opened again after unpickling, and after it was closed."""
        with self._lock:
            if self._closed:
                raise errors.closed(self.url)
            return self._handle or self._reopen_handle()

    def _reopen_handle(self) -> Handle:
        handle = self._open()
        size, mtime = handle.size, handle.mtime
        same = size == self._size and (
            mtime == self._mtime
            # Another mount of the same share may show times of a coarser resolution.
            or (
                abs(mtime - self._mtime) < max(_resolution(mtime), _resolution(self._mtime))
                and self._read_tail(handle) == self._tail
            )
        )
        if not same:
            raise errors.source(_CHANGED, path=self.url)
        self._handle = handle
        return handle

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
        return self.read_many([(offset, nbytes)])[0]

    def read_many(self, spans: Sequence[Span]) -> list[bytes]:
        for offset, nbytes in spans:
            self._check(offset, nbytes)
        handle = self._handle or self._open_handle()
        handle.recent = True
        try:
            data = [self._read(handle, *span) for span in spans]
            changed = handle.is_changed()
        except OSError as error:
            handle = self._replace(error)
            data = [self._read(handle, *span) for span in spans]
            changed = handle.is_changed()
        if changed:
            raise errors.source(_CHANGED, path=self.url)
        return data

    def read_into(self, targets: Sequence[tuple[int, memoryview]]) -> None:
        handle = self._handle or self._open_handle()
        handle.recent = True
        try:
            self._fill(handle, targets)
            changed = handle.is_changed()
        except OSError as error:
            handle = self._replace(error)
            self._fill(handle, targets)
            changed = handle.is_changed()
        if changed:
            raise errors.source(_CHANGED, path=self.url)

    def _replace(self, error: OSError) -> Handle:
        """Return a new handle if the server has lost the old one; raise any other error again."""
        if error.errno not in _LOST:
            raise error
        self.release()
        return self._open_handle()

    def _read(self, handle: Handle, offset: int, nbytes: int) -> bytes:
        data = _pread(handle.fd, nbytes, offset) if 0 < nbytes <= _MAX_READ else b""
        if len(data) == nbytes:
            return data
        buffer = bytearray(nbytes)
        self._fill(handle, [(offset, memoryview(buffer))])
        return bytes(buffer)

    def _fill(self, handle: Handle, targets: Sequence[tuple[int, memoryview]]) -> None:
        for offset, buffer in targets:
            view = buffer if buffer.format == "B" and buffer.ndim == 1 else buffer.cast("B")
            self._check(offset, view.nbytes)
            done = 0
            while done < view.nbytes:
                got = _preadinto(handle.fd, view[done : done + _MAX_READ], offset + done)
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
        self._handle = None

    def reopen(self) -> LocalSource:
        new = object.__new__(LocalSource)
        new.__setstate__(self.__getstate__())
        return new

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._path, "size": self._size, "mtime": self._mtime, "tail": self._tail}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._path, self._size, self._mtime = state["path"], state["size"], state["mtime"]
        self._tail = state["tail"]
        self._lock = threading.Lock()
        self._handle = None

    def __repr__(self) -> str:
        return f"LocalSource({self._path!r})"


def _resolution(mtime: int) -> int:
    """Return the coarsest resolution, in nanoseconds, that a modification time may have."""
    return next((unit for unit in _RESOLUTIONS if mtime % unit == 0), 1)


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
