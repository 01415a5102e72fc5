"""``ND2File`` as a user sees it, on files that the tests write."""

from __future__ import annotations

import io
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import nd2
from nd2.errors import UnclosedFileWarning
from nd2.structures import FrameMetadata
from tests.builder import Nd2Spec, build
from tests.fuzz.seeds import files
from tests.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(params=KINDS, ids=str)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Nd2Spec]:
    path = tmp_path / "made.nd2"
    return path, build(path, **KINDS[request.param])


def test_pixels_and_shape(made: tuple[Path, Nd2Spec]) -> None:
    path, spec = made
    with nd2.ND2File(path) as file:
        assert file.shape == spec.array.shape
        assert file.dtype == np.dtype(spec.dtype)
        assert file.ndim == spec.array.ndim
        assert file.size == spec.array.size
        assert file.nbytes == spec.array.nbytes
        assert file.version == spec.version
        assert file.is_rgb == (spec.samples == 3)
        assert file.components_per_channel == spec.samples
        assert len(file.loop_indices) == spec.frame_count
        np.testing.assert_array_equal(file.asarray(), spec.array)
        np.testing.assert_array_equal(np.asarray(file), spec.array)
        for index, frame in enumerate(spec.frames):
            np.testing.assert_array_equal(file.read_frame(index), frame.squeeze())
        lazy = file.to_dask()
        labeled = file.to_xarray()
    np.testing.assert_array_equal(np.asarray(lazy), spec.array)
    np.testing.assert_array_equal(labeled.values, spec.array)
    np.testing.assert_array_equal(nd2.imread(path), spec.array)
    np.testing.assert_array_equal(nd2.imread(path, xarray=True), spec.array)
    np.testing.assert_array_equal(nd2.imread(path, dask=True), spec.array)


def test_whole_axes(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("Z", 2)])
    with nd2.ND2File(path) as file:
        assert file.to_xarray(squeeze=False).dims == ("P", "C", "Z", "Y", "X")


@pytest.mark.parametrize("position", [1, "A2", -1])
def test_one_position(tmp_path: Path, position: int | str) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 2), ("P", 2), ("Z", 3)])
    expected = spec.array[:, 1:]
    with nd2.ND2File(path) as file:
        np.testing.assert_array_equal(file.asarray(position), expected)
        for delayed in (True, False):
            array = file.to_xarray(delayed=delayed, position=position)
            np.testing.assert_array_equal(array, expected[:, 0])
            assert array.P == "A2"


def test_a_position_that_does_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("P", 2)])
    with nd2.ND2File(path) as file:
        with pytest.raises(IndexError, match=r"position 2 .* 2 positions .*a\.nd2"):
            file.asarray(2)
        with pytest.raises(ValueError, match=r"'A11'; did you mean 'A1'"):
            file.asarray("A11")


@pytest.mark.parametrize("index", [-1, 4, 10**12])
def test_a_frame_that_does_not_exist(tmp_path: Path, index: int) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 4)])
    with nd2.ND2File(path) as file, pytest.raises(IndexError, match=rf"frame index {index} .* 4 frames .*a\.nd2"):
        file.read_frame(index)


@pytest.mark.parametrize("loops", [[("T", 2)], [], [("P", 1), ("Z", 2)]], ids=str)
def test_frames_beyond_the_loops_are_reachable_by_index(
    tmp_path: Path, loops: list[tuple[str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=loops, extra=3)
    with nd2.ND2File(path) as file:
        reached = spec.frame_count - 3
        assert len(file.loop_indices) == reached
        (record,) = caplog.records
        assert (record.name, record.levelname) == ("nd2", "WARNING")
        assert re.search(rf"a\.nd2' holds {reached + 3} .* reach {reached};", record.getMessage())
        np.testing.assert_array_equal(file.read_frame(reached + 2), spec.frames[-1].squeeze())
        last = file.frame_metadata(reached + 2)
        assert isinstance(last, FrameMetadata)
        assert last.channels[0].time.relativeTimeMs == 100.0 * (reached + 2)


def test_all_frames_on_one_axis_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("P", 2)], extra=3, channels=2)
    with nd2.ND2File(path, flat_frames=True) as file:
        assert file.sizes == {"U": 5, "C": 2, "Y": 6, "X": 8}
        assert [loop.type for loop in file.experiment] == ["CustomLoop"]
        np.testing.assert_array_equal(file.asarray(), spec.frames.squeeze())
        assert file.to_xarray().dims == ("U", "C", "Y", "X")
        assert len(file.events()) == 5
        # positions are still those that the stored loops give
        frames = [file.frame_metadata(i) for i in range(5)]
        assert [f.channels[0].position.name for f in frames if isinstance(f, FrameMetadata)] == [
            "A1",
            "A2",
            None,
            None,
            None,
        ]
        copy = pickle.loads(pickle.dumps(file))
    with copy:
        assert copy.sizes["U"] == 5
        copy.close()
        copy.open()
        assert copy.sizes["U"] == 5


