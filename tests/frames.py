"""Frames in memory, selections of them, and a log of frames that are read."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from nd2._core.frames.plan import FrameTable
from nd2._core.frames.read import Frames
from nd2._core.io import open_source

if TYPE_CHECKING:
    import pytest
    from numpy.typing import NDArray

    from nd2._core.format.pixels import PixelLayout


def make_frames(
    layout: PixelLayout, count: int, missing: frozenset[int], order: list[int], gaps: list[int]
) -> tuple[Frames, NDArray[Any]]:
    """Frames in a file in memory, in any order and at any distance, and the pixels that they hold."""
    rng = np.random.default_rng(count)
    pixels = rng.integers(0, 200, (count, *layout.shape)).astype(layout.dtype)
    table = np.zeros((2, count), np.uint64)
    content = b"x"
    for frame, gap in zip(order, gaps, strict=True):
        if frame in missing:
            pixels[frame] = 0
            continue
        data = layout.encode(pixels[frame])
        data = zlib.compress(data) if layout.codec == "zlib" else data
        content += b"\xff" * gap
        table[:, frame] = len(content), len(data)
        content += data
    source = open_source(io.BytesIO(content))
    return Frames(source, FrameTable(table[0], table[1]), layout), pixels


def log_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each frame is added when it is read."""
    seen: list[int] = []
    read = Frames.read

    def spy(self: Frames, index: NDArray[np.intp], *rest: Any, **options: Any) -> NDArray[Any]:
        seen.extend(index.tolist())
        return read(self, index, *rest, **options)

    monkeypatch.setattr(Frames, "read", spy)
    return seen


def axis_pick(size: int) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.just(slice(None)),
        st.slices(size),
        st.lists(st.integers(0, size - 1), max_size=4).map(lambda p: np.array(p, np.intp)),
    )
