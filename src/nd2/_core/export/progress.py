"""Progress bars: tqdm where it is installed, a plain counter otherwise."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def bar(show: bool, total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Give a function that takes the number of items done since its last call.

    Parameters
    ----------
    show : bool
        Whether anything is shown (on the standard error stream).
    total : int
        Number of items.
    what : str
        What is counted, such as ``"frame"``.
    """
    if not show:
        yield lambda _: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        with _counter(total, what) as advance:
            yield advance
        return
    with tqdm(total=total, unit=what) as shown:
        yield shown.update


@contextmanager
def _counter(total: int, what: str) -> Iterator[Callable[[int], None]]:
    done, shown = 0, -1

    def advance(count: int) -> None:
        nonlocal done, shown
        done += count
        percent = 100 * done // max(total, 1)
        if percent != shown:
            shown = percent
            sys.stderr.write(f"\r{what} {done}/{total} ({percent} %)")
            sys.stderr.flush()

    try:
        yield advance
    finally:
        sys.stderr.write("\n")
