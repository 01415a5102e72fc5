"""The plugin in napari: how files come in, what layers they are, how they look, and how they are saved."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from napari.layers import Image, Labels, Shapes
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication, QFileDialog

import nd2
from nd2._core.views.pyramid import pyramid
from nd2.structures import ROI, AnimParam, BoxShape, RoiInfo, RoiShapeType
from tests.builder import build
from tests.samples import each_sample
from xarray_nd2.napari import add_layers

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PLUGIN = "xarray-nd2"


def seen(viewer: Any) -> NDArray[Any]:
    """Return what the canvas shows, red, green, blue from 0 to 255."""
    for _ in range(5):
        QApplication.processEvents()
    picture: NDArray[Any] = viewer.screenshot(canvas_only=True, flash=False)
    return picture[..., :3].astype(int)


def place(viewer: Any, picture: NDArray[Any], y: float, x: float) -> NDArray[Any]:
    """Return the color of the canvas at a place of the plane that is shown, in world units."""
    height, width = picture.shape[:2]
    center_y, center_x = viewer.camera.center[-2:]
    scale = height / viewer._canvas_size[0] if hasattr(viewer, "_canvas_size") else 1.0
    zoom = viewer.camera.zoom * scale
    row = round(height / 2 + (y - center_y) * zoom)
    column = round(width / 2 + (x - center_x) * zoom)
    color: NDArray[Any] = picture[row, column]
    return color


@each_sample()
def test_samples_open_as_layers_that_show_their_pixels(sample: Path, model: Any) -> None:
    layers = model.open(str(sample), plugin=PLUGIN)
    with xr.open_dataset(sample, engine="nd2") as dataset, nd2.ND2File(sample) as file:
        names = [channel.unique_name for channel in file._facts.channels]
        images = [layer for layer in layers if isinstance(layer, Image)]
        assert sorted(layer.name for layer in images) == sorted(names)
        assert len([layer for layer in layers if isinstance(layer, Labels)]) == len(file.binary_data or ())
        for layer in images:
            image = dataset.image
            image = image.isel(C=names.index(layer.name)) if "C" in image.dims else image
            assert layer.axis_labels == tuple(dim for dim in image.dims if dim != "S")
            assert layer.rgb is ("S" in image.dims)
            step = dict(zip(model.dims.axis_labels, model.dims.current_step, strict=True))
            frame = image.isel({dim: step[dim] for dim in layer.axis_labels[:-2]})
            layer.visible = True
            np.testing.assert_array_equal(layer._slice.image.raw, frame)
            size = file._facts.pixel_size
            unit = "pixel" if size is None else "micrometer"
            assert [str(one) for one in layer.units[-2:]] == [unit, unit]
            np.testing.assert_allclose(layer.scale[-2:], (size or (1, 1))[::-1])
            assert layer.metadata["source"] == str(sample)
        assert layers[0].source.reader_plugin == PLUGIN


def test_napari_on_the_command_line(cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari.__main__ import _build_viewer

    monkeypatch.setattr(sys, "argv", ["napari", str(cells)])
    viewer = _build_viewer()
    try:
        assert [layer.name for layer in viewer.layers] == ["red", "blue", "marks"]
    finally:
        viewer.close()


def drop(viewer: Any, *paths: Path) -> None:
    """Drop files on the window."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    event = QDropEvent(
        QPointF(10, 10), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    viewer.window._qt_viewer.dropEvent(event)


def test_files_that_are_dropped(cells: Path, viewer: Any, tmp_path: Path) -> None:
    build(tmp_path / "B.ND2", height=64, width=96)
    drop(viewer, cells, tmp_path / "B.ND2")
    assert [layer.name for layer in viewer.layers] == ["red", "blue", "marks", "Channel 0"]


def test_layers_look_as_the_file_says(cells: Path, viewer: Any) -> None:
    viewer.open(cells, plugin=PLUGIN)
    viewer.reset_view()
    assert viewer.dims.axis_labels == ("T", "Y", "X")
    viewer.layers["marks"].visible = False
    picture = seen(viewer)
    colors = [place(viewer, picture, 24, x) for x in (8, 24, 40)]
    np.testing.assert_allclose(colors, [(255, 0, 0), (0, 0, 0), (0, 0, 255)], atol=3)
    viewer.dims.set_current_step(0, 1)
    picture = seen(viewer)
    colors = [place(viewer, picture, 24, x) for x in (8, 24, 40)]
    np.testing.assert_allclose(colors, [(0, 0, 0), (255, 0, 255), (0, 0, 0)], atol=3)
    viewer.layers["marks"].visible = True
    assert place(viewer, seen(viewer), 8, 8).any()
    assert [str(unit) for unit in viewer.layers.extent.units] == ["second", "micrometer", "micrometer"]


