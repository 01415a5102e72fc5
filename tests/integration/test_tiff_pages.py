"""Positions, compression and pyramids of TIFF files, read back by tifffile."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import ome_types
import pytest

import nd2
from nd2._core.cli import main
from tests.builder import build
from tests.exports import images
from tests.samples import each_sample

if TYPE_CHECKING:
    from pathlib import Path

tifffile = pytest.importorskip("tifffile")

COLOR: dict[str, Any] = {"samples": 3, "dtype": "u1", "height": 700, "width": 530}
PLATE: dict[str, Any] = {"loops": [("T", 2), ("P", 3), ("Z", 2)], "channels": 2}


@each_sample()
@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_compressed_pages_read_back(sample: Path, name: str, tmp_path: Path) -> None:
    with nd2.ND2File(sample) as file:
        file.write_tiff(tmp_path / name, compression="zlib")
    expected = images(sample)
    with tifffile.TiffFile(tmp_path / name) as tif:
        assert tif.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        found = [series.asarray() for series in tif.series]
    if name == "a.tif" and len(expected) > 1:
        found = list(found[0])
    assert len(found) == len(expected)
    for image, whole in zip(found, expected, strict=True):
        assert image.size == whole.size
        np.testing.assert_array_equal(np.sort(image, None), np.sort(whole, None))
    with nd2.ND2File(sample) as file:
        first = file.read_frame(0)
    page = tifffile.imread(tmp_path / name, key=0)
    if first.ndim == 2:
        np.testing.assert_array_equal(page, first)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
@pytest.mark.parametrize("kind", [COLOR, PLATE, {"dtype": "<f4", "pixel_type": 2, "width": 600}])
def test_a_pyramid(tmp_path: Path, kind: dict[str, Any], compression: Any) -> None:
    if compression in ("lzw", "zstd"):
        pytest.importorskip("imagecodecs")
    build(tmp_path / "a.nd2", **kind)
    dest = tmp_path / "a.ome.tif"
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        file.write_tiff(dest, levels=3, compression=compression)
    with tifffile.TiffFile(dest) as tif:
        assert len(tif.series) == len(images(tmp_path / "a.nd2"))
        for series, image in zip(tif.series, images(tmp_path / "a.nd2"), strict=True):
            assert len(series.levels) == 3
            np.testing.assert_array_equal(series.asarray().reshape(image.shape), image)
            axes = series.axes.index("Y"), series.axes.index("X")
            for larger, smaller in pairwise(series.levels):
                for axis in axes:
                    assert smaller.shape[axis] == -(-larger.shape[axis] // 2)
            small = series.levels[1].asarray()
            large = series.asarray().astype(float)
            corner = tuple(slice(0, 2) if axis in axes else slice(None) for axis in range(large.ndim))
            pixel = tuple(0 if axis in axes else slice(None) for axis in range(large.ndim))
            mean = large[corner].mean(axis=axes)
            assert np.abs(mean - small[pixel]).max() <= 0.5 + 1e-6 * np.abs(mean).max()


def test_automatic_levels(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", height=20, width=1000)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        file.write_tiff(tmp_path / "a.ome.tif", levels="auto")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        assert [level.shape for level in tif.series[0].levels] == [(20, 1000), (10, 500), (5, 250)]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_one_position(tmp_path: Path, name: str, compression: Any) -> None:
    spec = build(tmp_path / "a.nd2", **PLATE)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        whole = file.ome_metadata(include_unstructured=False)
        file.write_tiff(tmp_path / name, position=1, compression=compression)
    with tifffile.TiffFile(tmp_path / name) as tif:
        [series] = tif.series
        np.testing.assert_array_equal(series.asarray(), spec.array[:, 1])
        if ".ome." not in name:
            return
        [image] = ome_types.from_xml(tif.ome_metadata).images
    assert image.id == "Image:0"
    assert image.name == whole.images[1].name
    assert image.stage_label == whole.images[1].stage_label
    deltas = [plane.delta_t for plane in image.pixels.planes]
    assert deltas == [plane.delta_t for plane in whole.images[1].pixels.planes]
    assert sorted(block.ifd for block in image.pixels.tiff_data_blocks) == list(range(8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 2}, r"a pyramid needs a name with '\.ome\.' in it, not 'b\.tif'"),
        ({"levels": 0}, "levels must be a number from 1 or 'auto', not 0"),
        ({"levels": "x"}, "levels must be a number from 1 or 'auto', not 'x'"),
        ({"compression": "gzip"}, "compression must be None or one of 'zlib', 'lzw', 'zstd'"),
        ({"position": 3}, "position 3 is out of range: the file has 3 positions"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    build(tmp_path / "a.nd2", **PLATE)
    with nd2.ND2File(tmp_path / "a.nd2") as file, pytest.raises((ValueError, IndexError), match=message):
        file.write_tiff(tmp_path / "b.tif", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nd2"]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = build(tmp_path / "a.nd2", **PLATE)
    options = ["--position", "2", "--levels", "2", "--compression", "zlib"]
    assert main(["tiff", "a.nd2", *options]) == 0
    with tifffile.TiffFile("a.ome.tif") as tif:
        [series] = tif.series
        assert len(series.levels) == 2
        np.testing.assert_array_equal(series.asarray(), spec.array[:, 2])
