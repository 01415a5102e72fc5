"""Files that were cut short, overwritten, or never finished: what comes back, and what is reported as lost."""

from __future__ import annotations

import io
import logging
import pickle
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest
import xarray as xr

import nd2
from nd2._core.format import chunks, clx_lite
from nd2._core.format.inflate import deflate_zlib
from nd2._core.io import open_source
from nd2._core.readers.scan import collect, scan_chunks
from tests.builder import Nd2Spec, build, picture_tree

if TYPE_CHECKING:
    from pathlib import Path


def made(path: Path, **options: Any) -> tuple[Nd2Spec, bytearray]:
    spec = build(path, **options)
    return spec, bytearray(path.read_bytes())


def start_of(data: bytes | bytearray, name: bytes) -> int:
    """Where the chunk of a name starts."""
    return data.index(name) - chunks.HEADER.size


def rescued(path: Path, data: bytes | bytearray, *, warns: str | None = None) -> nd2.ND2File:
    path.write_bytes(data)
    if warns is None:
        return nd2.ND2File(path, rescue=True)
    with pytest.warns(UserWarning, match=warns):
        return nd2.ND2File(path, rescue=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.nd2"


LOOPS: dict[str, Any] = {"loops": [("T", 3), ("P", 2)], "channels": 2}


def test_a_sound_file_is_the_same(path: Path) -> None:
    spec, data = made(path, **LOOPS)
    with rescued(path, data) as file, nd2.ND2File(path) as plain:
        assert np.array_equal(file.asarray(), spec.array)
        assert file.sizes == plain.sizes
        assert file.metadata == plain.metadata
        assert file.experiment == plain.experiment
        assert file.rescued is not None
        assert str(file.rescued) == "6 frames are whole"
        assert plain.rescued is None


@pytest.mark.parametrize("version", [(3, 0), (2, 1)])
def test_without_map_and_head(path: Path, version: tuple[int, int]) -> None:
    spec, data = made(path, version=version, **LOOPS)
    at = start_of(data, chunks.MAP_NAME)
    data[:200] = bytes(200)
    data[at:] = bytes(len(data) - at)
    with rescued(path, data) as file:
        assert np.array_equal(file.asarray(), spec.array)
        assert file.text_info["optics"] == "Plan Apo 20x"
        assert file.version == version


def test_a_damaged_version_is_not_that_of_legacy_files(path: Path) -> None:
    spec, data = made(path, **LOOPS)
    with rescued(path, data.replace(b"Ver3.0", b"Ver1.0", 1)) as file:
        assert file.version == (3, 0)
        assert not file.is_legacy
        assert np.array_equal(file.asarray(), spec.array)


def test_acquisition_that_crashed_before_the_attributes(path: Path) -> None:
    spec, data = made(path, **LOOPS, height=7, width=7)
    cut = start_of(data, b"ImageDataSeq|4!") + 4096 + 40
    with rescued(path, data[:cut], warns=r"4 frames are whole; 1 is cut .* \(4\); 2 of those") as file:
        assert file.sizes == {"T": 3, "P": 2, "C": 2, "Y": 7, "X": 7}
        expected = spec.frames.reshape(3, 2, 2, 7, 7)
        expected[2, 0, :, 1:] = 0  # of frame 4 there is one row
        expected[2, 1] = 0
        assert np.array_equal(file.asarray(), expected)
        assert np.array_equal(file.read_frame(4), expected[2, 0])
        assert file.rescued is not None
        assert file.rescued.damaged_frames == (4,)
        assert file.rescued.missing_frames == 2
        assert "attributes are lost: frames are 7 x 7 pixels" in file.rescued.lost[0]
        copy = pickle.loads(pickle.dumps(file.to_dask()))
    assert np.array_equal(copy.compute(), expected)


def test_crash_without_loops_or_a_square_image(path: Path) -> None:
    spec, data = made(path, loops=[("T", 3)], height=6, width=8)
    del data[start_of(data, b"ImageTextInfoLV!") :]
    experiment = start_of(data, b"ImageMetadataLV!")
    data[experiment : experiment + 16] = bytes(16)
    with rescued(path, data, warns="loops are lost.*frames are 48 x 1 pixels") as file:
        assert file.sizes == {"U": 3, "X": 48}
        assert np.array_equal(file.asarray(), spec.frames.reshape(3, 48))


def test_damaged_metadata_count_as_lost(path: Path) -> None:
    spec, data = made(path, **LOOPS)
    at = data.index(b"SLxPictureMetadata".decode().encode("utf-16-le"))
    data[at + 40 : at + 80] = b"\xff" * 40
    with rescued(path, data, warns="'ImageMetadataSeqLV|0!' is damaged") as file:
        assert np.array_equal(file.asarray(), spec.array)


def test_compressed_frames_are_checked(path: Path) -> None:
    spec, data = made(path, loops=[("T", 4)], zlib=True)
    at = start_of(data, b"ImageDataSeq|2!") + 4096 + 10
    data[at : at + 20] = b"\xaa" * 20
    with rescued(path, data, warns=r"3 frames are whole; 1 is cut or damaged \(2\)") as file:
        expected = spec.array.copy()
        expected[2] = 0
        assert np.array_equal(file.asarray(), expected)


def test_compressed_frames_without_attributes(path: Path) -> None:
    spec, data = made(path, loops=[("T", 3)], zlib=True, height=8, width=8)
    del data[start_of(data, b"ImageTextInfoLV!") :]
    with rescued(path, data, warns="attributes are lost: frames are 8 x 8") as file:
        assert np.array_equal(file.asarray(), spec.array)


def test_chunk_within_pixels_misleads_nobody(path: Path) -> None:
    spec, data = made(path, loops=[("T", 4)], height=40, width=60)
    fake = struct.pack("<IIQ", chunks.MAGIC, 16, 200) + b"ImageDataSeq|0!".ljust(16, b"\0")
    pixels = start_of(data, b"ImageDataSeq|2!") + 4096
    data[pixels + 100 : pixels + 100 + len(fake)] = fake
    head = start_of(data, b"ImageDataSeq|3!")
    data[head : head + 16] = b"\xaa" * 16  # so that frame 2 is looked through
    with rescued(path, data, warns=r"3 frames are whole; 1 of those") as file:
        assert np.array_equal(file.read_frame(0), spec.array[0])
        found = file.read_frame(2)
        assert bytes(found.tobytes()[100 : 100 + len(fake)]) == fake


@pytest.mark.parametrize("lost", [1000, 4096])
def test_lost_bytes_shift_what_follows(path: Path, lost: int) -> None:
    spec, data = made(path, loops=[("T", 4)], height=40, width=60)
    at = start_of(data, b"ImageDataSeq|1!") + 4096 + 100
    del data[at : at + lost]
    with rescued(path, data, warns=r"3 frames are whole; 1 is cut or damaged \(1\)") as file:
        expected = spec.array.copy()
        expected[1] = 0
        assert np.array_equal(file.asarray(), expected)


def test_the_later_copy_counts_unless_it_is_cut(path: Path) -> None:
    spec, data = made(path, loops=[("T", 2)])
    first = start_of(data, b"ImageDataSeq|0!")
    end = start_of(data, b"ImageDataSeq|1!")
    copy = bytearray(data[first:end])
    copy[4096:4098] = b"\x07\x07"
    with rescued(path, bytes(data + copy)) as file:
        assert file.read_frame(0).flat[0] == 0x0707
    with rescued(path, bytes(data + copy[:4100])) as file:
        assert np.array_equal(file.read_frame(0), spec.array[0])


def test_stale_map_lists_other_places(path: Path) -> None:
    spec, data = made(path, loops=[("T", 3)])
    grown = data[:4096] + bytes(8192) + data[4096:]
    with rescued(path, grown) as file:
        assert np.array_equal(file.asarray(), spec.array)


def test_absurd_frame_number_and_loops(path: Path) -> None:
    spec, data = made(path, loops=[("T", 3)])
    wrong = bytes(data).replace(b"ImageDataSeq|2!" + b"\0" * 13, b"ImageDataSeq|2222222222222!\0")
    assert wrong != data
    with rescued(path, wrong, warns="1 frame with a number that no file") as file:
        assert np.array_equal(file.read_frame(1), spec.array[1])


def test_nothing_of_a_file(path: Path) -> None:
    path.write_bytes(bytes(10_000))
    with pytest.raises(OSError, match=r"no chunk of an ND2 file .*a\.nd2"):
        nd2.ND2File(path, rescue=True)


def test_every_way_to_open(path: Path) -> None:
    spec, data = made(path, **LOOPS)
    cut = bytes(data[: start_of(data, chunks.MAP_NAME)])
    path.write_bytes(cut)
    fsspec.filesystem("memory").pipe_file("/rescue/a.nd2", cut)
    for where in (path, io.BytesIO(cut), "memory://rescue/a.nd2"):
        assert np.array_equal(nd2.imread(where, rescue=True), spec.array)
    with xr.open_dataset(path, engine="nd2", rescue=True) as dataset:
        assert np.array_equal(dataset["image"].values, spec.array)
    with nd2.ND2File(path, rescue=True) as file:
        file.close()
        file.open()
        with pickle.loads(pickle.dumps(file)) as copy:
            assert np.array_equal(copy.asarray(), spec.array)


def test_frames_one_by_one(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec, data = made(path, loops=[("T", 4)], channels=2, height=5, width=3, order=[2, 0, 1, 3])
    path.write_bytes(data[: start_of(data, b"ImageDataSeq|3!") + 4100])
    expected = np.moveaxis(spec.frames[[2, 0, 1], :, :, :, 0], 1, 3)
    with caplog.at_level(logging.INFO, "nd2.rescue"):
        frames = list(nd2.rescue_nd2(path, (5, 3, 2)))
    assert np.array_equal(np.stack(frames), expected)
    assert [record.message.split(" at ")[0] for record in caplog.records] == [
        "frame 2", "frame 0", "frame 1", "frame 3",
    ]  # fmt: skip
    assert "cut" in caplog.records[-1].message


def test_frames_without_a_shape_and_of_a_handle(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec, data = made(path, loops=[("T", 3)])
    path.write_bytes(data)
    with path.open("rb") as handle:
        frames = list(nd2.rescue_nd2(handle, max_iters=2, verbose=False))
        assert not handle.closed
    assert np.array_equal(np.stack(frames), spec.frames[:2].reshape(2, -1))
    assert not caplog.records
    assert list(nd2.rescue_nd2(path, (600, 8), verbose=False)) == []
    assert list(nd2.rescue_nd2(path, verbose=False, chunk_start=b"none")) == []


def test_compressed_frames_one_by_one(path: Path) -> None:
    spec, _ = made(path, loops=[("T", 2)], zlib=True)
    frames = list(nd2.rescue_nd2(path, (6, 8), verbose=False))
    assert np.array_equal(np.stack(frames), spec.array)


@pytest.mark.parametrize("options", [{}, {"version": (2, 1)}, {"zlib": True}, {"name_field": 7}])
def test_copy_is_sound(path: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    spec, data = made(path, **LOOPS, **options)
    path.write_bytes(bytes(4096) + data[4096 : start_of(data, chunks.MAP_NAME)])
    report = nd2.rescue_file(path, tmp_path / "b.nd2")
    assert report.frame_count == 6
    with nd2.ND2File(tmp_path / "b.nd2") as file:
        assert np.array_equal(file.asarray(), spec.array)
        assert file.version == spec.version
        assert [row["Time [s]"] for row in file.events()] == pytest.approx(np.arange(6) / 10)
    assert [item.name for item in tmp_path.iterdir() if "part" in item.name] == []


def test_copy_without_attributes(path: Path, tmp_path: Path) -> None:
    spec, data = made(path, loops=[("T", 3)], height=8, width=8)
    path.write_bytes(data[: start_of(data, b"ImageDataSeq|2!") + 4097])
    with pytest.warns(UserWarning, match="attributes are lost"):
        nd2.rescue_file(path, tmp_path / "b.nd2")
    with nd2.ND2File(tmp_path / "b.nd2") as file:
        assert file.sizes == {"T": 3, "Y": 8, "X": 8}
        assert np.array_equal(file.asarray()[:2], spec.array[:2])
        assert not file.asarray()[2].any()


def test_dtype_decides_where_samples_are_ambiguous(path: Path, tmp_path: Path) -> None:
    spec, data = made(path, loops=[("T", 3)], height=8, width=8)  # 16 bits in all of their bytes
    path.write_bytes(data[: start_of(data, b"ImageDataSeq|2!") + 8192])
    with pytest.warns(UserWarning, match="if that is wrong, pass dtype="):
        nd2.rescue_file(path, tmp_path / "guess.nd2")
    with pytest.warns(UserWarning, match="pixels of 8 bits, a guess by their length$"):
        nd2.rescue_file(path, tmp_path / "bytes.nd2", dtype="uint8")
    with nd2.ND2File(tmp_path / "bytes.nd2") as file:
        assert file.dtype == np.uint8
        assert file.asarray().tobytes() == spec.array.tobytes()
    with pytest.warns(UserWarning, match="of 16 bits"), nd2.ND2File(path, rescue=True, dtype=np.uint16) as file:
        np.testing.assert_array_equal(file.asarray(), spec.array)
    for dtype in ("int16", ">u2", "uint64"):
        with pytest.raises(ValueError, match=r"dtype is 'uint8', 'uint16' or 'float32', not"):
            nd2.rescue_file(path, tmp_path / "no.nd2", dtype=dtype)
    with pytest.raises(ValueError, match="only used with rescue=True"):
        nd2.ND2File(path, dtype="uint8")


def test_copy_without_loops_has_all_frames(path: Path, tmp_path: Path) -> None:
    spec, data = made(path, loops=[("T", 3)])
    experiment = start_of(data, b"ImageMetadataLV!")
    data[experiment : experiment + 16] = bytes(16)
    path.write_bytes(data)
    with pytest.warns(UserWarning, match="loops are lost"):
        nd2.rescue_file(path, tmp_path / "b.nd2")
    with nd2.ND2File(tmp_path / "b.nd2") as file:
        assert file.sizes == {"U": 3, "Y": 6, "X": 8}
        assert np.array_equal(file.asarray(), spec.array)


def test_copy_leaves_out_damaged_metadata(path: Path, tmp_path: Path) -> None:
    spec, data = made(path, **LOOPS)
    at = data.index(b"SLxPictureMetadata".decode().encode("utf-16-le"))
    data[at + 40 : at + 80] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.warns(UserWarning, match="is damaged"):
        nd2.rescue_file(path, tmp_path / "b.nd2")
    with nd2.ND2File(tmp_path / "b.nd2") as file:
        assert np.array_equal(file.asarray(), spec.array)
        assert len(file.metadata.channels) == 2  # type: ignore[union-attr, arg-type]


def test_copy_of_nothing_leaves_nothing(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"nothing" * 1000)
    with pytest.raises(OSError, match="no chunk"):
        nd2.rescue_file(path, tmp_path / "b.nd2")
    assert not (tmp_path / "b.nd2").exists()


class CountingSource:
    """A source that notes what is read."""

    def __init__(self, data: bytes) -> None:
        self._source = open_source(io.BytesIO(data))
        self.reads: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def read(self, offset: int, nbytes: int) -> bytes:
        self.reads.append((offset, nbytes))
        return self._source.read(offset, nbytes)


def test_scan_reads_a_sound_file_once(path: Path) -> None:
    _, data = made(path, loops=[("T", 200)])
    source: Any = CountingSource(bytes(data))
    found = collect(scan_chunks(source), len(data))
    assert found.chunk_map.frame_index.tolist() == list(range(200))
    large = [nbytes for _, nbytes in source.reads if nbytes > 200]
    assert sum(large) <= len(data) * 1.2
    assert len(large) < 12


def test_scan_jumps_over_large_frames(path: Path) -> None:
    _, data = made(path, loops=[("T", 4)], height=1000, width=1000)
    source: Any = CountingSource(bytes(data))
    assert len(collect(scan_chunks(source), len(data)).chunk_map.frame_index) == 4
    assert sum(nbytes for _, nbytes in source.reads) < len(data) / 4


def test_scan_of_magic_numbers_only_is_linear() -> None:
    data = (struct.pack("<IIQ", chunks.MAGIC, 16, 1 << 60) + b"ImageDataSeq|0!\0") * 3000
    source: Any = CountingSource(data)
    found = collect(scan_chunks(source), len(data))
    assert not len(found.chunk_map.frame_index)
    assert len(source.reads) < 4 * 3000


def test_deflated_frame_that_claims_too_much_is_not_a_frame(path: Path) -> None:
    _, data = made(path, zlib=True, overrides={"uiWidth": 60_000, "uiHeight": 60_000})
    with pytest.warns(UserWarning, match="do not fit"):
        nd2.ND2File(io.BytesIO(bytes(data)), rescue=True).close()


@pytest.mark.parametrize("zlib", [False, True])
def test_rows_of_the_frame_that_the_file_ends_in_are_given(path: Path, zlib: bool) -> None:
    spec, data = made(path, loops=[("T", 3)], height=400, width=60, zlib=zlib)
    length = 400 * 120 if not zlib else len(deflate_zlib(spec.layout.encode(spec.frames[2])))
    cut = start_of(data, b"ImageDataSeq|2!") + 4096 + length // 2
    with rescued(path, data[:cut], warns=r"2 frames are whole; 1 is cut .* \(2\)") as file:
        attributes = file.attributes._replace(heightPx=400, widthPx=60)
    whole = bytearray(data[:cut])
    build(path, Nd2Spec(loops=[("T", 3)], height=400, width=60, zlib=zlib))
    assert attributes.heightPx == 400
    # the attributes, which would come behind the frames, are put in front
    tree = start_of(data, b"ImageAttributesLV!")
    chunk = bytes(data[tree : tree + 4096])
    assert chunk.startswith(chunks.MAGIC_BYTES)
    whole[4096:4096] = chunk
    with rescued(path, whole, warns=r"2 frames are whole; 1 is cut .* \(2\)") as file:
        image = file.asarray()
        rows = int(image[2].any(axis=1).sum())
        assert 100 < rows < 300
        np.testing.assert_array_equal(image[:2], spec.array[:2])
        np.testing.assert_array_equal(image[2, :rows], spec.array[2, :rows])
        np.testing.assert_array_equal(file.read_frame(2), image[2])
        np.testing.assert_array_equal(file.to_dask()[2, 20:300:7, 3:9], image[2, 20:300:7, 3:9])
    with pytest.warns(UserWarning, match="2 frames are whole"):
        dataset = xr.open_dataset(path, engine="nd2", rescue=True)
    assert dataset["frame_present"].values.tolist() == [True, True, False]
    np.testing.assert_array_equal(dataset["image"], image)


def camera(width: int, height: int, binning: float, bits: int) -> dict[str, Any]:
    size = {"cx": width, "cy": height}
    description = {"sizeSensorPixels": size, "dBinningX": binning, "dBinningY": binning, "uiBpc": bits}
    return {"FormatQuality": {"fmtDesc": description}}


def without_attributes(path: Path, tree: dict[str, Any], **options: Any) -> Nd2Spec:
    """Write a file without attributes, whose picture metadata name a camera."""
    spec = Nd2Spec(loops=[("T", 2)], **options)
    picture = picture_tree(spec)
    planes = picture["sPicturePlanes"]
    picture["sPicturePlanes"] = {**planes, "sSampleSetting": {"a0": {"pCameraSetting": tree}}}
    name = b"ImageMetadataSeqLV|0!"
    payload = clx_lite.encode({"SLxPictureMetadata": picture})
    build(path, replace(spec, chunks={name: payload, b"ImageAttributesLV!": None}))
    return spec


def test_binning_of_the_camera_gives_the_size(path: Path) -> None:
    spec = without_attributes(path, camera(96, 40, 2.0, 14), height=20, width=48)
    with rescued(path, path.read_bytes(), warns="48 x 20 pixels of 16 bits, by the camera") as file:
        np.testing.assert_array_equal(file.asarray(), spec.array)


@pytest.mark.parametrize("zlib", [False, True])
def test_samples_of_8_bits_are_found(path: Path, zlib: bool) -> None:
    spec = without_attributes(path, {}, height=64, width=64, dtype="u1", zlib=zlib)
    with rescued(path, path.read_bytes(), warns="64 x 64 pixels of 8 bits") as file:
        assert file.dtype == np.uint8
        np.testing.assert_array_equal(file.asarray(), spec.array)


def test_the_camera_tells_the_bits_of_dark_frames(path: Path) -> None:
    without_attributes(path, camera(64, 64, 1.0, 8), height=64, width=64, dtype="u1", seed=3)
    data = bytearray(path.read_bytes())
    for frame in (0, 1):
        pixels = start_of(data, b"ImageDataSeq|%d!" % frame) + 4096
        data[pixels : pixels + 4096] = bytes(4096)
    with rescued(path, data, warns="64 x 64 pixels of 8 bits, by the camera") as file:
        assert file.dtype == np.uint8
