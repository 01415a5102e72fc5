"""``ND2File.write_tiff`` and ``nd2_to_tiff``: read back by tifffile, pixel for pixel."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import ome_types
import pytest

import nd2
from nd2._core.export import tiff as tiff_module
from tests.builder import build
from tests.exports import images, killed
from tests.frames import log_reads
from tests.samples import each_sample

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

tifffile = pytest.importorskip("tifffile")

AXES = "TZCYXS"


def squeezed(image: NDArray[Any]) -> tuple[str, NDArray[Any]]:
    """Names and pixels of an image without the axes of size 1, except Y and X."""
    kept = [i for i, axis in enumerate(AXES) if image.shape[i] > 1 or axis in "YX"]
    return "".join(AXES[i] for i in kept), image.reshape([image.shape[i] for i in kept])


def check_series(path: Path, expected: list[NDArray[Any]]) -> None:
    with tifffile.TiffFile(path) as tif:
        assert len(tif.series) == len(expected)
        for series, image in zip(tif.series, expected, strict=True):
            axes, pixels = squeezed(image)
            # a file whose stacks are outside of its time points keeps them so
            found = series.asarray()
            assert sorted(series.axes) == sorted(axes)
            order = [series.axes.index(axis) for axis in axes]
            np.testing.assert_array_equal(found.transpose(order), pixels)


@each_sample()
@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_reads_back(sample: Path, name: str, tmp_path: Path) -> None:
    dest = tmp_path / name
    with nd2.ND2File(sample) as file:
        file.write_tiff(dest)
    check_series(dest, images(sample))
    with tifffile.TiffFile(dest) as tif:
        assert tif.is_ome == (".ome." in name)
        if tif.is_ome:
            assert {series.kind for series in tif.series} == {"ome"}
    assert [path.name for path in tmp_path.iterdir()] == [name]


KINDS: dict[str, dict[str, Any]] = {
    "one frame": {},
    "T P Z": {"loops": [("T", 2), ("P", 3), ("Z", 4)], "channels": 3},
    "P T Z": {"loops": [("P", 2), ("T", 3), ("Z", 2)], "width": 7},
    "Z T": {"loops": [("Z", 3), ("T", 2)], "channels": 2},
    "custom": {"loops": [("U", 3), ("Z", 2)]},
    "nested T": {"loops": [("T", 2), ("P", 2), ("T", 3)]},
    "two color channels": {"samples": 3, "channels": 2, "dtype": "u1", "loops": [("T", 2)]},
    "color, 16 bit": {"samples": 3},
    "float": {"dtype": "<f4", "pixel_type": 2, "loops": [("T", 2)]},
    "zlib": {"zlib": True, "loops": [("T", 3)], "channels": 2},
    "missing": {"loops": [("T", 5)], "missing": frozenset({0, 3})},
    "any order": {"loops": [("T", 4)], "order": [3, 1, 0, 2]},
    "beyond the loops": {"loops": [("T", 2)], "extra": 2},
}


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.OME.TIFF"])
@pytest.mark.parametrize("kind", KINDS)
def test_made_files_read_back(kind: str, name: str, tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / name
    build(source, **KINDS[kind])
    nd2.nd2_to_tiff(source, dest)
    check_series(dest, images(source))


def test_color_is_red_green_blue(tmp_path: Path) -> None:
    source = tmp_path / "a.nd2"
    spec = build(source, samples=3, dtype="u1")
    for name in ("a.tif", "a.ome.tif"):
        nd2.nd2_to_tiff(source, tmp_path / name)
        with tifffile.TiffFile(tmp_path / name) as tif:
            assert tif.pages[0].photometric.name == "RGB"
            np.testing.assert_array_equal(tif.pages[0].asarray(), spec.array[..., ::-1])


def test_imagej_knows_it(tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.tif"
    build(source, loops=[("Z", 3), ("T", 2)], channels=2)
    nd2.nd2_to_tiff(source, dest)
    with tifffile.TiffFile(dest) as tif:
        assert tif.is_imagej
        assert not tif.is_bigtiff
        found = tif.imagej_metadata
    assert (found["slices"], found["frames"], found["channels"]) == (3, 2, 2)
    assert found["unit"] == "um"
    assert found["spacing"] == 2.0
    assert found["finterval"] == pytest.approx(0.1)
    assert found["mode"] == "composite"
    np.testing.assert_array_equal(found["LUTs"][0][:, -1], [0, 255, 0])


def test_what_imagej_cannot_hold_is_bigtiff(tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.tif"
    build(source, loops=[("P", 2), ("T", 3)])
    nd2.nd2_to_tiff(source, dest)
    with tifffile.TiffFile(dest) as tif:
        assert tif.is_bigtiff
        assert [series.axes for series in tif.series] == ["TYX", "TYX"]
        assert float(np.divide(*tif.pages[0].tags["XResolution"].value)) == pytest.approx(1 / 0.325)


def test_the_ome_document_can_be_changed(tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.ome.tif"
    build(source, loops=[("T", 2)])

    def change(document: ome_types.OME) -> None:
        document.images[0].name = "changed"

    with nd2.ND2File(source) as file:
        file.write_tiff(dest, modify_ome=change, include_unstructured_metadata=False)
        assert not file.closed
    document = ome_types.from_tiff(dest)
    assert document.images[0].name == "changed"
    annotations = document.structured_annotations
    assert not annotations or not annotations.map_annotations
    where = document.images[0].pixels.tiff_data_blocks[1]
    assert where.uuid is not None
    assert where.uuid.file_name == "a.ome.tif"
    assert where.ifd == 1


def test_calls_for_every_frame(tmp_path: Path) -> None:
    source = tmp_path / "a.nd2"
    build(source, loops=[("T", 2), ("P", 3)], missing=frozenset({4}))
    calls: list[tuple[int, int, dict[str, int]]] = []
    nd2.nd2_to_tiff(source, tmp_path / "a.tif", on_frame=lambda *call: calls.append(call))
    assert [(number, total) for number, total, _ in calls] == [(i, 6) for i in range(6)]
    where = sorted((indices["T"], indices["P"]) for _, _, indices in calls)
    assert where == [(t, p) for t in range(2) for p in range(3)]


def test_frames_are_read_once_in_the_order_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a.nd2"
    order = [5, 0, 3, 1, 4, 2]
    build(source, loops=[("T", 2), ("P", 3)], order=order)
    monkeypatch.setattr(tiff_module, "_BLOCK", 1)
    seen = log_reads(monkeypatch)
    nd2.nd2_to_tiff(source, tmp_path / "a.ome.tif")
    assert seen == order


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a.nd2"
    build(source, loops=[("T", 400)], height=64, width=64)  # 3.3 MB of pixels
    monkeypatch.setattr(tiff_module, "_BLOCK", 64 << 10)
    nd2.nd2_to_tiff(source, tmp_path / "warm.tif")  # imports, scratch buffers
    tracemalloc.start()
    nd2.nd2_to_tiff(source, tmp_path / "a.tif")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5e6


def test_progress_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "a.nd2"
    build(source, loops=[("T", 3)])
    nd2.nd2_to_tiff(source, tmp_path / "a.tif", progress=True)
    assert "3/3" in capfd.readouterr().err


def test_progress_without_tqdm(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    source = tmp_path / "a.nd2"
    build(source, loops=[("T", 3)])
    nd2.nd2_to_tiff(source, tmp_path / "a.tif", progress=True)
    assert "frame 3/3 (100 %)" in capfd.readouterr().err


def test_without_tifffile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)
    source = tmp_path / "a.nd2"
    build(source)
    with pytest.raises(ImportError, match=r"xarray-nd2\[tiff\]"):
        nd2.nd2_to_tiff(source, tmp_path / "a.tif")


def test_a_full_disk_is_known_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.tif"
    build(source, loops=[("T", 3)], height=40, width=40)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(100, 0, 100))
    frames: list[int] = []
    with pytest.raises(OSError, match=r"11\.1 kB are needed, 100 bytes are free") as caught:
        nd2.nd2_to_tiff(source, dest, on_frame=lambda number, total, index: frames.append(number))
    assert (caught.value.errno, frames) == (errno.ENOSPC, [])
    assert [path.name for path in tmp_path.iterdir()] == ["a.nd2"]


def test_a_damaged_frame_leaves_what_was_there(tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.tif"
    build(source, loops=[("T", 3)], zlib=True, height=40, width=40)
    with nd2.ND2File(source) as file:
        offset = int(file._reader.frames.table.offsets[1])
    with source.open("r+b") as handle:
        handle.seek(offset)
        handle.write(b"\xff" * 64)
    dest.write_bytes(b"what was there")
    with pytest.raises(ValueError, match="frame 1"):
        nd2.nd2_to_tiff(source, dest)
    assert dest.read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nd2", "a.tif"]


KILL = """
import os, sys, nd2
def stop(number, total, where):
    if number == 2:
        os.kill(os.getpid(), 9)
