"""Work in threads, with few blocks in memory, and on workers of dask.distributed; a progress bar."""

from __future__ import annotations

import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

_Item = TypeVar("_Item")

_MAX_MESSAGE = 1 << 20
"""Most bytes in the arguments of each task; an array in memory may be larger."""
_SPARE = 8
"""Tasks beyond two for each thread: there may be no worker yet, and adaptive clusters grow by them."""
_MAX_BATCH = 64
"""Maximum number of files per task."""
_MAX_WAIT = 300.0
"""Longest time in seconds to wait for running tasks after an error."""


def pump(
    blocks: Iterable[_Item], write: Callable[[_Item], None], done: Callable[[_Item], None], *, writers: int
) -> None:
    """Write each block in one of ``writers`` threads; at most one block more is in memory.

    ``done`` is called in this thread after each block, in the order of the blocks. The first error
    of reading or writing is raised after all threads have finished.
    """
    pending: deque[tuple[Future[None], _Item]] = deque()

    def settle() -> None:
        future, block = pending.popleft()
        future.result()
        done(block)

    with ThreadPoolExecutor(writers, thread_name_prefix="nd2-export") as executor:
        try:
            for block in blocks:
                pending.append((executor.submit(write, block), block))
                while len(pending) > writers or (pending and pending[0][0].done()):
                    settle()
            while pending:
                settle()
        finally:
            for future, _ in pending:
                future.cancel()


def cluster_threads(client: Any) -> int:
    """Return the number of threads of a cluster, which may change; refuse what is not a synchronous client."""
    if not callable(getattr(client, "nthreads", None)):
        raise TypeError(f"client must be a distributed.Client, not {type(client).__name__}")
    if client.asynchronous:
        raise ValueError("client is asynchronous; use one that was made with asynchronous=False")
    return sum(client.nthreads().values())


def file_batches(client: Any, files: Sequence[_Item]) -> list[Sequence[_Item]]:
    """Return the files of each task on a cluster: about four tasks per thread."""
    size = min(max(len(files) // (4 * max(cluster_threads(client), 1)), 1), _MAX_BATCH)
    return [files[start : start + size] for start in range(0, len(files), size)]


def pump_cluster(client: Any, work: Callable[..., Any], items: Sequence[_Item], **arguments: Any) -> Iterator[_Item]:
    """Call ``work(item, **arguments)`` on workers; yield each item when it is done.

    The scheduler repeats tasks of workers that are lost: ``work`` must be repeatable. After an error
    no task starts, and the error is raised when all running ones have ended.
    """
    import asyncio

    from distributed import as_completed, wait

    pending = iter(items)
    running: dict[Any, _Item] = {}
    completed = as_completed()  # type: ignore[no-untyped-call]

    def fill() -> None:
        window = 2 * cluster_threads(client) + _SPARE
        while len(running) < window:
            item = next(pending, None)
            if item is None:
                return
            future = client.submit(work, item, **arguments, pure=False)
            running[future] = item
            completed.add(future)  # type: ignore[no-untyped-call]

    try:
        fill()
        while running:
            future = next(completed)
            future.result()
            # Released at once: a result that is lost with its worker would be computed again.
            item = running.pop(future)
            future.release()
            del future
            fill()
            yield item
    finally:
        if running:
            with suppress(TimeoutError, asyncio.CancelledError):
                wait(list(running), timeout=_MAX_WAIT)  # type: ignore[no-untyped-call]


def share(client: Any, value: Any) -> Any:
    """Return a pickle of a value for all tasks: bytes, or a future of them if they are many."""
    import cloudpickle

    data = cloudpickle.dumps(value)
    return client.scatter(data, broadcast=True) if len(data) > _MAX_MESSAGE else data


@contextmanager
def bar(show: bool, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of items done since its last call; tqdm or a counter shows them."""
    if not show:
        yield lambda _: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        with _counter(total, unit) as advance:
            yield advance
        return
    with tqdm(total=total, unit=unit) as shown:
        yield shown.update


@contextmanager
def _counter(total: int, unit: str) -> Iterator[Callable[[int], None]]:
    done, shown = 0, -1

    def advance(count: int) -> None:
        nonlocal done, shown
        done += count
        percent = 100 * done // max(total, 1)
        if percent != shown:
            shown = percent
            sys.stderr.write(f"\r{unit} {done}/{total} ({percent} %)")
            sys.stderr.flush()

    try:
        yield advance
    finally:
        sys.stderr.write("\n")
