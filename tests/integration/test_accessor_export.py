"""Exports of arrays and datasets by the accessor: the same as by way of an ND2 file, in blocks."""

from __future__ import annotations

import re
import tracemalloc
from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr

import nd2
import xarray_nd2.accessor  # noqa: F401  # registers it for arrays that no engine opened
from tests.rich_file import START, pixels
from tests.samples import each_sample

if TYPE_CHECKING:
    from pathlib import Path

    from fsspec.implementations.memory import MemoryFileSystem


def _tiff(path: Path) -> tuple[Any, ...]:
    with tifffile.TiffFile(path) as tif:
        arrays = [series.asarray() for series in tif.series]
        axes = [series.axes for series in tif.series]
        text = tif.ome_metadata
    return arrays, axes, text


def _zarr(path: Any) -> dict[str, Any]:
    group = zarr.open_group(path, mode="r")
    found: dict[str, Any] = {"": dict(group.attrs)}
    for name, member in group.members(max_depth=None):
        values = member[...] if isinstance(member, zarr.Array) else None
        found[name] = (dict(member.attrs), values)
    return found


def _variants(path: Path) -> dict[str, xr.DataArray | xr.Dataset]:
    lazy = xr.open_dataset(path, engine="nd2")
    blocks = xr.open_dataset(path, engine="nd2", chunks={})
    return {
        "dataset": lazy,
        "lazy": lazy.image,
        "computed": lazy.image.max("Z"),
        "blocks": blocks.chunk({"T": 2}).image.max("Z"),
        "one": blocks.image.isel(T=1, P=0, Z=0).sel(C="GFP"),
        "transposed": blocks.image.transpose("C", "Y", "X", "Z", "P", "T").astype(np.float32),
        "uneven": blocks.chunk({"T": 2, "Z": 1, "Y": 4}).image,
    }


@pytest.mark.parametrize("name", ["dataset", "lazy", "computed", "blocks", "one", "transposed", "uneven"])
def test_exports_say_what_an_nd2_file_of_the_array_says(rich: Path, tmp_path: Path, name: str) -> None:
    labeled = _variants(rich)[name]
    nd2.imwrite(tmp_path / "x.nd2", labeled)
    with nd2.ND2File(tmp_path / "x.nd2") as file:
        file.write_tiff(tmp_path / "file.ome.tif")
        file.write_tiff(tmp_path / "file.tif")
        file.write_ome_zarr(tmp_path / "file.zarr", levels=2)
    labeled.nd2.write_tiff(tmp_path / "array.ome.tif")
    labeled.nd2.write_tiff(tmp_path / "array.tif")
    labeled.nd2.write_ome_zarr(tmp_path / "array.zarr", levels=2)
    labeled.nd2.write_nd2(tmp_path / "y.nd2")
    assert (tmp_path / "x.nd2").read_bytes() == (tmp_path / "y.nd2").read_bytes()
    for suffix in ("ome.tif", "tif"):
        expected, found = (_tiff(tmp_path / f"{who}.{suffix}") for who in ("file", "array"))
        assert found[1] == expected[1]
        for one, other in zip(found[0], expected[0], strict=True):
            np.testing.assert_array_equal(one, other)
        if suffix == "ome.tif":
            assert _plain_xml(found[2]) == _plain_xml(expected[2])
    _same(_zarr(tmp_path / "array.zarr"), _zarr(tmp_path / "file.zarr"))


def _plain_xml(text: str) -> str:
    """Leave out what differs between any two files: their names and identifiers."""
    text = re.sub(r"(file|array)\.ome\.tif|urn:uuid:[0-9a-f-]+", "", text)
    return re.sub(r'Name="(x|image)', 'Name="', text)


def _same(found: Any, expected: Any) -> None:
    np.testing.assert_equal(_unnamed(found), _unnamed(expected))


def _unnamed(value: Any) -> Any:
    """Leave out the name of the image and of the plate, which is that of the file."""
    if isinstance(value, dict):
        return {k: _unnamed(v) for k, v in value.items() if k != "name" or v not in ("x", "image")}
    return [_unnamed(v) for v in value] if isinstance(value, (list, tuple)) else value