def test_an_acquisition_that_was_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 4)], missing=frozenset({2, 3}), times=[0.0, 1.0])
    with nd2.ND2File(path) as file:
        assert file.sizes["T"] == 4
        np.testing.assert_array_equal(file.asarray(), spec.array)
        assert [len(row) for row in file.events()] == [3, 3, 2, 2]
        times = file.events(orient="list", null_value=None)["Time [s]"]
        assert times == [0.0, 0.001, None, None]


def test_into_an_array_of_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 3)], channels=2)
    out = np.empty_like(spec.array)
    with nd2.ND2File(path) as file:
        assert file.asarray(out=out) is out or np.shares_memory(file.asarray(out=out), out)
        with pytest.raises(ValueError, match="out must be"):
            file.asarray(out=out[::-1])
    np.testing.assert_array_equal(out, spec.array)


def test_a_file_that_was_never_closed_warns_as_files_of_python_do(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    with pytest.warns(UnclosedFileWarning, match=r"ND2File file not closed: '.*a\.nd2'"):
        nd2.ND2File(path)
    # nothing is open for these
    nd2.ND2File(io.BytesIO(path.read_bytes()))
    with pytest.raises(FileNotFoundError):
        nd2.ND2File(tmp_path / "none.nd2")
    nd2.ND2File(path).close()
    command = [sys.executable, "-c", "import sys, nd2; print(nd2.ND2File(sys.argv[1]).sizes)", str(path)]
    for options, shown in (([], False), (["-W", "default"], True)):
        done = subprocess.run([command[0], *options, *command[1:]], capture_output=True, text=True, check=True)
        assert ("UnclosedFileWarning" in done.stderr) == shown


def test_a_file_is_closed_with_the_open_file_it_was_made_from(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path)
    with path.open("rb") as handle:
        file = nd2.ND2File(handle)
        assert file.path == str(path)
        array, data = file.to_dask(), xr.open_dataset(handle, engine="nd2")
        np.testing.assert_array_equal(file.asarray(), spec.array)
    assert file.closed
    with pytest.raises(ValueError, match=r"closed file.*a\.nd2"):
        file.asarray()
    # arrays and datasets read by the path
    np.testing.assert_array_equal(array, spec.array)
    with data:
        np.testing.assert_array_equal(data.image, spec.array)
    with file:
        np.testing.assert_array_equal(file.asarray(), spec.array)


def test_closing_and_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 3)])
    file = nd2.ND2File(path)
    assert not file.closed
    file.read_frame(0)
    file.close()
    file.close()
    assert file.closed
    assert "closed" in repr(file)
    for use in (lambda: file.read_frame(0), file.asarray, lambda: np.asarray(file)):
        with pytest.raises(ValueError, match=r"closed file.*a\.nd2"):
            use()
    file.open()
    np.testing.assert_array_equal(file.asarray(), spec.array)
    file.close()


@pytest.mark.parametrize("closed", [True, False])
def test_pickling(tmp_path: Path, closed: bool) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 3)])
    with nd2.ND2File(path) as file:
        if closed:
            file.close()
        copy = pickle.loads(pickle.dumps(file))
    assert copy.closed is closed
    with copy:
        np.testing.assert_array_equal(copy.asarray(), spec.array)


def test_file_objects_stay_open(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 3)])
    with path.open("rb") as handle:
        with nd2.ND2File(handle) as file:
            np.testing.assert_array_equal(file.asarray(), spec.array)
        assert not handle.closed
    np.testing.assert_array_equal(nd2.imread(io.BytesIO(path.read_bytes())), spec.array)


def test_a_url(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 3)])
    np.testing.assert_array_equal(nd2.imread(path.as_uri()), spec.array)
    assert nd2.is_supported_file(path.as_uri())


