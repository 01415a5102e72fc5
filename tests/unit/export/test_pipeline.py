"""Work on a cluster."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nd2._core.export.pipeline import file_batches


@pytest.mark.parametrize(
    ("threads", "count", "sizes"),
    [
        ({"a": 4, "b": 4}, 64, [2] * 32),
        ({"a": 1}, 6, [1] * 6),
        ({"a": 1}, 1000, [64] * 15 + [40]),
        ({}, 4, [1] * 4),  # there may be no worker yet
        ({"a": 1}, 0, []),
    ],
)
def test_there_are_four_tasks_for_each_thread(threads: dict[str, int], count: int, sizes: list[int]) -> None:
    client = SimpleNamespace(asynchronous=False, nthreads=lambda: threads)
    batches = file_batches(client, range(count))
    assert [len(batch) for batch in batches] == sizes
    assert [file for batch in batches for file in batch] == list(range(count))
