"""The read plan, against plain NumPy, over every layout of a frame; and the cache of decoded frames."""

from __future__ import annotations

import io
import math
import pickle
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nd2._core.format.pixels import PixelLayout
from nd2._core.frames import plan, read
from nd2._core.frames.plan import FrameTable
from nd2._core.frames.read import FrameCache, Frames
from nd2._core.frames.selection import normalize
from nd2._core.io import open_source
from tests.frames import axis_pick, make_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from nd2._core.format.pixels import Codec
    from nd2._core.frames.plan import Picks


@st.composite
def layouts(draw: st.DrawFn) -> PixelLayout:
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    # Frames of one channel without padding, whose bytes are those of arrays, are read in a special way.
    channels = draw(st.one_of(st.just(1), st.integers(1, 12)))
    samples = draw(st.sampled_from([1, 1, 3]))
    dtype = np.dtype(draw(st.sampled_from(["u1", "<u2", "<i2", "<u4", "<f4"])))
    packed = width * channels * samples * dtype.itemsize
    padding = draw(st.one_of(st.just(0), st.integers(0, 9)))
    codec: Codec = draw(st.sampled_from(["raw", "zlib"]))
    return PixelLayout(height, width, channels, samples, dtype, packed + padding, codec)


@st.composite
def stored_frames(draw: st.DrawFn) -> tuple[Frames, NDArray[Any]]:
    count = draw(st.integers(1, 6))
    order = draw(st.permutations(range(count)))
    gaps = draw(st.lists(st.sampled_from([0, 0, 7, 7, 40_000]), min_size=count, max_size=count))
    missing = draw(st.frozensets(st.integers(0, count - 1), max_size=2))
    return make_frames(draw(layouts()), count, missing, order, gaps)


def normalized(frames: Frames, picks: tuple[Any, ...]) -> Picks:
    return tuple(normalize(p, size) for p, size in zip(picks, frames.pixels.shape, strict=True))


@contextmanager
def read_in_blocks_of(nbytes: int) -> Iterator[None]:
    """Cut reads as those of large files are cut, though the frames are small."""
    with (
        patch.object(plan, "BLOCK", nbytes),
        patch.object(plan, "DIRECT", 4 * nbytes),
        patch.object(read, "_local", threading.local()),
    ):
        yield


# One of these is larger than all frames, the others are smaller than some.
@pytest.mark.parametrize("block", [plan.BLOCK, 512, 64])
@settings(max_examples=200)
@given(st.data())
def test_any_part_of_any_frames_equals_numpy(block: int, data: st.DataObject) -> None:
    frames, pixels = data.draw(stored_frames())
    index = np.array(data.draw(st.permutations(range(len(pixels)))), np.intp)
    index = index[: data.draw(st.integers(1, len(index)))]
    picks = tuple(data.draw(axis_pick(size)) for size in frames.pixels.shape)
    expected = pixels[index]
    for axis, pick in enumerate(picks, start=1):
        expected = expected[(slice(None),) * axis + (pick,)]
    with read_in_blocks_of(block):
        found = frames.read(index, normalized(frames, picks))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == frames.pixels.dtype
    assert found.flags.c_contiguous


@pytest.mark.parametrize(
    "pick",
    [
        {1: slice(None, None, 2)},
        {1: slice(None, None, -1)},
        {1: slice(100, 900)},
        {1: np.arange(1024)},
        {0: np.array([0, 0])},
        {2: slice(None, None, -1)},
        {3: slice(None, None, -1)},
    ],
)
def test_parts_of_frames_that_are_large_enough_to_be_read_into_their_place(pick: dict[int, Any]) -> None:
    layout = PixelLayout(1024, 512, 1, 3, np.dtype("u1"), 1536)
    frames, pixels, _ = counted(layout, 2)
    picks = normalized(frames, tuple(pick.get(axis, slice(None)) for axis in range(4)))
    expected = pixels
    for axis, one in pick.items():
        expected = expected[(slice(None),) * (axis + 1) + (one,)]
    np.testing.assert_array_equal(frames.read(np.arange(2), picks), expected)


def test_large_reads_are_cut_into_blocks() -> None:
    frames, pixels, source = counted(PixelLayout(8, 8, 2, 1, np.dtype("<u2"), 32), 100)
    with read_in_blocks_of(16 << 10):
        np.testing.assert_array_equal(frames.read(np.arange(100)), pixels)
    step = 4096 + 256
    assert max(nbytes for _, nbytes in source.spans) <= (16 << 10) + step
    assert len(source.spans) == math.ceil(100 * step / (16 << 10))


def test_a_frame_of_several_pieces_is_there_when_all_of_them_are() -> None:
    lengths = np.array([5, 5, 5, 0, 0, 5, 0, 0], np.uint64)
    table = FrameTable(np.arange(8, dtype=np.uint64), lengths, 2)
    assert table.present(5).tolist() == [True, False, False, False, False]
    assert table.present(1).tolist() == [True]


