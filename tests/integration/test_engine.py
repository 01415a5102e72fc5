"""``xarray.open_dataset(file, engine="nd2")`` and the references, on files that the tests write."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest
import xarray as xr

import nd2
from tests.builder import Nd2Spec, build
from tests.handles import no_handle_is_left
from tests.kinds import KINDS
from xarray_nd2.backend import ND2BackendEntrypoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(params=KINDS, ids=str)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Nd2Spec, str]:
    path = tmp_path / "made.nd2"
    return path, build(path, **KINDS[request.param]), request.param


def labelled_pixels(spec: Nd2Spec, dims: tuple[str, ...]) -> Any:
    """The pixels with the axes of the engine, color as red, green, blue."""
    shape = {**{"T" if n == "N" else n: c for n, c in spec.loops}}
    count = int(np.prod(list(spec.loop_shape), dtype=int))
    array = spec.frames[:count].reshape(*spec.loop_shape, *spec.layout.shape)[..., ::-1]
    if len(shape) < len(spec.loops):  # nested loops of one kind
        return array.squeeze()
    names = [*shape, "C", "Y", "X", "S"]
    return array.reshape([s for n, s in zip(names, array.shape, strict=True) if n in dims])


def test_the_engine_gives_the_pixels(made: tuple[Path, Nd2Spec, str]) -> None:
    path, spec, _ = made
    dataset = xr.open_dataset(path, engine="nd2")
    expected = labelled_pixels(spec, dataset.image.dims)
    np.testing.assert_array_equal(dataset.image.values, expected)
    assert dataset.image.dtype == np.dtype(spec.dtype)
    assert {"Y", "X"} <= set(dataset.image.dims)
    chunked = xr.open_dataset(path, engine="nd2", chunks={})
    np.testing.assert_array_equal(chunked.image.values, expected)


def test_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 2), ("P", 3), ("Z", 3)], channels=2, channel_names=["DAPI", "DAPI"])
    dataset = xr.open_dataset(path, engine="nd2")
    assert dict(dataset.sizes) == {"T": 2, "P": 3, "Z": 3, "C": 2, "Y": 6, "X": 8}
    assert dataset.C.values.tolist() == ["DAPI", "DAPI (2)"]
    np.testing.assert_allclose(dataset["T"], [0.0, 0.9])
    assert dataset["T"].attrs["units"] == "s"
    assert dataset["T"].attrs["source"] == "recorded"
    np.testing.assert_allclose(dataset.Z, [-2.0, 0.0, 2.0])
    np.testing.assert_allclose(dataset.X, np.arange(8) * 0.325)
    assert {dataset[name].attrs["units"] for name in "XYZ"} == {"micrometer"}
    assert dataset.P.values.tolist() == [0, 1, 2]
    assert dataset.attrs["objective"] == "Plan Apo 20x"
    assert json.loads(dataset.attrs["nd2_attributes"])["widthPx"] == 8
    assert dataset.image.encoding["preferred_chunks"] == {
        "T": 1, "P": 1, "Z": 1, "C": 2, "Y": 6, "X": 8,
    }  # fmt: skip


def test_planned_times_where_none_were_recorded(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 3)], times=[])
    time = xr.open_dataset(path, engine="nd2")["T"]
    np.testing.assert_allclose(time, [0.0, 0.5, 1.0])
    assert time.attrs["source"] == "nominal"


def test_uncalibrated_pixels_have_no_unit(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, calibration=0.0)
    dataset = xr.open_dataset(path, engine="nd2")
    np.testing.assert_array_equal(dataset.X, np.arange(8))
    assert "units" not in dataset.X.attrs


@pytest.mark.parametrize("loops", [[], [("T", 2)], [("Z", 2), ("T", 3)], [("P", 2)]])
def test_all_axes(tmp_path: Path, loops: list[tuple[str, int]]) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=loops)
    dataset = xr.open_dataset(path, engine="nd2", squeeze=False)
    assert set(dataset.image.dims) == set("TPZCYX")
    order = [dim for dim in dataset.image.dims if dim in dict(loops)]
    assert order == [name for name, _ in loops]
    np.testing.assert_array_equal(dataset.image.values.squeeze(), spec.array)
    if not loops:
        assert dataset.image.dims == tuple("TPZCYX")


def test_a_crop_reads_ten_rows_of_one_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 6)], channels=2, height=300, width=200)
    dataset = xr.open_dataset(path, engine="nd2")
    read: list[int] = []
    preadv = os.preadv

    def counting(fd: int, buffers: list[memoryview], offset: int) -> int:
        read.extend(len(buffer) for buffer in buffers)
        return preadv(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", counting)
    part = dataset.image.isel(T=3, C=1, Y=slice(10, 20)).values
    np.testing.assert_array_equal(part, spec.array[3, 1, 10:20])
    assert read == [10 * 200 * 2 * 2]


def test_opening_holds_no_handle_and_closing_gives_it_back(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 6)])
    dataset = xr.open_dataset(path, engine="nd2")
    assert no_handle_is_left(path)
    first = dataset.image[0].values
    dataset.close()
    assert no_handle_is_left(path)
    np.testing.assert_array_equal(first, spec.array[0])
    np.testing.assert_array_equal(dataset.image[1:].values, spec.array[1:])
    dataset.close()


def test_datasets_pickle(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 6)])
    dataset = xr.open_dataset(path, engine="nd2", chunks={})
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy.image.values, spec.array)


def test_without_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 6)])
    monkeypatch.setitem(sys.modules, "dask", None)
    monkeypatch.setitem(sys.modules, "dask.array", None)
    dataset = xr.open_dataset(path, engine="nd2")
    np.testing.assert_array_equal(dataset.image[2].values, spec.array[2])


def test_the_file_is_recognized(tmp_path: Path) -> None:
    path = tmp_path / "named otherwise.dat"
    spec = build(path)
    np.testing.assert_array_equal(xr.open_dataset(path).image.values, spec.array)
    with path.open("rb") as handle:
        np.testing.assert_array_equal(xr.open_dataset(handle, engine="nd2").image.values, spec.array)
    buffer = io.BytesIO(path.read_bytes())
    np.testing.assert_array_equal(xr.open_dataset(buffer, engine="nd2").image.values, spec.array)
    memory = fsspec.filesystem("memory")
    memory.pipe("/engine/a.nd2", path.read_bytes())
    remote = xr.open_dataset("memory://engine/a.nd2", engine="nd2")
    np.testing.assert_array_equal(remote.image.values, spec.array)


def test_variables_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 2)])
    assert "T" not in xr.open_dataset(path, engine="nd2", drop_variables="T").coords
    assert "image" not in xr.open_dataset(path, engine="nd2", drop_variables=["image"])


def test_bad_files_leave_no_handle(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 5)])
    os.truncate(path, 30_000)
    with pytest.raises(ValueError, match=r"cut short.*a\.nd2"):
        xr.open_dataset(path, engine="nd2")
    assert no_handle_is_left(path)


def test_the_engine_and_nd2_agree(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("P", 2), ("Z", 3)], channels=2)
    dataset = xr.open_dataset(path, engine="nd2")
    np.testing.assert_array_equal(dataset.image.values, nd2.imread(path))


MISSPELLED: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "option": (
        lambda path: xr.open_dataset(path, engine="nd2", positon=1),
        TypeError,
        "no option 'positon'; did you mean 'position'",
    ),
    "option of a tree": (
        lambda path: xr.open_datatree(path, engine="nd2", flatframes=True),
        TypeError,
        "did you mean 'flat_frames'",
    ),
    "position of a tree": (
        lambda path: xr.open_datatree(path, engine="nd2", position=1),
        TypeError,
        "no option 'position'; there are",
    ),
    "position": (
        lambda path: xr.open_dataset(path, engine="nd2", position="A22"),
        ValueError,
        "no position 'A22'; did you mean 'A2'",
    ),
    "sel_position": (
        lambda path: xr.open_dataset(path, engine="nd2").nd2.sel_position("a3"),
        ValueError,
        "no position 'a3'; did you mean 'A3'",
    ),
    "rgb": (
        lambda path: xr.open_dataset(path, engine="nd2").nd2.rgb("GFPL"),
        ValueError,
        "no channel 'GFPL'; did you mean 'GFP-L'",
    ),
    "plot": (
        lambda path: xr.open_dataset(path, engine="nd2").nd2.plot(["DAPI", "GFP"]),
        ValueError,
        "no channel 'GFP'; did you mean 'GFP-L'",
    ),
    "axis of rgb": (
        lambda path: xr.open_dataset(path, engine="nd2").nd2.rgb(t=1),
        ValueError,
        "no frame axis 't'; did you mean 'T'",
    ),
}


@pytest.mark.parametrize("case", MISSPELLED)
def test_a_name_that_does_not_exist_suggests_those_that_do(case: str, named: Path) -> None:
    pytest.importorskip("matplotlib")
    call, error, message = MISSPELLED[case]
    with pytest.raises(error, match=message):
        call(named)


def test_files_are_recognised_without_asking_a_server(tmp_path: Path) -> None:
    guess = ND2BackendEntrypoint().guess_can_open
    path, other = tmp_path / "a.dat", tmp_path / "b.nd2"
    build(path)
    other.write_bytes(b"something else")
    assert guess(path)
    assert guess(str(path))
    assert not guess(other)
    assert guess("https://nowhere.invalid/a.nd2")
    assert guess("https://nowhere.invalid/a.ND2?signature=b")
    assert guess("simplecache::s3://bucket/a.nd2")
    assert not guess("https://nowhere.invalid/a.tif")
    assert guess(tmp_path / "missing.nd2")
    assert not guess(tmp_path / "missing.tif")
    assert not guess(3)


def test_recognising_a_file_object_leaves_it_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    buffer = io.BytesIO(path.read_bytes())
    buffer.seek(7)
    assert ND2BackendEntrypoint().guess_can_open(buffer)
    assert buffer.tell() == 7
    with path.open("rb") as handle:
        assert ND2BackendEntrypoint().guess_can_open(handle)
        assert handle.tell() == 0


def test_whatever_holds_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 2)])
    memory = fsspec.filesystem("memory")
    memory.pipe("/groups/a.nd2", path.read_bytes())
    holders: list[Any] = [
        path,
        str(path),
        f"file://{path}",
        "memory://groups/a.nd2",
        "simplecache::memory://groups/a.nd2",
        fsspec.open("memory://groups/a.nd2"),
        io.BytesIO(path.read_bytes()),
    ]
    for holder in holders:
        dataset = xr.open_dataset(holder, engine="nd2")
        np.testing.assert_array_equal(dataset.image, spec.array)
    with memory.open("/groups/a.nd2") as handle:
        dataset = xr.open_dataset(handle, engine="nd2")
    np.testing.assert_array_equal(dataset.image, spec.array)