def test_images_in_color_look_right(viewer: Any, tmp_path: Path) -> None:
    image = np.zeros((40, 60, 3), np.uint16)
    image[:, :20, 0] = image[:, 20:40, 1] = image[:, 40:, 2] = 4095
    nd2.imwrite(tmp_path / "a.nd2", image, axes="YXS", significant_bits=12)
    (layer,) = viewer.open(tmp_path / "a.nd2", plugin=PLUGIN)
    assert layer.rgb
    viewer.reset_view()
    picture = seen(viewer)
    colors = [place(viewer, picture, 20, x) for x in (10, 30, 50)]
    np.testing.assert_allclose(colors, np.eye(3) * 255, atol=5)


def test_a_stack_in_three_dimensions(viewer: Any, tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 2), ("Z", 5)], height=32, width=32)
    (layer,) = viewer.open(tmp_path / "a.nd2", plugin=PLUGIN)
    viewer.dims.ndisplay = 3
    seen(viewer)
    assert layer._slice.image.raw.shape == (5, 32, 32)


def test_large_planes_are_read_by_levels(model: Any, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 4000, (1, 2000, 6000)).astype(np.uint16)
    nd2.imwrite(tmp_path / "a.nd2", image, axes="TYX", voxel_size=(0.5, 0.5))
    (layer,) = model.open(tmp_path / "a.nd2", plugin=PLUGIN)
    assert layer.multiscale
    levels = list(pyramid(image[0], len(layer.data)))
    assert layer.data_level == len(layer.data) - 1
    np.testing.assert_array_equal(layer._slice.image.raw, levels[-1])
    # a window of 800 x 600 pixels on the screen, one for one
    layer._update_draw(
        scale_factor=0.5,
        corner_pixels_displayed=np.array([[500.0, 1000.0], [800.0, 1400.0]]) / 0.5 * 0.5,
        shape_threshold=(600, 800),
    )
    assert layer.data_level < len(layer.data) - 1
    corners = layer.corner_pixels
    level = levels[layer.data_level]
    part = level[corners[0, 0] : corners[1, 0] + 1, corners[0, 1] : corners[1, 1] + 1]
    np.testing.assert_array_equal(layer._slice.image.raw, part)


def test_regions_and_positions(viewer: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    info = RoiInfo(RoiShapeType.Rectangle, 1, color=0x00FF00, label="here")
    region = ROI(1, info, "guid", [AnimParam(boxShape=BoxShape(0.5, 0.5))])
    with nd2.ND2Writer(
        path, {"P": 2, "Y": 60, "X": 80}, rois=[region], positions=[(0.0, 0.0), (100.0, 0.0)], voxel_size=(1.0, 1.0)
    ) as writer:
        for index in range(2):
            writer.write_frame(index, np.full((60, 80), 100 * (index + 1), np.uint16))
    *_, shapes = add_layers(viewer, path)
    assert isinstance(shapes, Shapes)
    assert shapes.features["label"].tolist() == ["here"]
    np.testing.assert_allclose(shapes.edge_color[0], (0, 1, 0, 1))
    viewer.layers.clear()
    layers = add_layers(viewer, path, positions="layers")
    assert [layer.name for layer in layers] == [
        "Mono [position 0]",
        "regions [position 0]",
        "Mono [position 1]",
        "regions [position 1]",
    ]
    extents = [layer.extent.world for layer in layers[::2]]
    np.testing.assert_allclose(extents[1] - extents[0], [(0, 100), (0, 100)])


def test_the_dialog_opens_positions_as_layers(viewer: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("P", 3)])
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Open ND2 file with options")
    widget.file.value = path
    widget()
    assert [layer.name for layer in viewer.layers] == ["Channel 0"]
    viewer.layers.clear()
    widget.positions.value = "layers"
    widget()
    assert [layer.name for layer in viewer.layers] == [f"Channel 0 [A{i}]" for i in (1, 2, 3)]


