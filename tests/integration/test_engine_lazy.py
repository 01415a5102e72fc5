"""How the engine's arrays are read: by any index, no more than needed, from threads, processes and other machines."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pytest
import xarray as xr
from dask.base import compute
from hypothesis import given, settings
from hypothesis import strategies as st

from nd2._core.format.inflate import inflate
from tests.builder import Nd2Spec, build
from tests.handles import no_handle_is_left
from tests.sparse import build_sparse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INDEXED: dict[str, dict[str, Any]] = {
    "raw": {"channels": 2},
    "zlib": {"channels": 2, "zlib": True},
    "padded": {"width": 5, "dtype": "u1", "channels": 3},
    "color": {"samples": 3, "dtype": "u1", "width": 7},
    "missing": {"missing": frozenset({0, 2, 5})},
    "any order": {"order": [5, 1, 3, 0, 2, 4]},
}


@pytest.fixture(scope="module", params=INDEXED, ids=str)
def indexed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[xr.DataArray, xr.DataArray]:
    """A lazy image that keeps nothing, and the same in memory."""
    path = tmp_path_factory.mktemp("lazy") / "a.nd2"
    build(path, loops=[("T", 3), ("Z", 2)], **INDEXED[request.param])
    lazy = xr.open_dataset(path, engine="nd2", cache=False).image
    return lazy, xr.open_dataset(path, engine="nd2").image.load()


def single(size: int) -> st.SearchStrategy[Any]:
    index = st.integers(-size, size - 1)
    bound = st.none() | st.integers(-size - 2, size + 2)
    step = st.none() | st.integers(-3, 3).filter(bool)
    return st.one_of(
        index,
        st.builds(slice, bound, bound, step),
        st.lists(index, max_size=5).map(lambda items: np.array(items, dtype=int)),
        st.lists(st.booleans(), min_size=size, max_size=size).map(np.array),
    )


@settings(max_examples=40)
@given(data=st.data())
def test_outer_indexing_is_that_of_an_array_in_memory(
    indexed: tuple[xr.DataArray, xr.DataArray], data: st.DataObject
) -> None:
    lazy, memory = indexed
    dims = data.draw(st.sets(st.sampled_from(list(memory.dims))))
    key = {dim: data.draw(single(memory.sizes[dim]), label=str(dim)) for dim in dims}
    xr.testing.assert_equal(lazy.isel(key), memory.isel(key))


@settings(max_examples=20)
@given(data=st.data())
def test_indexing_twice_is_that_of_an_array_in_memory(
    indexed: tuple[xr.DataArray, xr.DataArray], data: st.DataObject
) -> None:
    lazy, memory = indexed
    for _ in range(2):
        dim = data.draw(st.sampled_from(list(memory.dims) or ["Y"]))
        if dim in memory.dims and memory.sizes[dim]:
            key = {dim: data.draw(single(memory.sizes[dim]), label=str(dim))}
            lazy, memory = lazy.isel(key), memory.isel(key)
    xr.testing.assert_equal(lazy, memory)


@settings(max_examples=40)
@given(data=st.data())
def test_vectorised_indexing_is_that_of_an_array_in_memory(
    indexed: tuple[xr.DataArray, xr.DataArray], data: st.DataObject
) -> None:
    lazy, memory = indexed
    dims = data.draw(st.sets(st.sampled_from(list(memory.dims)), min_size=1, max_size=3))
    n = data.draw(st.integers(0, 4))
    key = {}
    for dim in dims:
        size = memory.sizes[dim]
        points = data.draw(st.lists(st.integers(-size, size - 1), min_size=n, max_size=n))
        key[dim] = xr.DataArray(np.array(points, dtype=int), dims="points")
    xr.testing.assert_equal(lazy.isel(key), memory.isel(key))


@pytest.mark.parametrize("name", ["time", "stage_x"])
def test_coordinates_are_indexed_like_arrays_in_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 3), ("P", 2), ("Z", 4)])
    lazy = xr.open_dataset(path, engine="nd2", cache=False)[name]
    memory = xr.open_dataset(path, engine="nd2")[name].load()
    assert lazy.shape == (3, 2, 4)
    keys: list[dict[str, Any]] = [
        {},
        {"T": 1},
        {"T": [2, 0], "Z": slice(None, None, -2)},
        {"P": -1, "Z": [True, False, False, True]},
        {"T": slice(0, 0)},
        {"T": xr.DataArray([0, 2], dims="n"), "Z": xr.DataArray([3, 1], dims="n")},
    ]
    for key in keys:
        xr.testing.assert_equal(lazy.isel(key), memory.isel(key))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Start and end of every byte range that is read from local files."""
    found: list[tuple[int, int]] = []
    pread, preadv = os.pread, os.preadv

    def counting_pread(fd: int, nbytes: int, offset: int) -> bytes:
        found.append((offset, offset + nbytes))
        return pread(fd, nbytes, offset)

    def counting_preadv(fd: int, buffers: list[memoryview], offset: int) -> int:
        found.append((offset, offset + sum(len(buffer) for buffer in buffers)))
        return preadv(fd, buffers, offset)

    monkeypatch.setattr(os, "pread", counting_pread)
    monkeypatch.setattr(os, "preadv", counting_preadv)
    return found


