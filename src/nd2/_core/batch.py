"""Commands over several files: patterns, ``--out-dir``, and errors that affect one file only."""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.io.listing import expand, has_pattern
from nd2._core.io.urls import file_stem, is_url, local_path, redact
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MAX_STATUS = 100
"""Highest exit status: above 125, shells have meanings of their own."""
_TIMEOUT = 10
"""Seconds to wait for a scheduler."""


@record
class Task:
    """One file of a batch: its path, and the path of its output."""

    source: str
    dest: str


def plan_tasks(
    files: Sequence[str],
    suffix: str,
    dest: str | None = None,
    out_dir: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> list[Task]:
    """Return the tasks of a command, patterns expanded; each output gets the name of its file and ``suffix``.

    Without ``dest`` and ``out_dir``, the second of two paths is the destination, unless it is an ND2 file and
    ``suffix`` is not ``".nd2"``; otherwise the outputs go to the working folder.
    """
    if dest is not None and out_dir is not None:
        raise ValueError(f"give a destination ({dest!r}) or --out-dir, not both")
    if dest is None and out_dir is None and second_is_dest(files, suffix):
        files, dest = files[:1], files[1]
    if len(files) > 2 and not _is_source(files[-1]) and not os.path.lexists(local_path(files[-1])):
        raise ValueError(f"{files[-1]!r} does not exist; the outputs of several files need --out-dir")
    sources = [source for file in files for source in expand(file, storage_options)]
    if dest is not None:
        if dest == "-":
            raise ValueError("the output must be a path: '-' is not supported")
        if len(sources) > 1:
            raise ValueError(f"{len(sources)} files cannot be written to one destination, {dest!r}; use --out-dir")
        return [Task(sources[0], dest)]
    if out_dir is None and suffix == ".nd2":
        raise ValueError("say where to write: a second path for one file, --out-dir for several")
    tasks = [Task(source, _join(out_dir or "", f"{file_stem(source)}{suffix}")) for source in sources]
    twice = [name for name, count in Counter(task.dest for task in tasks).items() if count > 1]
    if twice:
        same = [redact(task.source) for task in tasks if task.dest == twice[0]]
        raise ValueError(
            f"{' and '.join(same)} would both be written to {twice[0]!r}; "
            "convert them one by one, or into different folders"
        )
    return tasks


def second_is_dest(files: Sequence[str], suffix: str) -> bool:
    """Return whether the second of two paths is the destination; see `plan_tasks`."""
    return len(files) == 2 and (suffix == ".nd2" or not _is_source(files[1]))


def _is_source(path: str) -> bool:
    """Return whether an argument is a file to read: a pattern, or an ND2 file by its name."""
    if has_pattern(path):
        return True
    exists = is_url(path) or os.path.lexists(local_path(path))
    return exists and path.lower().endswith(".nd2")


def _join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else os.path.join(folder, name)


def run_batch(
    command: str, tasks: Sequence[Task], work: Callable[[Task], object], *, at_once: int = 1, progress: bool = False
) -> int:
    """Process each task, print errors and continue after them; return the number of files that failed, at most 100.

    A missing package or a closed output stops the batch. With ``at_once``, several tasks run in threads; ``progress``
    shows how many files are done.
    """

    def fails(task: Task) -> bool:
        try:
            work(task)
        except (ImportError, BrokenPipeError):
            raise
        except Exception as error:
            text, name = errors.one_line(error), redact(task.source)
            if os.path.basename(name) not in text:
                text = f"{name}: {text}"
            sys.stderr.write(f"nd2 {command}: {text}\n")
            return True
        return False

    if at_once < 2:
        return min(sum(map(fails, tasks)), MAX_STATUS)
    from concurrent.futures import ThreadPoolExecutor, as_completed

    from nd2._core.export.pipeline import bar

    failed = 0
    with (
        bar(progress, len(tasks), "file") as advance,
        ThreadPoolExecutor(at_once, thread_name_prefix="nd2-batch") as executor,
    ):
        futures = [executor.submit(fails, task) for task in tasks]
        try:
            for future in as_completed(futures):
                failed += future.result()
                advance(1)
        finally:
            for future in futures:
                future.cancel()
    return min(failed, MAX_STATUS)


@contextmanager
def cluster(address: str | None) -> Iterator[Any]:
    """Yield a client of the dask scheduler at an address; None without one."""
    if address is None:
        yield None
        return
    with errors.requirement("distributed", "distributed", "for --dask"):
        from distributed import Client
    with Client(address, timeout=_TIMEOUT) as client:  # type: ignore[no-untyped-call]
        yield client