class Counting:
    """A byte source that notes what is read."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.spans: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def read_into(self, targets: list[tuple[int, memoryview]]) -> None:
        self.spans += [(offset, buffer.nbytes) for offset, buffer in targets]
        self._source.read_into(targets)


def counted(layout: PixelLayout, count: int) -> tuple[Frames, NDArray[Any], Counting]:
    frames, pixels = make_frames(layout, count, frozenset(), list(range(count)), [4096] * count)
    source = Counting(frames.source)
    return Frames(source, frames.table, layout), pixels, source  # type: ignore[arg-type]


def test_a_crop_reads_only_its_rows() -> None:
    layout = PixelLayout(500, 300, 2, 1, np.dtype("<u2"), 1200)
    frames, pixels, source = counted(layout, 3)
    rows = (slice(None), slice(100, 110), slice(5, 9), slice(None))
    found = frames.read(np.array([1]), normalized(frames, rows))
    np.testing.assert_array_equal(found[0], pixels[1][:, 100:110, 5:9])
    assert source.spans == [(int(frames.table.offsets[1]) + 100 * 1200, 10 * 1200)]


def test_rows_far_apart_are_read_alone_and_near_ones_together() -> None:
    layout = PixelLayout(500, 300, 1, 1, np.dtype("<u2"), 600)
    frames, pixels, source = counted(layout, 1)
    rows = np.array([3, 400, 5])
    picks = normalized(frames, (slice(None), rows, slice(None), slice(None)))
    found = frames.read(np.array([0]), picks)
    np.testing.assert_array_equal(found[0], pixels[0][:, rows])
    assert sorted(nbytes for _, nbytes in source.spans) == [600, 3 * 600]


def test_neighbouring_small_frames_are_read_together() -> None:
    frames, pixels, source = counted(PixelLayout(8, 8, 1, 1, np.dtype("<u2"), 16), 100)
    np.testing.assert_array_equal(frames.read(np.arange(100)), pixels)
    assert len(source.spans) == 1


def test_scattered_frames_are_read_alone() -> None:
    frames, pixels, source = counted(PixelLayout(64, 64, 1, 1, np.dtype("<u2"), 128), 100)
    index = np.array([90, 3, 40])
    np.testing.assert_array_equal(frames.read(index), pixels[index])
    assert sum(nbytes for _, nbytes in source.spans) == 3 * layout_bytes(frames)


def layout_bytes(frames: Frames) -> int:
    return frames.pixels.frame_bytes


@pytest.mark.parametrize("codec", ["raw", "zlib"])
def test_a_damaged_frame_is_named(codec: Any) -> None:
    layout = PixelLayout(6, 8, 1, 1, np.dtype("<u2"), 16, codec)
    frames, pixels = make_frames(layout, 3, frozenset(), [0, 1, 2], [0, 0, 0])
    lengths = frames.table.lengths.copy()
    lengths[1] = 1 if codec == "zlib" else 50
    cut = Frames(frames.source, FrameTable(frames.table.offsets, lengths), layout)
    with pytest.raises(ValueError, match=r"ImageDataSeq\|1!.*frame 1, offset \d+"):
        cut.read(np.array([0, 1]))
    np.testing.assert_array_equal(cut.read(np.array([0, 2])), pixels[[0, 2]])


def test_a_frame_beyond_the_end_is_named_before_anything_is_read() -> None:
    layout = PixelLayout(6, 8, 1, 1, np.dtype("<u2"), 16)
    frames, _ = make_frames(layout, 2, frozenset(), [0, 1], [0, 0])
    offsets = frames.table.offsets.copy()
    offsets[1] += 1
    moved = Frames(frames.source, FrameTable(offsets, frames.table.lengths), layout)
    with pytest.raises(ValueError, match=r"beyond the file's end.*frame 1"):
        moved.read(np.arange(2))


@pytest.mark.parametrize("damage", [lambda d: d[:-9], lambda d: b"\0" + d[1:], lambda d: d[:30] + b"\xff" * 9 + d[39:]])
def test_a_stream_that_does_not_inflate_is_named(damage: Callable[[bytes], bytes]) -> None:
    layout = PixelLayout(20, 30, 1, 1, np.dtype("<u2"), 60, "zlib")
    rng = np.random.default_rng(1)
    data = damage(zlib.compress(layout.encode(rng.integers(0, 999, layout.shape))))
    table = FrameTable(np.array([1], np.uint64), np.array([len(data)], np.uint64))
    frames = Frames(open_source(io.BytesIO(b"x" + data)), table, layout)
    with pytest.raises(ValueError, match=r"zlib stream.*frame 0, offset 1"):
        frames.read(np.array([0]))


def test_bytes_behind_a_stream_do_no_harm() -> None:
    layout = PixelLayout(6, 8, 1, 1, np.dtype("<u2"), 16, "zlib")
    pixels = np.arange(48, dtype="<u2").reshape(layout.shape)
    data = zlib.compress(layout.encode(pixels)) + b"\0" * 20
    table = FrameTable(np.array([0], np.uint64), np.array([len(data)], np.uint64))
    frames = Frames(open_source(io.BytesIO(data)), table, layout)
    np.testing.assert_array_equal(frames.read(np.array([0]))[0], pixels)


@pytest.mark.parametrize("channels", [1, 2])
def test_frames_that_are_not_compressed_among_compressed_ones(channels: int) -> None:
    layout = PixelLayout(6, 8, channels, 1, np.dtype("<u2"), 16 * channels, "zlib")
    pixels = np.random.default_rng(0).integers(1, 200, (4, *layout.shape)).astype("<u2")
    stored = [layout.encode(frame) for frame in pixels]
    stored[1::2] = [zlib.compress(data) for data in stored[1::2]]
    lengths = np.array([len(data) for data in stored], np.uint64)
    table = FrameTable(np.cumsum(lengths) - lengths, lengths)
    frames = Frames(open_source(io.BytesIO(b"".join(stored))), table, layout)
    one_by_one = [frames.frame(i) for i in range(4)]  # none of them changes by reading the next
    np.testing.assert_array_equal(one_by_one, pixels)
    np.testing.assert_array_equal(frames.read(np.arange(4)), pixels)
    rows = normalized(frames, (slice(None), slice(1, 3), slice(None), slice(None)))
    for _ in range(2):
        np.testing.assert_array_equal(frames.read(np.arange(4), rows), pixels[:, :, 1:3])


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