def test_what_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    assert nd2.is_supported_file(path)
    assert nd2.ND2File.is_supported_file(path)
    assert not nd2.is_legacy(path)
    (tmp_path / "b.nd2").write_bytes(b"\x00\x00\x00\x0cjP  \r\n\x87\n")
    assert nd2.is_supported_file(tmp_path / "b.nd2")
    assert nd2.is_legacy(tmp_path / "b.nd2")
    (tmp_path / "c.nd2").write_bytes(b"no")
    assert not nd2.is_supported_file(tmp_path / "c.nd2")
    assert nd2.is_supported_file(path, lambda p: p.open("rb"))


def test_opening_reads_no_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 8), ("Z", 5)], channels=3, height=200, width=300)
    size = path.stat().st_size
    counted: list[int] = []
    pread = os.pread

    def counting(fd: int, nbytes: int, offset: int) -> bytes:
        counted.append(nbytes)
        return pread(fd, nbytes, offset)

    monkeypatch.setattr(os, "pread", counting)
    with nd2.ND2File(path) as file:
        assert file.sizes
        assert file.metadata
        assert file.experiment
        assert file.text_info
        assert file.attributes
        assert file.voxel_size()
        file.to_dask()
    assert size > 14_000_000
    assert sum(counted) < 120_000
    assert len(counted) < 15


def test_importing_loads_nothing_heavy() -> None:
    modules = ("dask", "xarray", "fsspec", "zarr", "pandas", "ome_types")
    code = f"import sys, nd2; print([m for m in {modules} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


FIRST_USE = """
import sys
import numpy
before = set(sys.modules)
import nd2
file = nd2.ND2File(sys.argv[1])
file.sizes, file.metadata, file.asarray()
file.close()
print(*sorted(set(sys.modules) - before))
"""
UNUSED = {
    *("array", "base64", "concurrent.futures", "deflate", "json", "logging", "pathlib"),
    *("resource", "urllib.parse", "xml.etree.ElementTree", "nd2._core.format.clx_xml"),
    *("nd2._core.chunks.binary_layers", "nd2._core.chunks.recorded_data"),
    *("nd2._core.chunks.regions", "nd2._core.io.faults", "nd2._core.views.facts"),
}


