"""Recently decoded frames, so that another part of the same frame is not decoded again."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from concurrent.futures import Future

    from numpy.typing import NDArray


class FrameCache:
    """The last decoded frames, at most ``limit`` bytes of them; safe to use from several threads.

    A frame that several threads need at once is decoded by one of them. A copy in another process,
    forked or unpickled, is empty at first.
    """

    def __init__(self, limit: int = 128 << 20) -> None:
        self.limit = limit
        self._clear()

    def _clear(self) -> None:
        self._frames: OrderedDict[Hashable, Future[NDArray[Any]]] = OrderedDict()
        self._ranks: dict[Hashable, float] = {}
        self._lowest = 0.0
        self._nbytes = 0
        self._lock = threading.Lock()
        self._process = os.getpid()

    def get(self, frame: Hashable, decode: Callable[[], NDArray[Any]], cost: float = 0.0) -> NDArray[Any]:
        """Return a frame, from `decode` unless it is kept. The caller must not write to it.

        The least recently used frame is dropped first; one of several times the ``cost`` stays as many times as long.
        """
        from concurrent.futures import Future

        if self._process != os.getpid():
            # A thread of the parent may hold the lock, or may have decoded half of a frame.
            self._clear()
        with self._lock:
            future = self._frames.get(frame)
            decoding: Future[NDArray[Any]] = Future()
            self._frames.setdefault(frame, decoding)
            self._frames.move_to_end(frame)
            self._ranks[frame] = self._lowest + cost
        if future is not None:
            return future.result()
        try:
            rows = decode()
        except BaseException as error:
            with self._lock:
                del self._frames[frame], self._ranks[frame]
            decoding.set_exception(error)
            raise
        with self._lock:
            decoding.set_result(rows)
            self._nbytes += rows.nbytes
            while self._nbytes > self.limit:
                kept = (key for key, future in self._frames.items() if future.done())
                oldest = next(kept)
                # Without costs, the first one has the lowest rank.
                if self._ranks[oldest] > self._lowest:
                    oldest = min((oldest, *kept), key=self._ranks.__getitem__)
                self._lowest = self._ranks.pop(oldest)
                self._nbytes -= self._frames.pop(oldest).result().nbytes
        return rows

    def __contains__(self, frame: Hashable) -> bool:
        return frame in self._frames and self._process == os.getpid()

    def __reduce__(self) -> tuple[type[FrameCache], tuple[int]]:
        return (FrameCache, (self.limit,))
