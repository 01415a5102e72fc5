"""Compression of frames in the background, on all cores, with bounded memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from nd2._core.format.inflate import deflate_zlib
from nd2._core.frames import pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

_LEVEL = 1
"""Compression level: higher ones are slower and do not make noise smaller."""


class BackgroundCompression:
    """Compresses frames and writes them; `failure` is the first error."""

    def __init__(self, write: Callable[[int, bytes, bytes], None], release: Callable[[int], None]) -> None:
        self._write, self._release = write, release
        self._lock = threading.Lock()
        self._pending: set[Future[None]] = set()
        self._room = threading.BoundedSemaphore(pool.workers() + 1)
        self.failure: BaseException | None = None

    def submit(self, index: int, stamp: bytes, data: memoryview) -> None:
        """Compress and write a frame in the background; wait while enough frames are pending."""
        self._room.acquire()
        future = pool.submit(self._run, index, stamp, data)
        with self._lock:
            self._pending.add(future)
        future.add_done_callback(self._done)

    def _run(self, index: int, stamp: bytes, data: memoryview) -> None:
        try:
            self._write(index, stamp, deflate_zlib(data, _LEVEL))
        except BaseException as error:
            with self._lock:
                self.failure = self.failure or error
            self._release(index)

    def _done(self, future: Future[None]) -> None:
        self._room.release()
        with self._lock:
            self._pending.discard(future)

    def wait(self) -> None:
        """Wait until no frame is pending."""
        while True:
            with self._lock:
                pending = list(self._pending)
            if not pending:
                return
            for future in pending:
                future.exception()