def test_metadata_of_an_array(rich: Path, tmp_path: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2")
    dataset.image.max("Z").nd2.write_tiff(tmp_path / "a.ome.tif")
    image = nd2_ome(tmp_path / "a.ome.tif").images
    assert [one.name for one in image] == ["A1", "B2"]
    channels = image[0].pixels.channels
    assert [channel.name for channel in channels] == ["DAPI", "GFP"]
    assert image[0].pixels.physical_size_x == 0.5
    dataset.max("Z", keep_attrs=True).nd2.write_tiff(tmp_path / "b.ome.tif")
    assert nd2_ome(tmp_path / "b.ome.tif").images[0].acquisition_date == START


def nd2_ome(path: Path) -> Any:
    import ome_types

    return ome_types.from_tiff(path)


@pytest.mark.parametrize("dtype", ["int16", "uint32", "uint64", "float64"])
def test_types_that_nd2_files_do_not_have(tmp_path: Path, dtype: str) -> None:
    data = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7).astype(dtype) * 1000
    image = xr.DataArray(data, dims=tuple("TCYX")).chunk({"T": 1})
    written = zarr.open_array(image.nd2.write_ome_zarr(tmp_path / "a.zarr") / "0")
    np.testing.assert_array_equal(np.asarray(written[...]), data)
    assert written.dtype == dtype
    image.nd2.write_tiff(tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), data)
    if dtype == "uint64":
        with pytest.raises(TypeError, match=r"OME-TIFF has no pixels of uint64: convert with"):
            image.nd2.write_tiff(tmp_path / "a.ome.tif")
        assert not (tmp_path / "a.ome.tif").exists()
    else:
        image.nd2.write_tiff(tmp_path / "a.ome.tif")
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tif"), data)


@pytest.mark.parametrize("dtype", [bool, complex, "M8[ns]"])
def test_pixels_that_are_not_real_numbers(tmp_path: Path, dtype: Any) -> None:
    image = xr.DataArray(np.zeros((5, 7), dtype), dims=("Y", "X"))
    with pytest.raises(TypeError, match="convert them to real numbers"):
        image.nd2.write_tiff(tmp_path / "a.tif")
    assert not list(tmp_path.iterdir())


def test_color_is_written_red_green_blue(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 255, (2, 5, 7, 3), np.uint8)
    image = xr.DataArray(data, dims=tuple("TYXS"), coords={"S": list("RGB")})
    for one in (image, image.isel(S=[2, 1, 0]), image.chunk({"T": 1})):
        one.nd2.write_tiff(tmp_path / "a.tif", overwrite=True)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), data)


def test_missing_frames_are_zero(tmp_path: Path) -> None:
    data = np.arange(1, 1 + 4 * 5 * 7, dtype=np.uint16).reshape(4, 5, 7)
    image = xr.DataArray(data, dims=tuple("TYX"))
    image = image.assign_coords(frame_present=("T", [True, False, True, True]))
    for one in (image, image.chunk({"T": 2})):
        one.nd2.write_tiff(tmp_path / "a.tif", overwrite=True)
        expected = data.copy()
        expected[1] = 0
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), expected)