from nd2._core.export import tiff
tiff._BLOCK = 1
nd2.nd2_to_tiff(sys.argv[1], sys.argv[2], on_frame=stop)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_killed_midway(name: str, tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "out" / name
    dest.parent.mkdir()
    build(source, loops=[("T", 8)])
    killed(KILL, source, dest)
    left = list(dest.parent.iterdir())
    assert dest not in left
    assert left, "the process was killed before it wrote anything"
    for path in left:
        with pytest.raises(tifffile.TiffFileError):
            tifffile.TiffFile(path)
    nd2.nd2_to_tiff(source, dest)
    check_series(dest, images(source))
    before = dest.read_bytes()
    killed(KILL, source, dest)
    assert dest.read_bytes() == before


def test_writes_that_are_cut_short_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 3)], channels=2)
    whole = os.pwritev

    def some(target: int, parts: Any, offset: int, /) -> int:
        return whole(target, [parts[0][: max(len(parts[0]) * 2 // 3, 1)]], offset)

    with nd2.ND2File(tmp_path / "a.nd2") as file:
        file.write_tiff(tmp_path / "whole.tif")
        monkeypatch.setattr(os, "pwritev", some)
        file.write_tiff(tmp_path / "short.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "short.tif"), tifffile.imread(tmp_path / "whole.tif"))


def test_writes_that_write_nothing_are_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 3)], channels=2)
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    with nd2.ND2File(tmp_path / "a.nd2") as file, pytest.raises(OSError, match="No space") as caught:
        file.write_tiff(tmp_path / "a.tif")
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["a.nd2"]