def test_only_the_rows_that_are_needed_are_read_each_once_in_the_order_of_the_file(
    tmp_path: Path, reads: list[tuple[int, int]]
) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 12)], height=300, width=100)
    dataset = xr.open_dataset(path, engine="nd2")
    row = 200
    offsets = dataset.image.variable._data.array.array.array.values.frames.table.offsets
    reads.clear()
    part = dataset.image.isel(T=[9, 2, 2, 5], Y=slice(40, 60)).values
    np.testing.assert_array_equal(part, spec.array[[9, 2, 2, 5], 40:60])
    expected = [(int(offsets[t]) + 40 * row, int(offsets[t]) + 60 * row) for t in (2, 5, 9)]
    assert sorted(reads) == expected


def test_opening_reads_no_pixel(tmp_path: Path, reads: list[tuple[int, int]]) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 4)], height=100, width=100)
    dataset = xr.open_dataset(path, engine="nd2")
    offsets = dataset.image.variable._data.array.array.array.values.frames.table.offsets
    for start in offsets.tolist():
        assert all(stop <= start or begin >= start + 20_000 for begin, stop in reads)


def test_showing_a_dataset_reads_nothing(tmp_path: Path, reads: list[tuple[int, int]]) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 4)], missing=frozenset({1}))
    dataset = xr.open_dataset(path, engine="nd2")
    reads.clear()
    assert "image" in repr(dataset)
    assert "image" in dataset._repr_html_()
    assert "stage_x" in repr(dataset.image)
    assert not reads


def test_a_column_of_recorded_values_is_read_as_far_as_it_is_needed(
    tmp_path: Path, reads: list[tuple[int, int]]
) -> None:
    path = tmp_path / "a.nd2"
    build_sparse(path, count=20_000, height=1, width=2)
    dataset = xr.open_dataset(path, engine="nd2", cache=False)
    reads.clear()
    assert dataset.time[12_345].item() == 1234.5
    assert sum(stop - start for start, stop in reads) < 200


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Nd2Spec]:
    path = tmp_path / "a.nd2"
    return path, build(path, loops=[("T", 6), ("Z", 2)], channels=2)


@pytest.mark.parametrize("chunks", [None, {}, "auto"])
def test_datasets_pickle_and_open_nothing_when_they_are_unpickled(made: tuple[Path, Nd2Spec], chunks: Any) -> None:
    path, spec = made
    dataset = xr.open_dataset(path, engine="nd2", chunks=chunks)
    data = pickle.dumps(dataset)
    dataset.close()
    copy = pickle.loads(data)
    assert no_handle_is_left(path)
    np.testing.assert_array_equal(copy.image, spec.array)
    xr.testing.assert_identical(copy, dataset)


def test_the_pickled_array_is_small(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build_sparse(path, count=20_000, height=1, width=2)
    dataset = xr.open_dataset(path, engine="nd2")
    assert len(pickle.dumps(dataset.image.variable._data)) < 64 * 1024 + 16 * 20_000
    assert len(pickle.dumps(dataset.time.variable._data)) < 4096


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_schedulers_of_dask(made: tuple[Path, Nd2Spec], scheduler: str) -> None:
    path, spec = made
    with (
        dask.config.set(scheduler=scheduler, num_workers=2),
        xr.open_dataset(path, engine="nd2", chunks={"T": 3}) as dataset,
    ):
        image, highest, loaded = compute(dataset.image, dataset.image.max("T"), dataset)  # type: ignore[no-untyped-call]
        np.testing.assert_array_equal(image, spec.array)
        np.testing.assert_array_equal(highest, spec.array.max(axis=0))
        np.testing.assert_array_equal(loaded.time[:, 0], np.arange(6) * 200 / 1000)


def test_many_threads_read_one_dataset(made: tuple[Path, Nd2Spec]) -> None:
    path, spec = made
    dataset = xr.open_dataset(path, engine="nd2", cache=False)
    right: list[bool] = []

    def read(t: int) -> None:
        parts = [dataset.image.isel(T=t).values for _ in range(5)]
        right.extend(np.array_equal(part, spec.array[t]) for part in parts)

    threads = [threading.Thread(target=read, args=(t,)) for t in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 30


@pytest.mark.skipif(not hasattr(xr.Dataset, "load_async"), reason="this xarray has no load_async")
def test_loading_asynchronously(made: tuple[Path, Nd2Spec]) -> None:
    path, spec = made
    dataset = xr.open_dataset(path, engine="nd2")
    plain = xr.open_dataset(path, engine="nd2").load()
    xr.testing.assert_identical(asyncio.run(dataset.isel(T=slice(1, 4)).load_async()), plain[{"T": slice(1, 4)}])
    np.testing.assert_array_equal(plain.image, spec.array)


@pytest.mark.skipif(not hasattr(xr.Dataset, "load_async"), reason="this xarray has no load_async")
def test_loading_asynchronously_keeps_decoded_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 2)], channels=2, zlib=True)
    decoded: list[int] = []

    def count(data: bytes, nbytes: int) -> bytes | bytearray:
        decoded.append(nbytes)
        return inflate(data, nbytes)

    monkeypatch.setattr("nd2._core.frames.read.inflate", count)
    image = xr.open_dataset(tmp_path / "a.nd2", engine="nd2").image
    for channel in range(2):
        asyncio.run(image.isel(C=channel, drop=True).load_async())
    assert len(decoded) == 2