def test_each_block_is_computed_once_and_few_are_in_memory(tmp_path: Path) -> None:
    calls: list[Any] = []
    frames, side = 48, 512

    def make(block_info: Any = None) -> Any:
        start = block_info[None]["array-location"][0][0]
        calls.append(start)
        return np.full((4, side, side), start, np.uint16)

    blocks = dask.array.map_blocks(  # type: ignore[no-untyped-call]
        make, chunks=((4,) * (frames // 4), (side,), (side,)), dtype=np.uint16, meta=np.empty((0, 0, 0), np.uint16)
    )
    image = xr.DataArray(blocks, dims=tuple("TYX"))
    whole = frames * side * side * 2
    calls.clear()
    tracemalloc.start()
    image.nd2.write_tiff(tmp_path / "a.ome.tif")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sorted(calls) == list(range(0, frames, 4))
    assert peak < whole * 0.6
    calls.clear()
    image.nd2.write_ome_zarr(tmp_path / "a.zarr", chunk_shape=(3, side, side))
    assert sorted(calls) == list(range(0, frames, 4))


@pytest.mark.parametrize("dims", ["TZYX", "UZYX"])
@pytest.mark.parametrize("blocks", [(50, 1), (7, 3), (1, 6), (60, 6), (25, 6), (13, 1)])
def test_the_chunks_of_a_store_suit_the_blocks(
    tmp_path: Path, blocks: tuple[int, int], dims: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def make(block_info: Any = None) -> Any:
        place = block_info[None]["array-location"]
        calls.append(place[:2])
        return np.full([stop - start for start, stop in place], place[0][0], np.uint16)

    chunks = tuple(
        tuple(min(size, whole - start) for start in range(0, whole, size))
        for size, whole in zip((*blocks, 64, 64), (60, 6, 64, 64), strict=True)
    )
    made = dask.array.map_blocks(  # type: ignore[no-untyped-call]
        make, chunks=chunks, dtype=np.uint16, meta=np.empty((0,) * 4, np.uint16)
    )
    monkeypatch.setattr("nd2._core.write.virtual._KEPT", 0)
    calls.clear()
    path = xr.DataArray(made, dims=tuple(dims)).nd2.write_ome_zarr(tmp_path / "a.zarr")
    assert len(calls) == len(chunks[0]) * len(chunks[1])
    written = zarr.open_array(path / "0", mode="r")
    np.testing.assert_array_equal(np.asarray(written[...]), made.compute())


def test_an_export_never_replaces_what_the_array_reads(rich: Path, tmp_path: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2", chunks={})
    before = rich.read_bytes()
    with pytest.raises(FileExistsError):
        dataset.image.nd2.write_nd2(rich, overwrite=True)
    path = dataset.image.nd2.write_ome_zarr(tmp_path / "a.zarr", force_series=True)
    image = _opened(path / "0")
    with pytest.raises(FileExistsError, match="contains the file that is read"):
        image.nd2.write_ome_zarr(path, overwrite=True)
    with pytest.raises(FileExistsError, match="exists"):
        image.nd2.write_ome_zarr(path)
    one = tmp_path / "one.zarr"
    dataset.image.isel(P=0).nd2.write_ome_zarr(one)
    with pytest.raises(FileExistsError, match="it is the folder that is read"):
        _opened(one).max("Z").nd2.write_ome_zarr(one, overwrite=True)
    assert rich.read_bytes() == before
    np.testing.assert_array_equal(dataset.image, pixels())


def test_an_export_never_replaces_a_remote_store_that_the_array_reads(memory: MemoryFileSystem) -> None:
    url = "memory://a.zarr"
    xr.DataArray(np.ones((2, 5, 7), np.uint8), dims=("Z", "Y", "X")).nd2.write_ome_zarr(url)
    before = {name: memory.cat_file(name) for name in memory.find("/")}
    with pytest.raises(FileExistsError, match="it is the folder that is read"):
        _opened(url).max("Z").nd2.write_ome_zarr(url, overwrite=True)
    assert {name: memory.cat_file(name) for name in memory.find("/")} == before


def _opened(path: Path | str) -> xr.DataArray:
    """Open the image of an OME-Zarr lazily, with the axes in upper case."""
    image: xr.DataArray = xr.open_zarr(path, consolidated=False, chunks={})["0"]
    return image.rename({dim: str(dim).upper() for dim in image.dims})


def test_a_tiff_file_is_replaced_only_where_it_is_said(tmp_path: Path) -> None:
    image = xr.DataArray(np.arange(35, dtype=np.uint16).reshape(5, 7), dims=("Y", "X"))
    image.nd2.write_tiff(tmp_path / "a.tif")
    with pytest.raises(FileExistsError, match="exists"):
        (image + 1).nd2.write_tiff(tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), image)
    (image + 1).nd2.write_tiff(tmp_path / "a.tif", overwrite=True, compression="zlib")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), image + 1)
    (image + 1).nd2.write_tiff(tmp_path / "b.ome.tif", levels=2)
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as tif:
        assert [level.shape for level in tif.series[0].levels] == [(5, 7), (3, 4)]
    with pytest.raises(TypeError, match="no option 'voxel_sise'; did you mean 'voxel_size'"):
        image.nd2.write_tiff(tmp_path / "c.tif", voxel_sise=(1, 1))
    with pytest.raises(ValueError, match="is written to local paths only"):
        image.nd2.write_tiff("memory://c.tif")
    assert not (tmp_path / "c.tif").exists()


def test_axes_that_an_image_does_not_have(tmp_path: Path) -> None:
    image = xr.DataArray(np.zeros((2, 5, 7), np.uint8), dims=("scene", "Y", "X"))
    with pytest.raises(ValueError, match="axis 'scene' is not one of"):
        image.nd2.write_tiff(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="no axis 'Y'"):
        xr.DataArray(np.zeros((5, 7)), dims=("rows", "X")).nd2.rgb()


@each_sample()
def test_exports_of_samples(sample: Path, tmp_path: Path) -> None:
    image = xr.open_dataset(sample, engine="nd2").image
    if not all(image.shape):
        pytest.skip("there is no pixel")
    nd2.imwrite(tmp_path / "x.nd2", image)
    with nd2.ND2File(tmp_path / "x.nd2") as file:
        file.write_tiff(tmp_path / "file.ome.tif")
    image.chunk().nd2.write_tiff(tmp_path / "array.ome.tif")
    expected, found = (_tiff(tmp_path / f"{who}.ome.tif") for who in ("file", "array"))
    assert found[1] == expected[1]
    assert _plain_xml(found[2]) == _plain_xml(expected[2])
    for one, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(one, other)
