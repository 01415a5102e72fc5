"""Work on the workers of dask.distributed: a window of tasks, each of which may be done again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_Item = TypeVar("_Item")

_MAX_MESSAGE = 1 << 20
"""Most bytes in the arguments of each task; an array in memory may be larger."""
_SPARE = 8
"""Tasks beyond two for each thread: there may be no worker yet, and adaptive clusters grow by them."""
_MAX_WAIT = 300.0
"""Longest time in seconds to wait for running tasks after an error."""


def threads(client: Any) -> int:
    """Return the number of threads of a cluster; it may change.

    Raises
    ------
    TypeError
        If this is not a client of dask.distributed.
    ValueError
        If the client is asynchronous.
    """
    if not callable(getattr(client, "nthreads", None)):
        raise TypeError(f"client must be a distributed.Client, not {type(client).__name__}")
    if client.asynchronous:
        raise ValueError("client is asynchronous; use one that was made with asynchronous=False")
    return sum(client.nthreads().values())


def process(client: Any, work: Callable[..., Any], items: Sequence[_Item], **arguments: Any) -> Iterator[_Item]:
    """Call ``work(item, **arguments)`` on workers; yield each item when it is done.

    The scheduler repeats tasks of workers that are lost: ``work`` must be repeatable. After an error
    no task starts, and the error is raised when all running ones have ended.
    """
    from distributed import as_completed, wait

    pending = iter(items)
    running: dict[Any, _Item] = {}
    completed = as_completed()  # type: ignore[no-untyped-call]

    def fill() -> None:
        window = 2 * threads(client) + _SPARE
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
            with suppress(asyncio.TimeoutError, TimeoutError, asyncio.CancelledError):
                wait(list(running), timeout=_MAX_WAIT)  # type: ignore[no-untyped-call]


def share(client: Any, value: Any) -> Any:
    """Return a pickle of a value for all tasks: bytes, or a future of them if they are many."""
    import cloudpickle

    data = cloudpickle.dumps(value)
    return client.scatter(data, broadcast=True) if len(data) > _MAX_MESSAGE else data


def own_threads() -> int:
    """Return the number of threads of the worker that runs this task."""
    from distributed import get_worker

    return int(get_worker().state.nthreads)
