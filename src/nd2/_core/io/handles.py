"""Open files, a bounded resource: all local sources of a process share one limit."""

from __future__ import annotations

import errno
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_O_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_MAX_HANDLES = 2048
_DEFAULT_LIMIT = 256
"""Where the system does not say how many files a process may open."""
_XARRAY_DEFAULT = 128


class Handle:
    """An open file. It is closed when nothing refers to it: never under a read of another thread.

    Attributes
    ----------
    size, mtime : int
        Length in bytes and modification time in nanoseconds of the file when it was opened.
    recent : bool
        Set by every read; handles that were not read recently are closed first.
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
    limit = min(_system_limit() // 2, _learned_limit)
    options: Any = getattr(sys.modules.get("xarray"), "get_options", dict)()
    setting = options.get("file_cache_maxsize", _XARRAY_DEFAULT)
    return max(limit if setting == _XARRAY_DEFAULT else min(limit, setting), 1)


def _system_limit() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 2 * _DEFAULT_LIMIT
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2 * _MAX_HANDLES if soft == resource.RLIM_INFINITY else soft


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
