"""Local files by positional reads, without lock, shared file position or memory map; and open file objects.

Open files are a bounded resource: all local sources of a process share one limit.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
import threading
import weakref
import zlib
from copy import copy
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from nd2._core import errors
from nd2._core.io.source import ByteSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import IOBase

    from nd2._core.io.source import Span


_R = TypeVar("_R")
_T = TypeVar("_T")
_O_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_MAX_HANDLES = 2048
_DEFAULT_LIMIT = 256
"""Maximum number of open files if the system does not state a limit."""
_XARRAY_DEFAULT = 128
_MAX_READ = 1 << 30
"""Maximum bytes of a single read, which Linux cuts at 0x7ffff000 bytes."""
_TAIL = 4096
"""Bytes at the end of a file, with its chunk map, that distinguish it from others of its length."""
_RESOLUTIONS = (2_000_000_000, 1_000_000_000, 1_000_000, 1_000, 100)
"""Resolutions of modification times in nanoseconds, the coarsest first."""
_CHANGED = "the file changed since it was opened; open it again"
_LOST = (errno.ESTALE, errno.ENOTCONN)
"""Errors of network file systems after which a new handle may work."""


class Handle:
    """An open file. It is closed when nothing refers to it: never under a read of another thread.

    ``size`` (bytes) and ``mtime`` (nanoseconds) are those when it was opened. Every read sets ``recent``;
    handles that were not read recently are closed first.
    """

    __slots__ = ("__weakref__", "_forget", "fd", "mtime", "recent", "size")

    def __init__(self, fd: int, forget: weakref.WeakMethod[Callable[[Handle], None]]) -> None:
        self.fd = fd
        self.recent = False
        self._forget = forget
        status = os.fstat(fd)
        self.size, self.mtime = status.st_size, status.st_mtime_ns

    def is_changed(self) -> bool:
        """Return whether the file was written to since it was opened."""
        status = os.fstat(self.fd)
        return status.st_mtime_ns != self.mtime or status.st_size != self.size

    def drop(self) -> None:
        """Make the owner forget this handle, which closes it when no read uses it any more."""
        forget = self._forget()
        if forget is not None:
            forget(self)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.fd)


_handles: dict[int, weakref.ref[Handle]] = {}
_lock = threading.Lock()
_learned_limit = _MAX_HANDLES


def open_handle(path: str, forget: weakref.WeakMethod[Callable[[Handle], None]]) -> Handle:
    """Open a file; if there would be too many, others that were not read recently are closed.

    ``forget`` makes the owner give up its reference to the handle; it is called from any thread.
    """
    if _handles:
        with _lock:
            _make_room(max_handles() - 1)
    try:
        fd = os.open(path, _O_FLAGS)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        # Other parts of the program hold most descriptors: from now on leave some to them.
        global _learned_limit
        with _lock:
            _learned_limit = max(len(_handles) // 2, 1)
            _make_room(_learned_limit - 1)
        fd = os.open(path, _O_FLAGS)
    handle = Handle(fd, forget)
    key = id(handle)
    _handles[key] = weakref.ref(handle, lambda _: _handles.pop(key, None))
    return handle


def max_handles() -> int:
    """Return the maximum number of open files: half of the limit of the process, or xarray's setting."""
    try:
        import resource
    except ImportError:  # Windows
        limit = _DEFAULT_LIMIT
    else:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = _MAX_HANDLES if soft == resource.RLIM_INFINITY else soft // 2
    limit = min(limit, _learned_limit)
    options: Any = getattr(sys.modules.get("xarray"), "get_options", dict)()
    setting = options.get("file_cache_maxsize", _XARRAY_DEFAULT)
    return max(limit if setting == _XARRAY_DEFAULT else min(limit, setting), 1)


def _make_room(count: int) -> None:
    """Drop handles until at most ``count`` are left, those that were not read recently first."""
    for _ in range(2):  # the second round meets those that the first has marked as not recent
        for key, reference in list(_handles.items()):
            if len(_handles) <= count:
                return
            handle = reference()
            if handle is None:
                continue
            if handle.recent:
                handle.recent = False
                # To the end of the queue.
                if _handles.pop(key, None) is not None:
                    _handles[key] = reference
                continue
            handle.drop()
            _handles.pop(key, None)


