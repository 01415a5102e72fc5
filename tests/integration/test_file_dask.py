"""Dask arrays of files: what the graph holds, what is read, and where it can be computed."""

from __future__ import annotations

import gc
import pickle
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.base import compute
from dask.blockwise import Blockwise
from dask.diagnostics import Callback  # type: ignore[attr-defined]
from hypothesis import given, settings
from hypothesis import strategies as st
from resource_backed_dask_array import ResourceBackedDaskArray

import nd2
from nd2._core.frames.array import FrameArray
from nd2._core.views.dask import ImageArray
from tests.builder import Nd2Spec, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SPEC = Nd2Spec(loops=(("T", 6), ("Z", 4)), channels=2, height=12, width=9, missing=frozenset({5}))


@pytest.fixture(autouse=True, params=["plain", "wrapped"])
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """Without and with the package that has the type of array that nd2 0.12.0 returns."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "plain":
            patch.setitem(sys.modules, "resource_backed_dask_array", None)
        yield request.param


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dask") / "a.nd2"
    build(path, SPEC)
    return path


def lazy(path: Path, **options: Any) -> Any:
    """Return the dask array of a file that is closed."""
    with nd2.ND2File(path) as file:
        return file.to_dask(**options)


def by_blocks(array: Any, **options: Any) -> Any:
    """Compute without the shortcut for whole images."""
    return copied_blocks(array).compute(**options)


def copied_blocks(array: Any) -> Any:
    return array.map_blocks(lambda block: block, dtype=array.dtype)


def test_the_graph_is_one_blockwise_layer_over_one_array(path: Path) -> None:
    array = lazy(path)
    assert array.chunks == ((1,) * 6, (1,) * 4, (2,), (12,), (9,))
    layers = array.dask.layers
    assert len(layers) == 2
    assert isinstance(layers[array.name], Blockwise)
    (held,) = dict(layers[f"original-{array.name}"]).values()
    assert isinstance(getattr(held, "value", held), FrameArray)
    assert pickle.dumps(array.dask).count(b"FrameTable") == 1


def test_a_graph_of_many_frames_is_made_without_a_task_for_each(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", Nd2Spec(loops=(("T", 20_000),), height=1, width=1, times=()))
    array = lazy(tmp_path / "a.nd2")
    assert array.numblocks == (20_000,)
    assert not array.dask.layers[array.name].is_materialized()
    (held,) = dict(array.dask.layers[f"original-{array.name}"]).values()
    assert len(pickle.dumps(held)) < 4 * 1024 + 16 * 20_000
    # dask itself keeps the size of each block
    assert len(pickle.dumps(array.dask)) < 8 * 1024 + 24 * 20_000


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_it_computes_anywhere_after_the_file_was_closed(path: Path, scheduler: str) -> None:
    array = lazy(path)
    copy = pickle.loads(pickle.dumps(array))
    arrays = (copied_blocks(array), array, copy[2:4, 1])
    blocks, whole, part = compute(*arrays, scheduler=scheduler, num_workers=2)  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(blocks, SPEC.array)
    np.testing.assert_array_equal(whole, SPEC.array)
    np.testing.assert_array_equal(part, SPEC.array[2:4, 1])


def test_names_follow_the_file(path: Path, tmp_path: Path) -> None:
    assert lazy(path).name == lazy(path).name
    assert lazy(path).name != lazy(path, chunks="auto").name
    assert lazy(path)[1:].name != lazy(path)[:-1].name
    build(tmp_path / "a.nd2", SPEC)
    before = lazy(tmp_path / "a.nd2").name
    build(tmp_path / "a.nd2", Nd2Spec(loops=(("T", 7), ("Z", 4))))
    assert lazy(tmp_path / "a.nd2").name != before


def test_chunks_group_frames_in_file_order(path: Path) -> None:
    frame = SPEC.layout.frame_bytes - 12 * (SPEC.layout.row_bytes - SPEC.layout.packed_row_bytes)
    for count, expected in [
        (1000, (6, 4, 2, 12, 9)),
        (9, (2, 4, 2, 12, 9)),
        (3, (1, 3, 2, 12, 9)),
        (0.5, (1, 1, 2, 6, 9)),
        (0.001, (1, 1, 2, 1, 9)),
    ]:
        with dask.config.set({"array.chunk-size": int(frame * count)}):
            array = lazy(path, chunks="auto")
        assert array.chunksize == expected
        np.testing.assert_array_equal(by_blocks(array), SPEC.array)
    assert lazy(path, chunks=(3, 2, 1, -1, -1)).chunksize == (3, 2, 1, 12, 9)


def test_the_type_is_that_of_nd2_where_its_package_is_installed(path: Path, kind: str) -> None:
    with nd2.ND2File(path) as file:
        arrays = [file.to_dask(), nd2.imread(path, dask=True)]
        assert type(file.to_dask(wrapper=False, copy=False)) is ImageArray
        assert type(file.to_xarray().data) is ImageArray
    for array in arrays:
        copy = pickle.loads(pickle.dumps(array))
        some = [array, array[1], array[[3, 1]], array.mean(axis=0), np.einsum("abcde->edcba", array), copy, copy[0]]  # type: ignore[no-untyped-call]
        if kind == "plain":
            assert {type(one) for one in some} == {ImageArray, da.Array}
        else:
            assert all(isinstance(one, ResourceBackedDaskArray) for one in some)
        np.testing.assert_array_equal(array[0].compute(), SPEC.array[0])
        np.testing.assert_array_equal(np.asarray(copy), SPEC.array)
        np.testing.assert_array_equal(some[4].compute(), SPEC.array.T)


def test_a_wrapped_array_is_read_where_its_package_is_not_installed(path: Path, kind: str) -> None:
    data = pickle.dumps(lazy(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "resource_backed_dask_array", None)
        copy = pickle.loads(data)
    assert type(copy) is da.Array
    np.testing.assert_array_equal(copy.compute(), SPEC.array)  # type: ignore[no-untyped-call]


def axis_key(size: int) -> st.SearchStrategy[Any]:
    return st.one_of(st.integers(-size, size - 1), st.integers(0, size - 1).map(np.int64), st.slices(size))


@settings(max_examples=100)
@given(st.data())
def test_parts_are_those_of_numpy_and_have_the_blocks_of_dask(path: Path, data: st.DataObject) -> None:
    array = lazy(path, chunks=data.draw(st.sampled_from([None, "auto", (4, 3, 1, 5, 4)])))
    plain = da.from_array(SPEC.array, chunks=array.chunks)  # type: ignore[no-untyped-call]
    expected = SPEC.array
    for _ in range(2):  # a part of a part
        if not expected.ndim or not expected.size:
            break
        shape = expected.shape[: data.draw(st.integers(1, expected.ndim))]
        key = tuple(data.draw(axis_key(size)) for size in shape)
        if data.draw(st.booleans()):
            key = (*key, ...)
        array, plain, expected = array[key], plain[key], expected[key]
        # dask keeps blocks of nothing where a step jumps over one; of an array of nothing any blocks will do
        if expected.size:
            assert array.chunks == tuple(tuple(n for n in c if n) for c in plain.chunks)
        assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array.compute(), expected)
    np.testing.assert_array_equal(by_blocks(array, scheduler="synchronous"), expected)


def test_other_indices_are_left_to_dask(path: Path) -> None:
    array, expected = lazy(path), SPEC.array
    np.testing.assert_array_equal(array[[3, 1]].compute(), expected[[3, 1]])
    np.testing.assert_array_equal(array[None, 2].compute(), expected[None, 2])
    np.testing.assert_array_equal(array[array[:, 0, 0, 0, 0] > 90].compute(), expected[expected[:, 0, 0, 0, 0] > 90])
    assert array[3:3].compute().shape == (0, 4, 2, 12, 9)
    with pytest.raises(IndexError):
        array[6]
    with pytest.raises(IndexError):
        array[0, 0, 0, 0, 0, 0]


def bytes_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    from nd2._core.io.local import LocalSource

    read: list[int] = []
    read_into = LocalSource.read_into

    def noted(self: LocalSource, targets: Any) -> None:
        read.extend(buffer.nbytes for _, buffer in targets)
        read_into(self, targets)

    monkeypatch.setattr(LocalSource, "read_into", noted)
    return read


def test_a_crop_reads_only_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Nd2Spec(loops=(("T", 2),), height=600, width=500)
    build(tmp_path / "a.nd2", spec)
    array = lazy(tmp_path / "a.nd2")
    read = bytes_read(monkeypatch)
    crop = array[1, 100:356, 30:286].compute()
    np.testing.assert_array_equal(crop, spec.array[1, 100:356, 30:286])
    assert sum(read) <= 256 * 1000


def test_a_whole_image_is_one_read_unless_somebody_watches_the_tasks(path: Path) -> None:
    array = lazy(path)
    started: list[Any] = []
    with Callback(pretask=lambda key, *_: started.append(key)):  # type: ignore[no-untyped-call]
        np.testing.assert_array_equal(array.compute(), SPEC.array)
    assert len(started) >= 24
    assert isinstance(array, ImageArray)
    assert np.shares_memory(array.compute(), array.compute()) is False
    np.testing.assert_array_equal(np.asarray(array), SPEC.array)


def test_computing_with_dask_does_not_join_blocks(tmp_path: Path) -> None:
    spec = Nd2Spec(loops=(("T", 16),), height=512, width=512)
    build(tmp_path / "a.nd2", spec)
    array = lazy(tmp_path / "a.nd2")
    dataset = xr.open_dataset(tmp_path / "a.nd2", engine="nd2", chunks={})
    compute(array[:1].max())  # type: ignore[no-untyped-call]  # imports and threads
    reads: tuple[Callable[[], Any], ...] = (
        lambda: compute(array)[0],  # type: ignore[no-untyped-call]
        lambda: compute(array, array[:1].max())[0],  # type: ignore[no-untyped-call]
        lambda: dataset.compute().image.values,
        lambda: dataset.image.compute().values,
    )
    for read in reads:
        tracemalloc.start()
        image = read()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        np.testing.assert_array_equal(image, spec.array)
        assert peak < 1.3 * image.nbytes


def test_arrays_that_are_computed_together_share_blocks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = lazy(path)
    read = bytes_read(monkeypatch)
    highest, image, plain = compute(array.max(axis=0), array, copied_blocks(array))  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(highest, SPEC.array.max(axis=0))
    np.testing.assert_array_equal(image, SPEC.array)
    np.testing.assert_array_equal(plain, SPEC.array)
    assert sum(read) <= SPEC.array.nbytes


@pytest.mark.parametrize("scheduler", ["processes", lambda *_args, **_options: None])
def test_other_schedulers_get_blocks(path: Path, scheduler: Any) -> None:
    array = lazy(path)
    assert type(array.__dask_optimize__) is not type(da.Array.__dask_optimize__)
    with dask.config.set(scheduler=scheduler):
        assert array.__dask_optimize__ is da.Array.__dask_optimize__


def test_nothing_stays_open(path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    array = lazy(path)
    by_blocks(array)
    del array
    gc.collect()
    assert str(path) not in [file.path for file in psutil.Process().open_files()]
