"""Layers as ND2 and OME-Zarr, without napari: their names, colors, axes; and what is never replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
import zarr

import nd2
from tests import rich_file
from tests.builder import build
from xarray_nd2.napari import read_layers
from xarray_nd2.napari.writer import to_dataset, write_nd2, write_ome_zarr

if TYPE_CHECKING:
    from pathlib import Path

    from xarray_nd2.napari.regions import Layer

SHAPE = (2, 3, 20, 30)


def pixels(seed: int = 0, dtype: str = "u2") -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 200, SHAPE).astype(dtype)


def plain(name: str = "cells", kind: str = "image", **options: Any) -> Layer:
    """Return a layer as napari hands it over, axes named by napari."""
    given = {
        "name": name,
        "scale": np.array([2.0, 3.0, 0.5, 0.5]),
        "translate": np.array([0.0, -3.0, 7.0, 8.0]),
        "units": ("second", "micrometer", "micrometer", "micrometer"),
        "axis_labels": ("T", "Z", "Y", "X"),
        "metadata": {},
        "rgb": False,
        "multiscale": False,
        "colormap": {"name": "red", "colors": np.array([[0, 0, 0, 1], [1, 0, 0, 1]])},
    }
    return options.pop("data", pixels()), given | options, kind


def test_layers_become_channels_with_names_colors_and_axes(tmp_path: Path) -> None:
    green = {"name": "green", "colors": np.array([[0, 0, 0, 1], [0, 1, 0, 1]])}
    layers = [plain("DAPI"), plain("DAPI", data=pixels(1), colormap=green), plain("GFP", data=pixels(2))]
    masks = np.random.default_rng(3).integers(0, 5, SHAPE)
    layers.append(plain("my cells", "labels", data=masks))
    assert write_nd2(str(tmp_path / "a.nd2"), layers) == [str(tmp_path / "a.nd2")]
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert dict(file.sizes) == {"T": 2, "Z": 3, "C": 3, "Y": 20, "X": 30}
        expected = np.stack([pixels(seed) for seed in range(3)], axis=2)
        np.testing.assert_array_equal(file.asarray(), expected)
        names = [channel.channel.name for channel in file.metadata.channels]  # type: ignore[union-attr]
        assert names == ["DAPI", "DAPI (2)", "GFP"]
        colors = [channel.hex for channel in file._facts.channels]
        assert colors == ["FF0000", "00FF00", "FF0000"]
        assert tuple(file.voxel_size()) == (0.5, 0.5, 3.0)
        np.testing.assert_array_equal(file._facts.step_times(np.array([0, 3])).values, [0, 2000])
        layer = file.binary_data["my_cells" if "my_cells" in str(file.binary_data) else 0]  # type: ignore[index]
        np.testing.assert_array_equal(layer, masks)


@pytest.mark.parametrize(
    ("labels", "shape", "dims"),
    [
        (("-2", "-1"), (20, 30), ("C", "Y", "X")),
        (("-3", "-2", "-1"), (3, 20, 30), ("Z", "C", "Y", "X")),
        (("p", "y", "x"), (3, 20, 30), ("P", "C", "Y", "X")),
        (("file", "T", "Y", "X"), (2, 3, 20, 30), ("U", "T", "C", "Y", "X")),
        (("T", "T2", "Y", "X"), (2, 3, 20, 30), ("T", "T2", "C", "Y", "X")),
        (("T", "T", "Y", "X"), (2, 3, 20, 30), ("T", "Z", "C", "Y", "X")),
    ],
)
def test_axes_by_their_names_or_by_their_number(
    labels: tuple[str, ...], shape: tuple[int, ...], dims: tuple[str, ...]
) -> None:
    layer = plain(
        axis_labels=labels,
        data=np.zeros(shape, "u1"),
        scale=(1.0,) * len(shape),
        translate=None,
        units=("pixel",) * len(shape),
    )
    dataset = to_dataset([layer])
    assert dataset.image.dims == dims
    assert set(dataset.coords) == {"C", "channel_color"}


def test_layers_that_do_not_fit_together() -> None:
    with pytest.raises(ValueError, match="no image layer"):
        to_dataset([plain("cells", "labels")])
    with pytest.raises(ValueError, match="one shape and one type, but 'b'"):
        to_dataset([plain("a"), plain("b", data=pixels(0, "u1"))])
    with pytest.raises(ValueError, match="labels 'm' have another shape"):
        to_dataset([plain("a"), plain("m", "labels", data=pixels()[0])])
    with pytest.raises(ValueError, match="in color must be the only image"):
        to_dataset([plain("a"), plain("b", rgb=True, data=np.zeros((*SHAPE, 3), "u1"))])
    with pytest.raises(ValueError, match="6 dimensions needs names"):
        to_dataset([plain("a", data=np.zeros((1,) * 6, "u1"), axis_labels=("-1",) * 6)])


def test_images_in_color_and_masks_of_true_and_false(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*SHAPE, 4)).astype("u1")
    layers = [plain("picture", rgb=True, data=image), plain("mask", "labels", data=image[..., 0] > 99)]
    write_nd2(str(tmp_path / "a"), layers)
    with xr.open_dataset(tmp_path / "a.nd2", engine="nd2") as dataset:
        assert dataset.S.values.tolist() == ["R", "G", "B"]
        np.testing.assert_array_equal(dataset.image, image[..., :3])
        np.testing.assert_array_equal(dataset.labels_mask, image[..., 0] > 99)


def test_a_file_that_is_read_and_written_says_the_same(rich: Path, tmp_path: Path) -> None:
    write_nd2(str(tmp_path / "copy.nd2"), read_layers(rich))
    with nd2.ND2File(tmp_path / "copy.nd2") as copy, nd2.ND2File(rich) as file:
        np.testing.assert_array_equal(copy.asarray(), file.asarray())
        assert copy._facts.position_names == file._facts.position_names
        np.testing.assert_allclose(copy._facts.frame_times, file._facts.frame_times)  # type: ignore[arg-type]
        assert copy._facts.start == file._facts.start
        np.testing.assert_array_equal(copy.binary_data[0], rich_file.masks())  # type: ignore[index]
        assert copy.voxel_size() == file.voxel_size()


def test_one_position_of_a_file(rich: Path, tmp_path: Path) -> None:
    layers = [o for o in read_layers(rich, positions="layers") if o[1]["metadata"]["position"] == 1]
    write_nd2(str(tmp_path / "b.nd2"), layers)
    with nd2.ND2File(tmp_path / "b.nd2") as file:
        np.testing.assert_array_equal(file.asarray(), rich_file.pixels()[:, 1])
        expected = rich_file.TIMES.reshape(3, 2, 2)[:, 1].ravel()
        np.testing.assert_allclose(file._facts.frame_times, expected)  # type: ignore[arg-type]


def test_large_planes_are_written_in_full_resolution(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 99, (2, 40, 4100)).astype("u2")
    nd2.imwrite(tmp_path / "a.nd2", image, axes="CYX")
    write_nd2(str(tmp_path / "b.nd2"), read_layers(tmp_path / "a.nd2"))
    np.testing.assert_array_equal(nd2.imread(tmp_path / "b.nd2"), image)


def test_ome_zarr_has_levels_names_and_labels(tmp_path: Path) -> None:
    masks = np.random.default_rng(3).integers(0, 5, SHAPE)
    layers = [plain("DAPI"), plain("GFP", data=pixels(1)), plain("cells", "labels", data=masks)]
    assert write_ome_zarr(str(tmp_path / "a"), layers) == [str(tmp_path / "a.zarr")]
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    ome: Any = group.attrs["ome"]
    assert [channel["label"] for channel in ome["omero"]["channels"]] == ["DAPI", "GFP"]
    expected = np.stack([pixels(), pixels(1)], axis=1)
    np.testing.assert_array_equal(group["0"][...], expected)  # type: ignore[index]
    named: Any = group["labels"].attrs["ome"]
    (name,) = named["labels"]
    assert "cells" in name
    np.testing.assert_array_equal(group[f"labels/{name}/0"][...], masks)  # type: ignore[index]


@pytest.mark.parametrize("name", ["raw.nd2", "raw"])
def test_no_file_is_replaced(tmp_path: Path, name: str) -> None:
    path = tmp_path / "raw.nd2"
    build(path, loops=[("T", 3)], channels=2)
    raw = path.read_bytes()
    for layers in ([plain()], read_layers(path)):
        with pytest.raises(FileExistsError):
            write_nd2(str(tmp_path / name), layers)
    assert path.read_bytes() == raw


def test_no_folder_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "a.zarr"
    write_ome_zarr(str(folder), [plain()])
    with pytest.raises(FileExistsError):
        write_ome_zarr(str(folder), [plain(data=pixels(5))])
    np.testing.assert_array_equal(zarr.open_array(folder / "0", mode="r"), pixels())
    build(folder / "raw.nd2")
    with pytest.raises(FileExistsError):
        write_ome_zarr(str(folder), [plain()])
    assert (folder / "raw.nd2").exists()
