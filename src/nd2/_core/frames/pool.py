"""A small thread pool for reading and inflating frames.

The interpreter lock is released during both.
"""

from __future__ import annotations

import os
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

_T = TypeVar("_T")
_MAX_THREADS = 8
_MAX_WAITING = 128
"""Threads of asynchronous reads, which wait for requests and for the other threads."""
_limit = _MAX_THREADS


def limit(threads: int) -> None:
    """Limit the threads of this process, for example of a cluster worker that may use only some cores."""
    global _limit
    _limit = min(max(threads, 1), _MAX_THREADS)


def workers() -> int:
    """Return the number of threads: one per core, at most eight."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    return min(cores, _limit)


@cache
def _executor(threads: int) -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(threads, thread_name_prefix="nd2")


if hasattr(os, "register_at_fork"):
    # A forked process inherits the objects but not the threads.
    os.register_at_fork(after_in_child=_executor.cache_clear)


def run(calls: Sequence[tuple[Callable[..., None], Any] | tuple[Callable[..., None], Any, Any]]) -> None:
    """Make all calls, several at a time; the first error is raised when all have ended."""
    if len(calls) < 2:
        for function, *arguments in calls:
            function(*arguments)
        return
    remaining = deque(calls)

    def work() -> None:
        while remaining:
            try:
                function, *arguments = remaining.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                function(*arguments)
            except BaseException:
                remaining.clear()
                raise

    # The calling thread works as well: a read makes progress even when the pool is busy.
    futures = [submit(work) for _ in range(min(workers(), len(calls)) - 1)]
    try:
        work()
    finally:
        errors = [future.exception() for future in futures if not future.cancel()]
    for error in errors:
        if error is not None:
            raise error


def submit(function: Callable[..., None], *arguments: Any) -> Future[None]:
    """Make one call in the background; it must not wait for other calls of this pool.

    A thread that outlives the main thread makes the call itself: the pool accepts nothing then.
    """
    try:
        return _executor(workers()).submit(function, *arguments)
    except RuntimeError:
        from concurrent.futures import Future

        future: Future[None] = Future()
        try:
            function(*arguments)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)
        return future


async def run_async(function: Callable[..., _T], *arguments: Any) -> _T:
    """Make one call without blocking the event loop; many may wait at the same time."""
    import asyncio

    return await asyncio.get_running_loop().run_in_executor(_executor(_MAX_WAITING), function, *arguments)
