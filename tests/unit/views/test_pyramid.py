"""Levels that are computed when they are read: against whole levels, with rows counted."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nd2._core.export.zarr_documents import ImageAxes
from nd2._core.frames.array import FrameArray
from nd2._core.frames.read import Frames
from nd2._core.frames.selection import LazyArray
from nd2._core.open import open_reader
from nd2._core.views import pyramid as module
from nd2._core.views.pyramid import Pyramid, halve, level_count, pyramid
from tests.builder import build

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class Counted(LazyArray):
    """An image in memory that counts the rows that are read of each frame."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __init__(self, values: NDArray[Any], dims: tuple[str, ...], *, fail: int = 0) -> None:
        self.values, self.dims = values, dims
        self.shape, self.dtype = values.shape, values.dtype
        self.rows = 0
        self.reads = 0
        self.fail = fail

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        if self.fail:
            self.fail -= 1
            raise OSError("lost")
        part: NDArray[Any] = self.values[key]
        self.reads += 1
        self.rows += len(range(self.values.shape[self.dims.index("Y")])[key[self.dims.index("Y")]])
        return part.copy()

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (self.values,)


def frames_of(path: Path, **spec: Any) -> tuple[FrameArray, NDArray[Any]]:
    made = build(path, **spec)
    with open_reader(path) as reader:
        image = FrameArray.from_layout(reader.frames, reader.layout)
        lasting = image.with_source(reader.source.reopen())
    return lasting.with_dims([d for d, n in image.all_sizes.items() if n > 1]), made.array


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f4"])
@pytest.mark.parametrize("shape", [(6, 8), (7, 5), (1, 3), (3, 1), (2, 9, 4)])
def test_halving_takes_the_mean_of_four_pixels_rounded(shape: tuple[int, ...], dtype: str) -> None:
    data = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    data.flat[0] = np.iinfo(dtype).max if data.dtype.kind != "f" else np.nan
    padded = np.pad(data, [(0, 0)] * (data.ndim - 2) + [(0, n % 2) for n in shape[-2:]], mode="edge").astype(float)
    mean = (padded[..., ::2, ::2] + padded[..., 1::2, ::2] + padded[..., ::2, 1::2] + padded[..., 1::2, 1::2]) / 4
    expected = mean if data.dtype.kind == "f" else np.floor(mean + 0.5)
    halved = halve(data)
    assert halved.dtype == data.dtype
    np.testing.assert_array_equal(halved, expected.astype(dtype))
    np.testing.assert_array_equal(halve(data, nearest=True), data[..., ::2, ::2])
    np.testing.assert_array_equal(halve(data[..., None], axis=-3)[..., 0], halved)


@pytest.mark.parametrize(("height", "width", "count"), [(1, 1, 1), (512, 512, 1), (513, 2, 2), (12000, 9000, 6)])
def test_levels_end_with_the_first_that_fits_into_a_tile(height: int, width: int, count: int) -> None:
    assert level_count(height, width) == count


@pytest.mark.parametrize("dims", ["TCYX", "YX", "TYXS", "TZCYXS"])
@pytest.mark.parametrize("nearest", [False, True])
def test_levels_are_those_of_the_whole_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dims: str, nearest: bool
) -> None:
    monkeypatch.setattr(module, "_BAND_BYTES", 64 * 8)
    loops = [(dim, 2) for dim in dims if dim in "TZ"]
    spec = {"channels": 3 if "C" in dims else 1, "samples": 3 if "S" in dims else 1}
    image, values = frames_of(tmp_path / "a.nd2", loops=loops, height=77, width=53, **spec)
    assert image.dims == tuple(dims)
    levels = Pyramid(image, 4, nearest=nearest)
    assert levels._rows == 16
    last = values if "S" not in dims else np.moveaxis(values, -1, 0)
    for number, whole in enumerate(pyramid(last, 4, nearest=nearest)):
        expected = whole if "S" not in dims else np.moveaxis(whole, 0, -1)
        level = levels.level(number)
        assert level.shape == expected.shape == levels.shapes[number]
        np.testing.assert_array_equal(level, expected)
        y, x = dims.index("Y"), dims.index("X")
        key: list[Any] = [slice(None)] * len(dims)
        key[y], key[x] = slice(-2, None, -3), [3, 0, 2]
        np.testing.assert_array_equal(level[tuple(key)], expected[tuple(key[:x])].take([3, 0, 2], axis=x))
        key[y], key[x] = np.array([4, 1, 3]), slice(1, 4)
        np.testing.assert_array_equal(level[tuple(key)], expected.take([4, 1, 3], axis=y)[(..., *key[x:])])
        assert level[(0,) * len(dims)] == expected[(0,) * len(dims)]
        assert level[..., :0].size == 0


def test_the_shapes_are_those_of_exports() -> None:
    image = Counted(np.zeros((2, 77, 53), "u1"), ("C", "Y", "X"))
    axes = ImageAxes("cyx", (2, 77, 53), (1.0,) * 3, (None,) * 3)
    assert Pyramid(image, 5).shapes == [axes.level_shape(level) for level in range(5)]


