"""Blocks of whole frames, and the ranges of them that workers of a cluster write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nd2._core.export import blocks
from nd2._core.export.blocks import BlockRange, Blocks
from nd2._core.frames.grid import Layout
from nd2._core.structures import Attributes, CustomLoop, ExpLoop, XYPosLoop, XYPosLoopParams
from nd2._core.views.placement import Placement

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


def test_images_of_a_range() -> None:
    loops: list[ExpLoop] = [XYPosLoop(3, 0, XYPosLoopParams(False, [])), CustomLoop(2, 1)]
    sizes: dict[str, Any] = {"componentCount": 1, "heightPx": 4, "widthPx": 4, "sequenceCount": 6, "channelCount": 1}
    attributes = Attributes(16, 16, pixelDataType="unsigned", **sizes)
    placement = Placement.from_layout(Layout.from_experiment(loops, attributes))
    found = Blocks(UNUSED, "", placement, np.arange(6), np.arange(7))
    assert placement.image.tolist() == [0, 0, 1, 1, 2, 2]
    parts = [BlockRange(start, stop, 0) for start, stop in ((0, 6), (0, 2), (1, 3), (5, 6))]
    assert [found.images(part) for part in parts] == [[0, 1, 2], [0], [0, 1], [2]]
