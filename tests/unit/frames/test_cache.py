"""The cache of decoded frames: its limit, and threads that ask for one frame at once."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from nd2._core.frames.cache import FrameCache


def test_the_cache_keeps_to_its_limit_and_decodes_once_for_all_threads() -> None:
    cache = FrameCache(limit=4 * 800)
    decoded: list[int] = []
    together = threading.Barrier(8)

    def frame(key: int) -> Any:
        def decode() -> Any:
            decoded.append(key)
            return np.full(100, key, np.int64)

        return decode

    def work(_: int) -> None:
        together.wait()
        for key in range(10):
            assert (cache.get(key, frame(key)) == key).all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert sum(key in cache for key in range(10)) == 4
    assert cache._nbytes == 4 * 800
    cache.get(9, frame(9))
    copy = pickle.loads(pickle.dumps(cache))
    assert copy.limit == cache.limit
    assert 9 in cache
    assert 9 not in copy


@pytest.mark.parametrize(("cost", "kept"), [(0.0, "de"), (1.0, "de"), (3.0, "ae")])
def test_the_oldest_frame_is_dropped_unless_it_cost_more(cost: float, kept: str) -> None:
    cache = FrameCache(limit=2 * 8)
    for key in "abcde":
        cache.get(key, lambda: np.zeros(1), cost if key == "a" else min(cost, 1.0))
    assert [key for key in "abcde" if key in cache] == list(kept)


def test_a_frame_that_failed_is_tried_again() -> None:
    cache = FrameCache()

    def fails() -> Any:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        cache.get(1, fails)
    assert 1 not in cache
    assert cache.get(1, lambda: np.zeros(1)).shape == (1,)
