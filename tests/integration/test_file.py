"""``ND2File`` as a user sees it, on files that the tests write."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import nd2
from nd2._core.format import chunks
from nd2.structures import FrameMetadata
from tests.builder import Nd2Spec, build
from tests.handles import no_handle_is_left
from tests.kinds import KINDS

if TYPE_CHECKING:
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
        labelled = file.to_xarray()
    np.testing.assert_array_equal(np.asarray(lazy), spec.array)
    np.testing.assert_array_equal(labelled.values, spec.array)
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
    with (
        nd2.ND2File(path) as file,
        pytest.raises(IndexError, match=rf"frame index {index} .* 4 frames .*a\.nd2"),
    ):
        file.read_frame(index)


@pytest.mark.parametrize("loops", [[("T", 2)], [], [("P", 1), ("Z", 2)]], ids=str)
def test_frames_beyond_the_loops_are_reachable_by_index(
    tmp_path: Path, loops: list[tuple[str, int]]
) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=loops, extra=3)
    with nd2.ND2File(path) as file:
        reached = spec.frame_count - 3
        with pytest.warns(UserWarning, match=rf"a\.nd2' holds {reached + 3} .* reach {reached};"):
            assert len(file.loop_indices) == reached
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


def test_an_acquisition_that_was_cut_short_is_no_surprise(tmp_path: Path) -> None:
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


def test_many_threads_read_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 40)], channels=2, height=30, width=31)
    wrong: list[int] = []
    frames = spec.frames
    with nd2.ND2File(path) as file:

        def work(seed: int) -> None:
            indices = np.random.default_rng(seed).integers(0, 40, 200).tolist()
            wrong.extend(
                i for i in indices if not np.array_equal(file.read_frame(i), frames[i].squeeze())
            )

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


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
    code = "import sys, nd2; print([m for m in ('dask', 'xarray', 'fsspec', 'zarr', 'pandas', 'ome_types') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in nd2.__all__:
        assert getattr(nd2, name) is not None
    assert set(nd2.__all__) <= set(dir(nd2))
    with pytest.raises(AttributeError, match="nothing_like_it"):
        nd2.nothing_like_it  # type: ignore[attr-defined]  # noqa: B018


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("content", [b"", b"hello world", b"\xda\xce", b"\0" * 200])
def test_what_is_not_nd2(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.nd2"
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"not recognized as ND2.*bad\.nd2"):
        nd2.ND2File(path)
    assert no_handle_is_left(path)


def test_folders_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        nd2.ND2File(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"missing\.nd2"):
        nd2.ND2File(tmp_path / "missing.nd2")


@pytest.mark.parametrize("keep", [0.002, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.nd2"
    build(path, loops=[("T", 20)], height=30, width=40)
    os.truncate(path, int(path.stat().st_size * keep))
    with nd2.ND2File(path) as file, pytest.raises(ValueError, match=r"cut short.*cut\.nd2.*offset"):
        file.sizes  # noqa: B018
    assert no_handle_is_left(path)


@pytest.mark.parametrize("position", [0, 5, 1 << 62, 1 << 30])
def test_a_tail_that_leads_astray(tmp_path: Path, position: int) -> None:
    path = tmp_path / "map.nd2"
    build(path)
    data = path.read_bytes()
    path.write_bytes(data[:-8] + position.to_bytes(8, "little"))
    with nd2.ND2File(path) as file, pytest.raises(ValueError, match=r"map\.nd2"):
        file.sizes  # noqa: B018


def patched_map(path: Path, name: bytes, position: int) -> None:
    """Let the map of a file say that a chunk is somewhere else."""
    data = bytearray(path.read_bytes())
    at = data.rindex(name) + len(name)
    data[at : at + 8] = position.to_bytes(8, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("position", [1 << 62, 4096 * 1000, 4097])
@pytest.mark.parametrize("name", [b"ImageAttributesLV!", b"ImageMetadataSeqLV|0!"])
def test_a_map_that_points_past_the_end(tmp_path: Path, name: bytes, position: int) -> None:
    path = tmp_path / "map.nd2"
    build(path)
    patched_map(path, name, position)
    with (
        nd2.ND2File(path) as file,
        pytest.raises(
            ValueError, match=rf"map\.nd2.*{name.decode().replace('|', '.')}.*offset {position}"
        ),
    ):
        file.attributes  # noqa: B018
    assert no_handle_is_left(path)


def test_a_frame_beyond_the_end_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "map.nd2"
    spec = build(path, loops=[("T", 3)])
    patched_map(path, b"ImageDataSeq|1!", 1 << 40)
    with nd2.ND2File(path) as file:
        np.testing.assert_array_equal(file.read_frame(2), spec.frames[2].squeeze())
        with pytest.raises(ValueError, match=r"beyond the file's end.*map\.nd2.*frame 1"):
            file.read_frame(1)
        with pytest.raises(ValueError, match=r"frame 1"):
            file.asarray()


def test_a_frame_that_does_not_inflate(tmp_path: Path) -> None:
    path = tmp_path / "zip.nd2"
    spec = build(path, loops=[("T", 3)], zlib=True)
    data = bytearray(path.read_bytes())
    at = data.index(b"ImageDataSeq|1!") - 16 + chunks.PAGE
    data[at + 2 : at + 12] = b"\xff" * 10
    path.write_bytes(data)
    with nd2.ND2File(path) as file:
        with pytest.raises(ValueError, match=r"zlib stream.*zip\.nd2.*frame 1, offset"):
            file.asarray()
        np.testing.assert_array_equal(file.read_frame(2), spec.frames[2].squeeze())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({"uiBpcInMemory": 24}, "24 bits"), ({"eCompression": 1}, "lossy")],
)
def test_what_is_not_supported(tmp_path: Path, overrides: dict[str, Any], message: str) -> None:
    from nd2._core.format.clx_lite import I32

    path = tmp_path / "a.nd2"
    build(path, overrides={key: I32(value) for key, value in overrides.items()})
    with nd2.ND2File(path) as file:
        assert file.attributes.widthPx == 8
        with pytest.raises(NotImplementedError, match=message):
            file.read_frame(0)


def test_a_failed_opening_leaves_a_file_that_can_be_deleted(tmp_path: Path) -> None:
    path = tmp_path / "bad.nd2"
    path.write_bytes(b"nothing")
    with pytest.raises(OSError, match="not recognized"):
        nd2.imread(path)
    path.unlink()
    assert no_handle_is_left(path)