def test_reading_a_small_file_loads_no_module_that_it_does_not_need(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 3)])
    command = [sys.executable, "-c", FIRST_USE, str(tmp_path / "a.nd2")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "nd2._core.readers.modern" in loaded
    assert not loaded & UNUSED


FIRST_WRITE = """
import sys, numpy
import nd2
before = set(sys.modules)
with nd2.ND2Writer(sys.argv[1], {"T": 2, "Y": 4, "X": 4}, "u2") as writer:
    for number in range(2):
        writer.write_frame(number, numpy.zeros((4, 4), "u2"))
print(*sorted(set(sys.modules) - before))
"""


def test_writing_a_local_file_does_not_import_fsspec(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FIRST_WRITE, str(tmp_path / "a.nd2")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "nd2._core.write.writer" in loaded
    assert not loaded & {"asyncio", "fsspec", "pandas", "xarray", "dask"}


def test_every_public_name_is_there() -> None:
    for name in nd2.__all__:
        assert getattr(nd2, name) is not None
    assert set(nd2.__all__) <= set(dir(nd2))
    with pytest.raises(AttributeError, match="nothing_like_it"):
        nd2.nothing_like_it  # type: ignore[attr-defined]  # noqa: B018


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.nd2"


def test_samples_have_the_names_of_their_stored_colors(path: Path) -> None:
    spec = build(path, samples=3, dtype="u1")
    with nd2.ND2File(path) as file:
        labeled = file.to_xarray()
    assert labeled.S.values.tolist() == ["Blue", "Green", "Red"]
    np.testing.assert_array_equal(labeled.sel(S="Blue"), spec.array[..., 0])


def test_frames_that_do_not_exist_are_refused(path: Path) -> None:
    build(path, loops=[("T", 3)])
    with nd2.ND2File(path) as file:
        for index in (-1, 3, 4):
            with pytest.raises(IndexError, match=f"frame index {index}"):
                file.read_frame(index)


@pytest.mark.parametrize("compressed", [False, True])
def test_missing_frames_with_padded_rows_are_zero(path: Path, compressed: bool) -> None:
    spec = build(path, loops=[("T", 3)], missing=frozenset({1}), width=5, dtype="u1", zlib=compressed)
    assert spec.layout.row_bytes == 8
    with nd2.ND2File(path) as file:
        assert not file.read_frame(1).any()
        np.testing.assert_array_equal(file.asarray(), spec.array)
        np.testing.assert_array_equal(np.asarray(file.to_dask()), spec.array)


def test_loops_of_one_kind_are_separate_axes(path: Path) -> None:
    spec = build(path, loops=[("T", 2), ("Z", 2), ("T", 3)])
    with nd2.ND2File(path) as file:
        assert file.sizes == {"T": 2, "Z": 2, "T2": 3, "Y": 6, "X": 8}
        assert file.loop_indices[7] == {"T": 1, "Z": 0, "T2": 1}
        np.testing.assert_array_equal(file.asarray(), spec.array)
        np.testing.assert_array_equal(np.asarray(file.to_dask()), spec.array)
        assert file.to_xarray().dims == ("T", "Z", "T2", "Y", "X")


def test_the_order_of_axes_does_not_depend_on_the_hash_seed(path: Path) -> None:
    build(path, loops=[("Z", 2)])
    code = "import sys, nd2\nwith nd2.ND2File(sys.argv[1]) as file: print(file.to_xarray(squeeze=False).dims)"
    said = {
        subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert said == {"('P', 'C', 'Z', 'Y', 'X')\n"}


def test_arrays_of_several_channels_are_contiguous(path: Path) -> None:
    build(path, loops=[("T", 3)], channels=3)
    with nd2.ND2File(path) as file:
        array = file.asarray()
    assert array.flags.c_contiguous
    assert array.base is None or array.base.nbytes == array.nbytes


FILE: dict[str, tuple[Callable[[nd2.ND2File], Any], type[Exception], str]] = {
    "asarray": (lambda f: f.asarray("A11"), ValueError, "position 'A11'; did you mean 'A1'"),
    "to_xarray": (lambda f: f.to_xarray(position="a2"), ValueError, "'A2'"),
    "write_ome_zarr": (
        lambda f: f.write_ome_zarr("never.zarr", position="A4"),
        ValueError,
        "no position 'A4'; there are 'A1', 'A2', 'A3'",
    ),
    "write_nd2 position": (lambda f: f.write_nd2("never.nd2", "A33"), ValueError, "'A3'"),
    "write_nd2 axis": (
        lambda f: f.write_nd2("never.nd2", Z=0),
        IndexError,
        r"no axis 'Z'; there are 'T', 'P', 'C', 'Y', 'X' \(file '.*a.nd2'\)",
    ),
    "write_nd2 channel": (
        lambda f: f.write_nd2("never.nd2", C="mcherry"),
        ValueError,
        "no channel 'mcherry'; did you mean 'mCherry'",
    ),
    "thumbnail": (
        lambda f: f.thumbnail(channels=["mcherry"]),
        ValueError,
        "no channel 'mcherry'; did you mean 'mCherry'",
    ),
    "thumbnail, index": (
        lambda f: f.thumbnail(channels=[3]),
        IndexError,
        "channel 3 is out of range: the file has 3 channels",
    ),
    "thumbnail, no integer": (
        lambda f: f.thumbnail(channels=[0.5]),  # type: ignore[list-item]
        TypeError,
        "channel must be an integer or a name, not 0.5",
    ),
}


@pytest.mark.parametrize("case", FILE)
def test_a_name_that_does_not_exist_suggests_those_that_do(case: str, named: Path) -> None:
    call, error, message = FILE[case]
    with nd2.ND2File(named) as file, pytest.raises(error, match=message):
        call(file)


def test_a_misspelled_attribute_of_the_module_suggests_the_right_one() -> None:
    code = "import nd2; nd2.imred"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "has no attribute 'imred'. Did you mean: 'imread'?" in done.stderr


@pytest.mark.parametrize("name", ["ä ö.nd2", "a%20b#c?.nd2", "日本.nd2", "'quoted'.nd2", " .nd2"])
def test_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(files()[0])
    path.chmod(0o400)
    with nd2.ND2File(path) as file:
        assert file.path == str(path)
        assert file.asarray().shape == (2, 3, 5)
    with nd2.ND2File(path, rescue=True) as file:
        assert file.asarray().shape == (2, 3, 5)