def test_folders_and_stacks_of_files(model: Any, tmp_path: Path) -> None:
    for name in "ab":
        build(tmp_path / f"{name}.nd2", loops=[("T", 2)], seed=ord(name))
    assert [layer.name for layer in model.open(tmp_path, plugin=PLUGIN)] == ["a.nd2: Channel 0", "b.nd2: Channel 0"]
    model.layers.clear()
    paths = [tmp_path / "a.nd2", tmp_path / "b.nd2"]
    assert [layer.name for layer in model.open(paths, plugin=PLUGIN)] == ["Channel 0", "Channel 0 [1]"]
    model.layers.clear()
    (layer,) = model.open(paths, plugin=PLUGIN, stack=True)
    assert layer.axis_labels == ("file", "T", "Y", "X")
    np.testing.assert_array_equal(layer.data, np.stack([nd2.imread(path) for path in paths]))


def test_a_file_in_a_bucket(model: Any, cells: Path, url: str) -> None:
    layers = model.open(url, plugin=PLUGIN)
    assert [layer.name for layer in layers] == ["red", "blue", "marks"]
    np.testing.assert_array_equal(layers[0].data, nd2.imread(cells)[:, 0])


def test_a_damaged_file_says_what_is_wrong(model: Any, tmp_path: Path) -> None:
    (tmp_path / "a.nd2").write_bytes(b"something else, by its first bytes")
    with pytest.raises(OSError, match="not an ND2 file"):
        model.open(tmp_path / "a.nd2", plugin=PLUGIN)


def test_layers_are_saved(model: Any, cells: Path, tmp_path: Path) -> None:
    model.open(cells, plugin=PLUGIN)
    target = str(tmp_path / "copy.nd2")
    assert model.layers.save(target) == [target]
    with nd2.ND2File(target) as copy, nd2.ND2File(cells) as file:
        np.testing.assert_array_equal(copy.asarray(), file.asarray())
        assert [c.rgb for c in copy._facts.channels] == [(255, 0, 0), (0, 0, 255)]
        assert copy.voxel_size() == file.voxel_size()
        assert np.asarray(copy.binary_data).max() == 3
    folder = str(tmp_path / "copy.zarr")
    assert model.layers.save(folder) == [folder]
    with pytest.raises(FileExistsError):
        model.layers.save(target)


def test_a_result_without_a_file_is_saved(model: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model.add_image(rng.random((4, 30, 40)).astype(np.float32), name="filtered", colormap="magenta")
    model.add_labels(rng.integers(0, 3, (4, 30, 40)), name="nuclei")
    model.layers.save(str(tmp_path / "a.nd2"), plugin=PLUGIN)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        np.testing.assert_array_equal(file.asarray(), model.layers["filtered"].data)
        assert dict(file.sizes) == {"Z": 4, "Y": 30, "X": 40}
        assert file._facts.channels[0].rgb == (255, 0, 255)
        np.testing.assert_array_equal(file.binary_data[0], model.layers["nuclei"].data)  # type: ignore[index]


def test_the_dialog_saves_a_new_file_and_replaces_none(
    viewer: Any, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer.open(cells, plugin=PLUGIN)
    build(tmp_path / "old.nd2")
    old = (tmp_path / "old.nd2").read_bytes()
    asked: list[str] = []
    names = ["new.nd2", "old.nd2"]

    def choose(self: QFileDialog, *arguments: Any, **options: Any) -> tuple[str, str]:
        asked.append(options["filter"])
        assert not options["options"] & QFileDialog.Option.DontConfirmOverwrite
        name = next(one for one in options["filter"].split(";;") if "*.nd2" in one)
        return str(tmp_path / names.pop(0)), name

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    viewer.window._qt_viewer._save_layers_dialog()
    assert "ND2" in asked[0]
    assert "*.zarr" in asked[0]
    np.testing.assert_array_equal(nd2.imread(tmp_path / "new.nd2"), nd2.imread(cells))
    with pytest.raises(FileExistsError):
        viewer.window._qt_viewer._save_layers_dialog()
    assert (tmp_path / "old.nd2").read_bytes() == old