def _start_again() -> None:
    """Replace a lock that a thread of the parent process may hold."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_again)


class LocalSource(ByteSource):
    """Bytes of a file in the local file system.

    The handle is one of a bounded number in the process: it may be closed between two reads, and
    is opened again by the next one, which checks that the file is the same.

    Parameters
    ----------
    owner : file object, optional
        The open file that the caller gave instead of the path: the source counts as closed when that is closed.
    """

    owns_handle = True
    url = ""
    size = 0
    _owner: IOBase | None = None

    def __init__(self, path: str, owner: IOBase | None = None) -> None:
        self.url = os.path.abspath(path)
        self._owner = owner
        self._lock = threading.Lock()
        self._handle: Handle | None = None
        handle = self._open()
        self.size, self._mtime = handle.size, handle.mtime
        self._tail = self._read_tail(handle)
        self._handle = handle

    def _open(self) -> Handle:
        # Checked before opening: opening a pipe would wait for its writer.
        mode = os.stat(self.url).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder, not an ND2 file", self.url)
        if not stat.S_ISREG(mode):
            raise errors.not_nd2("not a regular file", path=self.url)
        return open_handle(self.url, weakref.WeakMethod(self._forget))

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
        same = size == self.size and (
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
    def closed(self) -> bool:
        """Whether ``close`` was called here, or on the file that the caller gave."""
        return self._closed or (self._owner is not None and self._owner.closed)

    @property
    def identity(self) -> tuple[str, int, str]:
        """``(path, size, mtime in ns)``."""
        return (self.url, self.size, str(self._mtime))

    def read(self, offset: int, nbytes: int) -> bytes:
        return self.read_many([(offset, nbytes)])[0]

    def read_many(self, spans: Sequence[Span]) -> list[bytes]:
        for offset, nbytes in spans:
            self.check(offset, nbytes)
        return self._attempt(self._read, spans)

    def read_into(self, targets: Sequence[tuple[int, memoryview]]) -> None:
        self._attempt(self._fill, targets)

    def _attempt(self, read: Callable[[Handle, _R], _T], ranges: _R) -> _T:
        """Read ranges with the handle, or with a new one if the server has lost it."""
        handle = self._handle or self._open_handle()
        handle.recent = True
        try:
            data = read(handle, ranges)
            changed = handle.is_changed()
        except OSError as error:
            if error.errno not in _LOST:
                raise
            self.release()
            handle = self._open_handle()
            data = read(handle, ranges)
            changed = handle.is_changed()
        if changed:
            raise errors.source(_CHANGED, path=self.url)
        return data

    def _read(self, handle: Handle, spans: Sequence[Span]) -> list[bytes]:
        found = []
        for offset, nbytes in spans:
            data = _pread(handle.fd, nbytes, offset) if 0 < nbytes <= _MAX_READ else b""
            if len(data) < nbytes:
                buffer = bytearray(nbytes)
                self._fill(handle, [(offset, memoryview(buffer))])
                data = bytes(buffer)
            found.append(data)
        return found

    def _fill(self, handle: Handle, targets: Sequence[tuple[int, memoryview]]) -> None:
        for offset, buffer in targets:
            nbytes, done, view = buffer.nbytes, 0, buffer
            self.check(offset, nbytes)
            while done < nbytes:
                if done or nbytes > _MAX_READ:
                    view = buffer.cast("B")[done : done + _MAX_READ]
                got = _preadinto(handle.fd, view, offset + done)
                if not got:
                    raise errors.source(
                        f"file ends {nbytes - done} bytes too early; was it cut while it was read?",
                        path=self.url,
                        offset=offset + done,
                    )
                done += got

    def release(self) -> None:
        self._handle = None

    def reopen(self) -> LocalSource:
        return copy(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("url", "size", "_mtime", "_tail")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock(), _handle=None)


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
        data = _pread(fd, view.nbytes, offset)
        view.cast("B")[: len(data)] = data
        return len(data)


class FileObjectSource(ByteSource):
    """Bytes of an open, seekable, binary file object: the only source that locks, because it has one position.

    The object stays the caller's: closing the source does not close it.
    """

    url = ""
    size = 0

    def __init__(self, handle: BinaryIO) -> None:
        if isinstance(handle, io.TextIOBase):
            raise TypeError("the file must be opened in binary mode ('rb')")
        if not (hasattr(handle, "read") and hasattr(handle, "seek")):
            raise TypeError(f"expected a path or a binary file object, got {type(handle).__name__}")
        self._handle = handle
        self._lock = threading.Lock()
        # Not id(): another object may have the address of one that is gone.
        self._key = os.urandom(8).hex()
        name = getattr(handle, "name", "")
        self.url = name if isinstance(name, str) else ""
        with self._lock:
            self.size = handle.seek(0, io.SEEK_END)

    @property
    def identity(self) -> tuple[str, int, str]:
        """``(name, size, identity of the object)``."""
        return (self.url, self.size, f"object {self._key}")

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called here, or on the file object itself."""
        return self._closed or bool(getattr(self._handle, "closed", False))

    def read(self, offset: int, nbytes: int) -> bytes:
        if self.closed:
            raise errors.closed(self.url)
        self.check(offset, nbytes)
        parts: list[bytes] = []
        left = nbytes
        with self._lock:
            self._handle.seek(offset)
            while left:
                part = self._handle.read(left)
                if not part:
                    raise errors.source(f"file ends {left} bytes too early", path=self.url, offset=offset)
                parts.append(part)
                left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def reopen(self) -> FileObjectSource:
        new = object.__new__(FileObjectSource)
        vars(new).update(vars(self), _closed=False)
        return new

    def __getstate__(self) -> dict[str, object]:
        if isinstance(self._handle, io.BytesIO):
            return {"data": self._handle.getvalue(), "key": self._key}
        raise TypeError(f"a {type(self._handle).__name__} cannot be sent to another process; open the file by its path")

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(io.BytesIO(state["data"]))  # type: ignore[misc]
        self._key = state["key"]