def test_tokens_tell_files_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 2)])
    first = xr.open_dataset(path, engine="nd2", chunks={})
    again = xr.open_dataset(path, engine="nd2", chunks={})
    assert first.image.data.name == again.image.data.name
    build(path, loops=[("T", 2)], seed=1)
    os.utime(path, ns=(1, 1))
    assert xr.open_dataset(path, engine="nd2", chunks={}).image.data.name != first.image.data.name


def test_nothing_is_left_open(made: tuple[Path, Nd2Spec]) -> None:
    path, spec = made
    dataset = xr.open_dataset(path, engine="nd2")
    assert no_handle_is_left(path)
    dataset.load()
    dataset.close()
    assert no_handle_is_left(path)
    with xr.open_dataset(path, engine="nd2", chunks={}) as opened:
        np.testing.assert_array_equal(opened.image.mean("T"), spec.array.mean(axis=0))
    assert no_handle_is_left(path)


def test_a_dataset_that_is_dropped_leaves_nothing(made: tuple[Path, Nd2Spec]) -> None:
    path, _ = made
    dataset = xr.open_dataset(path, engine="nd2", cache=False)
    dataset.image[0].values  # noqa: B018
    assert not no_handle_is_left(path)
    del dataset
    gc.collect()
    assert no_handle_is_left(path)


def test_reading_after_closing_opens_the_file_again(made: tuple[Path, Nd2Spec]) -> None:
    path, spec = made
    dataset = xr.open_dataset(path, engine="nd2")
    dataset.close()
    np.testing.assert_array_equal(dataset.image, spec.array)
    closed = xr.open_dataset(path, engine="nd2")
    closed.close()
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.nd2"):
        closed.image.load()


def test_a_file_that_changed_is_not_read(made: tuple[Path, Nd2Spec]) -> None:
    path, _ = made
    dataset = xr.open_dataset(path, engine="nd2")
    build(path, loops=[("T", 1)])
    with pytest.raises(OSError, match=r"changed.*a\.nd2"):
        dataset.image.load()


def test_one_block_a_frame(made: tuple[Path, Nd2Spec]) -> None:
    path, _ = made
    dataset = xr.open_dataset(path, engine="nd2", chunks={})
    assert dataset.image.chunks == ((1,) * 6, (1,) * 2, (2,), (6,), (8,))


def test_automatic_chunks_group_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build_sparse(path, count=5000, height=20, width=30)
    image = xr.open_dataset(path, engine="nd2", chunks="auto").image
    assert image.data.npartitions == 1
    with dask.config.set({"array.chunk-size": "1MiB"}):
        image = xr.open_dataset(path, engine="nd2", chunks="auto").image
    assert 5 < image.data.npartitions < 20
    assert set(image.chunks[1]) == {20}
    assert len(image.data.__dask_graph__()) < 50


def test_huge_frames_prefer_bands_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    made = build_sparse(path, count=2, height=9000, width=8000, marked=(1,))
    dataset = xr.open_dataset(path, engine="nd2", chunks={})
    preferred = dataset.image.encoding["preferred_chunks"]
    assert preferred["Y"] < 9000
    assert preferred["Y"] * preferred["X"] * 2 <= 64 << 20
    assert dataset.image.chunks[1][0] == preferred["Y"]
    row = dataset.image.isel(T=1, Y=-1).values
    np.testing.assert_array_equal(row, made.frame(1)[-1])


def test_opening_many_frames_makes_no_object_for_each(tmp_path: Path) -> None:
    path, count = tmp_path / "a.nd2", 200_000
    build_sparse(path, count=count, height=1, width=2)
    xr.open_dataset(path, engine="nd2")
    tracemalloc.start()
    try:
        dataset = xr.open_dataset(path, engine="nd2")
        size, peak = tracemalloc.get_traced_memory()
        kept = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    assert dataset.sizes["T"] == count
    assert sum(trace.count for trace in kept.statistics("filename")) < 10_000
    # The table of frames has 16 bytes per frame, the coordinate T has 8; the map of chunks has 36.
    assert size < 34 * count
    assert peak < 80 * count


@pytest.fixture(autouse=True)
def nothing_is_warned_of() -> Iterator[None]:
    """Anything that is not closed warns when it is collected, and warnings are errors."""
    yield
    gc.collect()
