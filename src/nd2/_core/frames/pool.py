"""The small thread pool in which frames are read and inflated; the interpreter lock is free during both."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

_lock = threading.Lock()
_executor: ThreadPoolExecutor | None = None


def workers() -> int:
    """Return how many threads read and decode at once: one for each core, at most eight."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    return min(cores, 8)


def _pool() -> ThreadPoolExecutor:
    global _executor
    with _lock:
        if _executor is None:
            _executor = ThreadPoolExecutor(workers(), thread_name_prefix="nd2")
        return _executor


def _forget() -> None:
    """Start anew in a forked process, which inherits the objects but not the threads."""
    global _lock, _executor
    _lock, _executor = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def run(
    calls: Sequence[tuple[Callable[..., None], Any] | tuple[Callable[..., None], Any, Any]],
) -> None:
    """Make all calls, several at a time; the first error is raised when none is running any more.

    Parameters
    ----------
    calls : sequence of tuples
        Function and its arguments. They must not call this function in turn.
    """
    if len(calls) < 2:
        for function, *arguments in calls:
            function(*arguments)
        return
    n = workers()
    remaining = iter(calls)
    take = threading.Lock()

    def work() -> None:
        nonlocal remaining
        while True:
            with take:
                call = next(remaining, None)
            if call is None:
                return
            try:
                call[0](*call[1:])
            except BaseException:
                with take:
                    remaining = iter(())
                raise

    # The calling thread works, too: a read makes progress even when the pool is busy with others.
    futures = [_pool().submit(work) for _ in range(min(n, len(calls)) - 1)]
    try:
        work()
    finally:
        errors = [future.exception() for future in futures if not future.cancel()]
    for error in errors:
        if error is not None:
            raise error


def submit(function: Callable[..., None], *arguments: Any) -> Future[None]:
    """Make one call in the background; it must not wait for other calls of this pool."""
    return _pool().submit(function, *arguments)