def test_rows_are_read_once_for_all_levels_tiles_and_channels(tmp_path: Path) -> None:
    image, values = frames_of(tmp_path / "a.nd2", channels=2, height=2100, width=1500)
    pixels = Counted(values, image.dims)
    levels = Pyramid(pixels)
    levels._rows = 512  # as for a frame that is not compressed
    coarse = levels.level(levels.levels - 1)
    assert coarse.shape == (2, 263, 188)
    assert coarse.chunks == (1, 263, 188)
    assert coarse[0].shape == (263, 188)
    assert pixels.rows == 2100
    for number in range(1, levels.levels):
        for channel in range(2):
            levels.level(number)[channel]
    assert pixels.rows == 2100
    tiles = [levels.level(0)[0, 512:1024, x : x + 512] for x in range(0, 1500, 512)]
    np.testing.assert_array_equal(np.concatenate(tiles, axis=1), values[0, 512:1024])
    assert pixels.rows == 2100 + 512


def test_memory_is_bounded_and_coarse_levels_stay_longest() -> None:
    pixels = Counted(np.zeros((4, 4096, 256), "u2"), ("T", "Y", "X"))
    levels = Pyramid(pixels, 5, limit=1 << 20)
    levels._rows, levels._cache.limit = 128, 1 << 20
    for time in range(4):
        levels.level(4)[time]
    assert levels._cache._nbytes <= 1 << 20
    read = pixels.rows
    assert read == 4 * 4096
    for time in range(4):  # 512 KiB of level 1 alone belong to each
        levels.level(4)[time]
        levels.level(3)[time]
    assert pixels.rows == read


def test_a_large_part_is_read_at_once_and_not_kept() -> None:
    pixels = Counted(np.zeros((64, 64, 64), "u1"), ("Z", "Y", "X"))
    levels = Pyramid(pixels, limit=4 * 64 * 64)
    levels._cache.limit = 4 * 64 * 64
    assert levels.level(0)[...].shape == (64, 64, 64)
    assert pixels.reads == 1
    assert levels._cache._nbytes == 0
    levels.level(0)[3]
    levels.level(0)[3, :7]
    assert pixels.reads == 2


def test_a_frame_that_is_decoded_as_a_whole_is_decoded_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    image, values = frames_of(tmp_path / "a.nd2", zlib=True, height=300, width=200)
    decoded = 0
    decode = Frames.decode

    def counted(frames: Frames, *given: Any) -> NDArray[Any]:
        nonlocal decoded
        decoded += 1
        return decode(frames, *given)

    monkeypatch.setattr(Frames, "decode", counted)
    levels = Pyramid(image, 4, limit=1)
    for number, level in enumerate(pyramid(values, 4)):
        np.testing.assert_array_equal(levels.level(number)[:30, 5:], level[:30, 5:])
    assert decoded == 1


def test_threads_share_what_one_of_them_computes() -> None:
    pixels = Counted(np.arange(512 * 64, dtype="u2").reshape(512, 64), ("Y", "X"))
    levels = Pyramid(pixels, 4)
    levels._rows = 64
    together = threading.Barrier(8)

    def work(number: int) -> NDArray[Any]:
        together.wait()
        return levels.level(1 + number % 3)[...]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    for number, level in enumerate(pyramid(pixels.values, 4)):
        for k in range(8):
            if 1 + k % 3 == number:
                np.testing.assert_array_equal(found[k], level)
    assert pixels.rows == 512


def test_an_error_leaves_nothing_behind() -> None:
    pixels = Counted(np.ones((32, 32), "u1"), ("Y", "X"), fail=1)
    levels = Pyramid(pixels, 3)
    with pytest.raises(OSError, match="lost"):
        levels.level(2)[...]
    assert (levels.level(2)[...] == 1).all()


def test_levels_are_lazy_arrays_that_travel(tmp_path: Path) -> None:
    image, values = frames_of(tmp_path / "a.nd2", loops=[("T", 3)], channels=2, height=40)
    level = Pyramid(image, 2).level(1).narrow((slice(1, None), 1, slice(4, None), slice(None)))
    assert (level.dims, level.shape, level.ndim) == (("T", "Y", "X"), (2, 16, 4), 3)
    expected = halve(values)[1:, 1, 4:]
    np.testing.assert_array_equal(level, expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(level)), expected)
    assert level.__dask_tokenize__() != Pyramid(image, 2).level(1).__dask_tokenize__()
    with pytest.raises(IndexError, match="axis 'T' of size 2"):
        level[2]
    with pytest.raises(IndexError, match="too many"):
        level[(0,) * (level.ndim + 1)]
    with pytest.raises(IndexError, match="no level 2"):
        Pyramid(image, 2).level(2)
    with pytest.raises(ValueError, match="always a copy"):
        np.asarray(level, copy=False)
    assert np.asarray(level, np.float32).dtype == np.float32
