"""Reading in one thread and writing in others, with only a few blocks in memory between them."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

_Block = TypeVar("_Block")


def pump(
    blocks: Iterable[_Block],
    write: Callable[[_Block], None],
    done: Callable[[_Block], None],
    *,
    writers: int,
) -> None:
    """Hand each block to ``write`` in another thread; call ``done`` here when it is written, in the order of the blocks.

    Parameters
    ----------
    blocks : iterable
        Blocks; taking the next one reads it.
    write : callable
        Writes a block.
    done : callable
        Called in this thread for each block that is written.
    writers : int
        How many threads write. One more block than these is kept in memory.

    Raises
    ------
    Exception
        The first error of reading or writing, when no thread writes any more.
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
