"""Reading in one thread and writing in others, with few blocks in memory; a progress bar."""

from __future__ import annotations

import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

_Block = TypeVar("_Block")


def pump(
    blocks: Iterable[_Block], write: Callable[[_Block], None], done: Callable[[_Block], None], *, writers: int
) -> None:
    """Write each block in one of ``writers`` threads; at most one block more is in memory.

    ``done`` is called in this thread after each block, in the order of the blocks. The first error
    of reading or writing is raised after all threads have finished.
    """
    pending: deque[tuple[Future[None], _Block]] = deque()

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


@contextmanager
def bar(show: bool, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of items done since its last call.

    With ``show``, tqdm displays them on the standard error stream; if tqdm is not installed, a counter.
    """
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
