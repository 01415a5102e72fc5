"""``ND2File.write_ome_zarr``: valid OME-NGFF 0.5, read back pixel for pixel by zarr-python and tensorstore."""

from __future__ import annotations

import string
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

import nd2
from nd2._core.export import blocks as blocks_module
from nd2._core.export import zarr_documents
from tests.builder import build
from tests.exports import as_tczyx as expected
from tests.exports import attributes, check_store, image_paths, images, stored
from tests.frames import log_reads
from tests.samples import ABSENT, SAMPLES, each_sample

if TYPE_CHECKING:
    from pathlib import Path


yaozarrs = pytest.importorskip("yaozarrs")


@each_sample()
@pytest.mark.parametrize("backend", ["zarr", "tensorstore"])
def test_reads_back(sample: Path, backend: Any, tmp_path: Path) -> None:
    dest = tmp_path / "a.zarr"
    with nd2.ND2File(sample) as file:
        assert file.write_ome_zarr(dest, backend=backend) == dest
    check_store(dest, sample)
    assert list(tmp_path.iterdir()) == [dest]


KINDS: dict[str, dict[str, Any]] = {
    "one frame": {},
    "T P Z": {"loops": [("T", 2), ("P", 3), ("Z", 4)], "channels": 3},
    "Z T": {"loops": [("Z", 3), ("T", 2)], "channels": 2},
    "custom": {"loops": [("U", 3), ("Z", 2)]},
    "nested T": {"loops": [("T", 2), ("P", 2), ("T", 3)]},
    "color": {"samples": 3, "dtype": "u1", "loops": [("Z", 2)]},
    "two color channels": {"samples": 3, "channels": 2, "dtype": "u1", "loops": [("T", 2)]},
    "float": {"dtype": "<f4", "pixel_type": 2, "loops": [("T", 2)]},
    "zlib, missing": {"zlib": True, "loops": [("T", 5)], "missing": frozenset({2, 4})},
    "any order": {"loops": [("T", 4)], "order": [3, 1, 0, 2]},
}

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "zarr": {"backend": "zarr"},
    "one chunk": {"chunk_shape": None},
    "levels": {"levels": 2},
    "series": {"force_series": True},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_made_files_read_back(kind: str, way: str, tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.zarr"
    build(source, **KINDS[kind])
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(dest, **WAYS[way])
    check_store(dest, source)


@pytest.mark.parametrize("backend", ["zarr", "tensorstore"])
def test_chunks_and_shards(backend: Any, tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.zarr"
    build(source, loops=[("T", 5), ("Z", 3)], channels=2, height=13, width=18)
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(dest, chunk_shape=(2, 1, 1, 5, 6), shard_shape=(4, 2, 3, 10, 12), levels=3, backend=backend)
    check_store(dest, source)
    array = zarr.open_array(dest / "0", mode="r")
    assert array.chunks == (2, 1, 1, 5, 6)
    assert array.shards == (4, 2, 3, 10, 12)
    assert zarr.open_array(dest / "2", mode="r").shape == (5, 2, 3, 4, 5)


@pytest.mark.parametrize("backend", ["zarr", "tensorstore"])
def test_only_empty_chunks_are_omitted(backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zarr.core.buffer import NDBuffer

    compared: list[NDBuffer] = []
    all_equal = NDBuffer.all_equal

    def noted(self: NDBuffer, *arguments: Any) -> bool:
        compared.append(self)
        return all_equal(self, *arguments)

    monkeypatch.setattr(NDBuffer, "all_equal", noted)
    build(tmp_path / "a.nd2", loops=[("T", 6)], missing=frozenset({3}), height=64, width=64)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        file.write_ome_zarr(tmp_path / "a.zarr", chunk_shape=(1, 64, 64), levels=1, backend=backend)
    chunks = sorted(path.parent.parent.name for path in (tmp_path / "a.zarr" / "0" / "c").glob("*/0/0"))
    assert chunks == ["0", "1", "2", "4", "5"]
    assert len(compared) <= 1  # zarr-python compares each sample of a chunk with zero


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_shape": (1, 1)}, "each of the axes 'tyx'"),
        ({"chunk_shape": (0, 2, 2)}, "positive"),
        ({"chunk_shape": "big"}, "'auto' or None"),
        ({"chunk_shape": (1, 2, 2), "shard_shape": (1, 3, 2)}, "multiple of the chunks"),
        ({"levels": 0}, "levels"),
        ({"levels": "all"}, "levels"),
        ({"backend": "other"}, "backend"),
        ({"version": "0.4"}, "0.4"),
        ({"position": "B7"}, "no position"),
        ({"backend": "tensorstore", "dest": "memory://a.zarr"}, "local folders"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    source = tmp_path / "a.nd2"
    build(source, loops=[("T", 2)])
    with nd2.ND2File(source) as file, pytest.raises(ValueError, match=message):
        file.write_ome_zarr(**{"dest": tmp_path / "a.zarr", **options})
    assert [path.name for path in tmp_path.iterdir()] == ["a.nd2"]


def test_pyramid_is_the_mean(tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.zarr"
    spec = build(source, height=5, width=8)
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(dest, levels=2)
    level = stored(dest / "1")
    padded = np.pad(spec.array.astype(float), [(0, 1), (0, 0)], mode="edge")
    mean = padded.reshape(3, 2, 4, 2).mean(axis=(1, 3))
    np.testing.assert_array_equal(level, np.floor(mean + 0.5))
    scale, shift = attributes(dest)["ome"]["multiscales"][0]["datasets"][1]["coordinateTransformations"]
    assert scale["scale"] == pytest.approx([0.65, 0.65])
    assert shift["translation"] == pytest.approx([0.1625, 0.1625])


def test_pyramid_of_values_that_are_not_numbers(tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.zarr"
    signaling = np.array([0x7F800001], "u4").view("f4")[0]
    plane = np.array([[1, 3, signaling, 0], [1, 3, np.inf, -np.inf]], "f4")
    nd2.imwrite(source, plane, axes="YX")
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(dest, levels=2)
    np.testing.assert_array_equal(stored(dest / "1"), np.array([[2, np.nan]], "f4"))


def test_levels_until_small(tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.zarr"
    build(source, height=300, width=1030)
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(dest, levels="auto")
    datasets = attributes(dest)["ome"]["multiscales"][0]["datasets"]
    shapes = [zarr.open_array(dest / item["path"], mode="r").shape for item in datasets]
    assert shapes == [(300, 1030), (150, 515), (75, 258), (38, 129)]


def test_channels_as_viewers_show_them(tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.zarr"
    build(source, channels=2, channel_names=["DAPI", "GFP"], overrides={"uiBpcSignificant": 12})
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(dest)
    shown = attributes(dest)["ome"]["omero"]["channels"]
    assert [channel["label"] for channel in shown] == ["DAPI", "GFP"]
    assert [channel["color"] for channel in shown] == ["00FF00", "FF0000"]
    assert shown[0]["window"] == {"start": 0.0, "min": 0.0, "end": 4095.0, "max": 4095.0}


def test_color_is_red_green_blue(tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.zarr"
    spec = build(source, samples=3, channels=2, dtype="u1", channel_names=["A", "B"])
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(dest)
    labels = [channel["label"] for channel in attributes(dest)["ome"]["omero"]["channels"]]
    assert labels == ["A Red", "A Green", "A Blue", "B Red", "B Green", "B Blue"]
    pixels = stored(dest / "0")
    np.testing.assert_array_equal(pixels[3], spec.array[1, ..., 2])
    np.testing.assert_array_equal(pixels[2], spec.array[0, ..., 0])


def test_recorded_times_and_z_are_kept(tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.zarr"
    times = [7.0, 19.5, 31.0, 100.0, 111.0, 250.0]
    build(source, loops=[("T", 2), ("Z", 3)], times=times)
    with nd2.ND2File(source) as file:
        stage = file._reader.stage_positions
        file.write_ome_zarr(dest)
    kept = attributes(dest)["nd2"]
    assert kept["recorded"] == {"axes": ["t", "z"], "time_ms": [times[:3], times[3:]]}
    np.testing.assert_allclose(kept["nominal"]["stage_z_um"], stage[:, 2].reshape(2, 3))


def test_metadata_chunks_are_kept_where_asked(tmp_path: Path) -> None:
    source = tmp_path / "a.nd2"
    build(source)
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(tmp_path / "all.zarr")
        file.write_ome_zarr(tmp_path / "few.zarr", include_all_metadata=False)
    kept = attributes(tmp_path / "all.zarr")["nd2"]
    chunk = kept["unstructured_metadata"]["ImageAttributesLV"]
    assert chunk["SLxImageAttributes"]["Width"] == 8
    assert "unstructured_metadata" not in attributes(tmp_path / "few.zarr")["nd2"]


def test_one_position(tmp_path: Path) -> None:
    source = tmp_path / "a.nd2"
    build(source, loops=[("T", 2), ("P", 3)])
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(tmp_path / "a.zarr", position=1)
        file.write_ome_zarr(tmp_path / "b.zarr", position="A2", force_series=True)
    one = expected(images(source)[1])
    np.testing.assert_array_equal(stored(tmp_path / "a.zarr" / "0"), one)
    np.testing.assert_array_equal(stored(tmp_path / "b.zarr" / "0" / "0"), one)
    document = (tmp_path / "b.zarr" / "OME" / "METADATA.ome.xml").read_text()
    assert document.startswith("<OME")


def test_plate_from_the_names_of_positions(tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.zarr"
    build(source, loops=[("P", 3), ("T", 2)])
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(dest)
        file.write_ome_zarr(tmp_path / "b.zarr", force_series=True)
    check_store(dest, source)
    assert image_paths(dest) == ["A/1/0", "A/2/0", "A/3/0"]
    assert image_paths(tmp_path / "b.zarr") == ["0", "1", "2"]


def test_wells_of_several_fields() -> None:
    fields = zarr_documents.plate_fields(["B02_0001", "B02_0002", "C11", "AA3"])
    assert fields is not None
    assert [field.path for field in fields] == ["B/2/0", "B/2/1", "C/11/0", "AA/3/0"]
    plate = zarr_documents.plate("plate", fields)
    # with the empty ones before the last, so that viewers show each well in its place
    assert [row["name"] for row in plate["rows"]] == [*string.ascii_uppercase, "AA"]
    assert [column["name"] for column in plate["columns"]] == [str(number) for number in range(1, 12)]
    assert plate["wells"][0] == {"path": "B/2", "rowIndex": 1, "columnIndex": 1}
    assert plate["wells"][2] == {"path": "AA/3", "rowIndex": 26, "columnIndex": 2}
    assert plate["field_count"] == 2
    assert zarr_documents.plate_fields(["B02", "center"]) is None
    assert zarr_documents.plate_fields([None]) is None
    assert zarr_documents.plate_fields(["a1", "AF48", "H012"]) is not None
    for name in ("PT1", "A0", "A49", "AG1", "1", "A", "A1b"):
        assert zarr_documents.plate_fields(["A1", name]) is None


def test_labels(tmp_path: Path) -> None:
    source = SAMPLES / "made" / "binary_T3.nd2"
    if not source.exists():
        pytest.skip(ABSENT)
    dest = tmp_path / "a.zarr"
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(dest, levels=2)
        file.write_ome_zarr(tmp_path / "b.zarr", include_labels=False)
        layers = file.binary_data
        assert layers is not None
        names = attributes(dest, "labels")["ome"]["labels"]
        assert len(names) == len(layers) > 0
        for name, layer in zip(names, layers, strict=True):
            mask = stored(dest / "labels" / name / "0")
            np.testing.assert_array_equal(mask, layer.asarray())
            assert mask.any()
            half = stored(dest / "labels" / name / "1")
            np.testing.assert_array_equal(half, mask[:, ::2, ::2])
    yaozarrs.validate_zarr_store(str(dest))
    assert not (tmp_path / "b.zarr" / "labels").exists()


def test_frames_are_read_once_in_the_order_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a.nd2"
    order = [5, 0, 3, 1, 4, 2]
    build(source, loops=[("T", 2), ("P", 3)], order=order)
    monkeypatch.setattr(blocks_module, "_CHUNK", 96)
    seen = log_reads(monkeypatch)
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(tmp_path / "a.zarr")
    assert seen == order


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a.nd2"
    build(source, loops=[("T", 600)], height=128, width=128)  # 20 MB of pixels
    monkeypatch.setattr(blocks_module, "_CHUNK", 128 << 10)
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(tmp_path / "warm.zarr")
        tracemalloc.start()
        file.write_ome_zarr(tmp_path / "a.zarr")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 5e6


@pytest.mark.parametrize(("times", "recorded"), [(None, True), ([], False)])
def test_times_that_were_not_recorded_are_left_out(tmp_path: Path, times: list[float] | None, recorded: bool) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 3)], times=times)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        file.write_ome_zarr(tmp_path / "a.zarr")
    found = attributes(tmp_path / "a.zarr")["nd2"]
    assert ("time_ms" in found.get("recorded", {})) == recorded
    assert len(found["nominal"]["stage_x_um"]) == 3


def test_the_display_range_of_float_images_is_that_of_the_data(tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.zarr"
    nd2.imwrite(source, np.linspace(-5, 250000, 64, dtype="f4").reshape(8, 8))
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(dest)
    [shown] = attributes(dest)["ome"]["omero"]["channels"]
    assert shown["window"] == {"start": -5.0, "min": -5.0, "end": 250000.0, "max": 250000.0}
