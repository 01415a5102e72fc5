"""Blocks of whole frames, and the ranges of them that workers of a cluster write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nd2._core.export import blocks
from nd2._core.export.blocks import Blocks

UNUSED: Any = None


@pytest.mark.parametrize("sizes", [[1], [3], [1] * 100, [5, 1, 1, 9, 2], [7] * 33])
@pytest.mark.parametrize("threads", [0, 1, 2, 50])
@pytest.mark.parametrize("frame_bytes", [1, 50 << 20, 1 << 40])
def test_ranges_hold_each_block_once(sizes: list[int], threads: int, frame_bytes: int) -> None:
    parts = Blocks(UNUSED, "", UNUSED, UNUSED, np.cumsum([0, *sizes])).parts(frame_bytes, threads)
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(len(sizes)))
    assert [part.frames for part in parts] == [sum(sizes[p.start : p.stop]) for p in parts]
    assert min(part.frames for part in parts) > 0


def test_ranges_are_neither_too_large_nor_too_small() -> None:
    found = Blocks(UNUSED, "", UNUSED, UNUSED, np.arange(0, 2001, 2))
    parts = found.parts(1 << 20, 2)
    assert 16 <= len(parts) <= 17  # 8 for each thread
    assert max(part.frames for part in parts) <= 2000 // 16 + 2
    parts = found.parts(16 << 20, 2)
    assert max(part.frames for part in parts) * (16 << 20) <= blocks._MAX_PART
