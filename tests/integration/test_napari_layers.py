"""The layers that napari is given, without napari: data, options and type of each."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import nd2
import xarray_nd2.napari
from nd2._core.views.pyramid import pyramid
from nd2.structures import (
    ROI,
    AnimParam,
    BoxShape,
    ChannelMeta,
    Color,
    ExtrudedShape,
    Microscope,
    RoiInfo,
    RoiShapeType,
    XYPoint,
)
from tests import rich_file
from tests.builder import build
from tests.handles import no_handle_is_left
from tests.samples import each_sample
from tests.servers import range_server
from xarray_nd2.napari import read_layers
from xarray_nd2.napari.reader import get_reader, read_folder, read_stack

if TYPE_CHECKING:
    from pathlib import Path

    from xarray_nd2.napari.regions import Layer


def images(layers: list[Layer]) -> list[Layer]:
    return [layer for layer in layers if layer[2] == "image"]


def first_level(layer: Layer) -> Any:
    data, options, _ = layer
    return data[0] if options["multiscale"] else data


def pixels_of(path: Path) -> np.ndarray[Any, Any]:
    """Return the image with its axis C first, samples red, green, blue."""
    with xr.open_dataset(path, engine="nd2") as dataset:
        image = dataset.image
        image = image if "C" in image.dims else image.expand_dims("C")
        values: np.ndarray[Any, Any] = image.transpose("C", ...).values
        return values


@each_sample()
def test_layers_of_each_sample_hold_its_pixels(sample: Path) -> None:
    check_layers(sample)
    gc.collect()
    assert no_handle_is_left(sample)


def check_layers(sample: Path) -> None:
    """Compare images with the engine's, and their options with the facts of the file."""
    layers = read_layers(sample)
    expected = pixels_of(sample)
    with nd2.ND2File(sample) as file:
        facts = file._facts
        channels = [channel.unique_name for channel in facts.channels]
        shown = facts.composite_channels
        binary = [layer.name for layer in file.binary_data or ()]
    assert sorted(options["name"] for _, options, _ in images(layers)) == sorted(channels)
    assert [o["name"] for _, o, kind in layers if kind == "labels"] == binary
    for data, options, _ in images(layers):
        assert isinstance(data, da.Array)
        index = channels.index(options["name"])
        np.testing.assert_array_equal(data, expected[index])
        for key in ("scale", "translate", "units", "axis_labels"):
            assert len(options[key]) == data.ndim - options["rgb"]
        assert options["axis_labels"][-2:] == ("Y", "X")
        assert all(step > 0 for step in options["scale"])
        x, y = facts.pixel_size or (1.0, 1.0)
        assert options["scale"][-2:] == (y, x)
        assert set(options["units"][-2:]) == {"um" if facts.pixel_size else "pixel"}
        assert options["visible"] is (index in shown)
        assert options["metadata"]["dataset"].sizes["X"] == data.shape[-1 - options["rgb"]]
        if not options["rgb"]:
            assert options["colormap"] in ("gray", f"#{facts.channels[index].hex}")
            low, high = options["contrast_limits"]
            assert low < high


@each_sample(["made/TPZ_ch3_w33", "made/xy_names", "made/wellplate_P4", "made/order_PT"])
def test_positions_of_samples_as_layers(sample: Path) -> None:
    layers = images(read_layers(sample, positions="layers"))
    with xr.open_dataset(sample, engine="nd2") as dataset:
        count = dataset.sizes["P"]
        assert len(layers) == count * dataset.sizes.get("C", 1)
        for data, options, _ in layers:
            part = dataset.image.isel(P=options["metadata"]["position"])
            channel = options["metadata"]["channel"]["channel"]["name"]
            part = part.sel(C=channel) if "C" in part.dims else part
            np.testing.assert_array_equal(data, part)
            assert "P" not in options["axis_labels"]
            assert options["name"].endswith("]")


def test_axes_have_scale_units_and_translation(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 3), ("P", 2), ("Z", 5)], channels=2, calibration=0.25)
    for _, options, kind in read_layers(tmp_path / "a.nd2"):
        assert kind == "image"
        assert options["axis_labels"] == ("T", "P", "Z", "Y", "X")
        assert options["scale"] == pytest.approx((1.0, 1.0, 2.0, 0.25, 0.25))
        assert options["translate"] == pytest.approx((0.0, 0.0, -4.0, 0.0, 0.0))
        assert options["units"] == ("s", "pixel", "um", "um", "um")


def test_a_stack_that_goes_down_and_custom_loops(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    with nd2.ND2Writer(path, {"U": 2, "Z": 3, "Y": 4, "X": 4}, z=[2.0, 1.0, 0.0]) as writer:
        for index in range(6):
            writer.write_frame(index, np.full((4, 4), index, np.uint16))
    ((data, options, _),) = read_layers(path)
    assert data.shape == (2, 3, 4, 4)
    assert options["units"] == ("pixel", "um", "pixel", "pixel")
    assert options["scale"][1] > 0


def channels_file(path: Path) -> None:
    """Write two fluorescent channels and one in bright field."""
    microscope = [Microscope(modalityFlags=[f]) for f in ("brightfield", "fluorescence")]
    with nd2.ND2Writer(
        path,
        {"C": 3, "Y": 40, "X": 30},
        "uint16",
        channels=[
            ChannelMeta("TD", 0, Color(255, 255, 255)),
            ChannelMeta("DAPI", 1, Color(0, 0, 255)),
            ChannelMeta("DAPI", 2, Color(255, 128, 0)),
        ],
        microscope=[microscope[0], microscope[1], microscope[1]],
    ) as writer:
        ramp = np.linspace(0, 4000, 1200).reshape(40, 30)
        frame = np.stack([ramp + 100, ramp, np.zeros((40, 30))])
        writer.write_frame(0, frame.astype(np.uint16))


def test_bright_field_is_hidden_below_the_other_channels(tmp_path: Path) -> None:
    channels_file(tmp_path / "a.nd2")
    layers = read_layers(tmp_path / "a.nd2")
    options = [options for _, options, _ in layers]
    assert [one["name"] for one in options] == ["TD", "DAPI", "DAPI (2)"]
    assert [one["visible"] for one in options] == [False, True, True]
    assert [one["colormap"] for one in options] == ["gray", "#0000FF", "#FF8000"]
    assert [one["blending"] for one in options] == ["translucent_no_depth", "additive", "additive"]
    assert options[1]["contrast_limits"] == pytest.approx((4, 3996), abs=1)
    assert options[2]["contrast_limits"] == (0.0, 1.0)


@pytest.mark.parametrize(("dtype", "bits", "shift"), [("u1", 8, 0), ("u2", 16, 0), ("u2", 12, 4)])
def test_images_in_color_are_red_green_blue_and_bright(tmp_path: Path, dtype: str, bits: int, shift: int) -> None:
    image = np.random.default_rng(0).integers(0, 1 << bits, (3, 6, 8, 3)).astype(dtype)
    nd2.imwrite(tmp_path / "a.nd2", image, axes="TYXS", significant_bits=bits)
    ((data, options, _),) = read_layers(tmp_path / "a.nd2")
    assert options["rgb"] is True
    assert "contrast_limits" not in options
    np.testing.assert_array_equal(data, image << shift)


def test_two_channels_in_color(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", samples=3, channels=2, dtype="u1", loops=[("T", 2)])
    layers = read_layers(tmp_path / "a.nd2")
    assert [(data.shape, options["rgb"]) for data, options, _ in layers] == [((2, 6, 8, 3), True)] * 2


def test_binary_layers_are_labels(rich: Path) -> None:
    layers = read_layers(rich)
    ((data, options, _),) = [layer for layer in layers if layer[2] == "labels"]
    assert options["name"] == "my cells"
    np.testing.assert_array_equal(data, rich_file.masks())
    assert options["scale"] == layers[0][1]["scale"]
    assert data.dtype.kind == "u"


def test_positions_as_layers_have_labels_names_and_places(rich: Path) -> None:
    layers = read_layers(rich, positions="layers")
    assert [options["name"] for _, options, _ in layers] == [
        f"{name} [{well}]" for well in ("A1", "B2") for name in ("DAPI", "GFP", "my cells")
    ]
    for data, options, kind in layers:
        position = options["metadata"]["position"]
        assert options["metadata"]["position_name"] == ("A1", "B2")[position]
        assert options["axis_labels"] == ("T", "Z", "Y", "X")
        if kind == "labels":
            np.testing.assert_array_equal(data, rich_file.masks()[:, position])
        else:
            channel = ("DAPI", "GFP").index(options["name"][:-5])
            np.testing.assert_array_equal(data, rich_file.pixels()[:, position, :, channel])


def test_positions_are_where_the_stage_was(tmp_path: Path) -> None:
    """The stage is at the center of a frame of 8 x 6 pixels."""
    build(tmp_path / "a.nd2", loops=[("P", 3)], calibration=0.5)
    places = [o["translate"] for _, o, _ in read_layers(tmp_path / "a.nd2", positions="layers")]
    first = np.array(places[0])
    np.testing.assert_allclose(np.array(places) - first, [(0, 0), (-5, 10), (-10, 20)])
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        x, y = file._facts.stage["x"].values[0], file._facts.stage["y"].values[0]
    np.testing.assert_allclose(first, (y - 1.5, x - 2.0))
    build(tmp_path / "b.nd2", loops=[("P", 2)], calibration=0.0)
    for _, options, _ in read_layers(tmp_path / "b.nd2", positions="layers"):
        assert options["translate"] == (0.0, 0.0)


def test_a_file_without_positions_has_one_set_of_layers(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 2)])
    (layer,) = read_layers(tmp_path / "a.nd2", positions="layers")
    assert layer[1]["name"] == "Channel 0"
    with pytest.raises(ValueError, match="'axis' or 'layers', not 'both'"):
        read_layers(tmp_path / "a.nd2", positions="both")  # type: ignore[arg-type]


def test_metadata_holds_the_file_and_its_events(rich: Path) -> None:
    (_, options, _), *_ = read_layers(rich)
    metadata = options["metadata"]
    assert metadata["source"] == str(rich)
    assert metadata["channel"]["channel"]["name"] == "DAPI"
    assert [event["description"] for event in metadata["events"]] == ["Command Executed"]
    assert metadata["acquisition_date"].startswith("2024-05-01")
    np.testing.assert_allclose(metadata["dataset"].time.values.ravel(), rich_file.TIMES / 1000)
    assert {"attributes", "experiment", "metadata", "text_info", "software"} <= set(metadata)


def region(number: int, kind: RoiShapeType, steps: list[AnimParam], **more: Any) -> ROI:
    info = RoiInfo(shapeType=kind, interpType=1, color=0x0000FF, label=more.pop("label", ""))
    return ROI(number, info, f"guid {number}", steps, **more)


def regions_file(path: Path, regions: list[ROI], **sizes: int) -> None:
    with nd2.ND2Writer(path, {**sizes, "Y": 100, "X": 200}, rois=regions, times=None) as writer:
        for index in range(int(np.prod(list(sizes.values())))):
            writer.write_frame(index, np.zeros((100, 200), np.uint16), time=1000.0 * index)


def test_regions_are_shapes_in_pixels(tmp_path: Path) -> None:
    box = AnimParam(boxShape=BoxShape(0.5, 0.4), centerX=0.5, centerY=-0.5)
    turned = AnimParam(boxShape=BoxShape(0.2, 0.4), rotationZ=np.pi / 2)
    outline = ExtrudedShape(0.0, [XYPoint(-0.1, -0.2), XYPoint(0.1, -0.2), XYPoint(0.0, 0.2)])
    regions_file(
        tmp_path / "a.nd2",
        [
            region(1, RoiShapeType.Rectangle, [box], label="cell"),
            region(2, RoiShapeType.Ellipse, [turned]),
            region(3, RoiShapeType.Polygon, [AnimParam(extrudedShape=outline)]),
            region(4, RoiShapeType.Point, [AnimParam(centerX=-1.0, centerY=-1.0)]),
        ],
        T=2,
    )
    _, (data, options, kind), (points, point_options, point_kind) = read_layers(tmp_path / "a.nd2")
    assert (kind, point_kind) == ("shapes", "points")
    assert options["shape_type"] == ["rectangle", "ellipse", "polygon"]
    assert options["edge_color"] == ["#FF0000"] * 3
    assert options["features"]["label"] == ["cell", "", ""]
    assert options["axis_labels"] == ("Y", "X")
    # y, x of the corners; the center of the first pixel is 0
    np.testing.assert_allclose(data[0] + 0.5, [(15, 125), (15, 175), (35, 175), (35, 125)], atol=1e-4)
    # 20 wide and 20 high in pixels: turned by a right angle about (50, 100)
    np.testing.assert_allclose(np.abs(data[1] + 0.5 - (50, 100)), np.full((4, 2), 10.0), atol=1e-4)
    assert data[2].shape == (3, 2)
    np.testing.assert_allclose(points, [(-0.5, -0.5)], atol=1e-4)
    assert point_options["features"]["id"] == [4]


def test_regions_that_move_are_in_the_frames_where_they_were(tmp_path: Path) -> None:
    steps = [AnimParam(timeMs=time, boxShape=BoxShape(0.1, 0.1), centerX=x) for time, x in ((0.0, -0.5), (2000.0, 0.5))]
    moving = region(1, RoiShapeType.Square, steps)
    regions_file(tmp_path / "a.nd2", [moving], T=4, Z=2)
    _, (data, options, _) = read_layers(tmp_path / "a.nd2")
    assert options["axis_labels"] == ("T", "Z", "Y", "X")
    centers = {tuple(shape[0, :2].astype(int)): shape[:, 3].mean() + 0.5 for shape in data}
    assert len(centers) == 8
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        times = [row["Time [s]"] for row in file.events()][::2]
    for (t, _), x in centers.items():
        assert x == pytest.approx(150.0 if times[t] - times[0] >= 2.0 else 50.0, abs=1e-3)


def test_regions_of_too_many_frames_are_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xarray_nd2.napari.regions._MAX_PLACES", 7)
    steps = [AnimParam(timeMs=t, boxShape=BoxShape(0.1, 0.1)) for t in (0.0, 2000.0)]
    regions_file(tmp_path / "a.nd2", [region(1, RoiShapeType.Square, steps)], T=4, Z=2)
    _, (data, options, _) = read_layers(tmp_path / "a.nd2")
    assert len(data) == 1
    assert options["axis_labels"] == ("Y", "X")


def test_regions_of_one_position(tmp_path: Path) -> None:
    step = AnimParam(boxShape=BoxShape(0.1, 0.1))
    regions = [region(1, RoiShapeType.Square, [step], position=1), region(2, RoiShapeType.Square, [step])]
    path = tmp_path / "a.nd2"
    regions_file(path, regions, P=3)
    with nd2.ND2File(path) as file:
        if file.rois[1].position is None:
            pytest.skip("the writer does not write the position of a region")
    _, fixed, local = read_layers(path)
    assert fixed[1]["features"]["id"] == [2]
    assert [shape[0, 0] for shape in local[0]] == [1.0]
    counts = [len(data) for data, _, kind in read_layers(path, positions="layers") if kind == "shapes"]
    assert counts == [1, 2, 1]


def test_large_planes_have_levels(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    rng = np.random.default_rng(0)
    image = rng.integers(0, 4000, (2, 900, 4100)).astype(np.uint16)
    masks = rng.integers(0, 9, (1, 900, 4100)).astype(np.uint16)
    nd2.imwrite(path, image, axes="CYX", labels={"cells": masks[0]})
    *channels, (labels, label_options, _) = read_layers(path)
    for channel, (levels, options, _) in enumerate(channels):
        assert options["multiscale"]
        assert [level.shape for level in levels] == [(900, 4100), (450, 2050), (225, 1025), (113, 513), (57, 257)]
        assert levels[0].chunksize == (512, 512)
        for level, expected in zip(levels, pyramid(image[channel], 5), strict=True):
            np.testing.assert_array_equal(level, expected)
        assert options["contrast_limits"][1] == pytest.approx(3996, abs=10)
    assert label_options["multiscale"]
    for level, expected in zip(labels, pyramid(masks[0], 5, nearest=True), strict=True):
        np.testing.assert_array_equal(level, expected)


def test_opening_reads_a_sample_of_one_frame(tmp_path: Path) -> None:
    """Of small frames the one that is shown first, which is kept; of large ones some rows."""
    small, large = tmp_path / "small.nd2", tmp_path / "large.nd2"
    build(small, loops=[("T", 50)], channels=2, height=400, width=400)
    nd2.imwrite(large, np.ones((1, 5000, 5000), np.uint16), axes="TYX")
    with range_server(tmp_path) as server:
        layers = read_layers(server.url(small.name))
        frame = 400 * 400 * 2 * 2
        assert server.sent < frame + (1 << 20)
        server.reset()
        for data, _, _ in layers:
            data[24].compute()
        assert server.requests == 0
        layers[0][0][3].compute()
        before = server.requests
        layers[1][0][3].compute()
        assert server.requests == before
        server.reset()
        read_layers(server.url(large.name))
        assert server.sent < 4 << 20


def test_positions_share_one_sample_and_one_cache(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("P", 20)], channels=2, height=300, width=300)
    frame = 300 * 300 * 2 * 2
    with range_server(tmp_path) as server:
        layers = read_layers(server.url("a.nd2"), positions="layers")
        assert len(layers) == 40
        assert server.sent < frame + (1 << 20)
    limits = {
        (options["metadata"]["channel"]["channel"]["name"], options["contrast_limits"]) for _, options, _ in layers
    }
    assert len(limits) == 2
    assert len({id(data.image.pyramid) for data, _, _ in layers}) == 1


def test_a_missing_frame_is_not_a_sample(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 5)], missing=frozenset({1, 2}))
    ((_, options, _),) = read_layers(tmp_path / "a.nd2")
    assert options["contrast_limits"][1] > 100


def test_options_of_opening(tmp_path: Path, memory: Any) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 4)])
    memory.pipe_file("/bucket/a.nd2", (tmp_path / "a.nd2").read_bytes())
    ((data, _, _),) = read_layers("memory://bucket/a.nd2", storage_options={})
    assert data.shape == (4, 6, 8)
    cut = tmp_path / "cut.nd2"
    cut.write_bytes((tmp_path / "a.nd2").read_bytes()[:-5000])
    with pytest.raises(ValueError, match="cut"):
        read_layers(cut)
    with pytest.warns(UserWarning, match="rescued"):
        read_layers(cut, rescue=True)


def test_readers_of_files_folders_and_stacks(tmp_path: Path) -> None:
    assert get_reader(str(tmp_path)) is None
    for name in ("b", "a"):
        build(tmp_path / f"{name}.nd2", channels=2, loops=[("T", 2)], seed=ord(name))
    (tmp_path / "._a.nd2").write_bytes(b"of another program")
    (tmp_path / "notes.txt").write_text("nothing")
    assert get_reader(str(tmp_path / "a.nd2")) is read_layers
    assert get_reader("s3://bucket/a.nd2") is read_layers
    reader = get_reader(str(tmp_path))
    assert reader is read_folder
    layers = reader(str(tmp_path))
    assert [options["name"] for _, options, _ in layers] == [
        f"{file}.nd2: Channel {c}" for file in "ab" for c in range(2)
    ]
    paths = [str(tmp_path / f"{name}.nd2") for name in "ba"]
    reader = get_reader(paths)
    assert reader is read_stack
    layers = reader(paths)
    for channel, (data, options, _) in enumerate(layers):
        assert options["axis_labels"] == ("file", "T", "Y", "X")
        expected = [nd2.imread(path)[:, channel] for path in paths]
        np.testing.assert_array_equal(data, np.stack(expected))
        assert [one["source"] for one in options["metadata"]["files"]] == paths


def test_files_that_do_not_stack(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", width=8)
    build(tmp_path / "b.nd2", width=9)
    with pytest.raises(ValueError, match=r"same channels.*b\.nd2"):
        read_stack([str(tmp_path / "a.nd2"), str(tmp_path / "b.nd2")])


def test_a_damaged_file_in_a_folder(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2")
    whole = (tmp_path / "a.nd2").read_bytes()
    (tmp_path / "b.nd2").write_bytes(whole[:-5000])
    with pytest.warns(UserWarning, match=r"b\.nd2"):
        assert len(read_folder(str(tmp_path))) == 1
    (tmp_path / "a.nd2").unlink()
    with pytest.raises(ValueError, match="cut"):
        read_folder(str(tmp_path))


def test_layers_outlive_the_file_object_and_travel(tmp_path: Path) -> None:
    import pickle

    spec = build(tmp_path / "a.nd2", loops=[("T", 3)], channels=2)
    layers = pickle.loads(pickle.dumps(read_layers(tmp_path / "a.nd2")))
    for channel, (data, _, _) in enumerate(layers):
        np.testing.assert_array_equal(data, spec.array[:, channel])


def test_nothing_imports_napari(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2")
    program = (
        "import sys, xarray_nd2.napari as plugin\n"
        "heavy = {'dask', 'xarray', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        f"assert plugin.read_layers({str(tmp_path / 'a.nd2')!r})\n"
        "loaded = {'napari', 'qtpy', 'magicgui', 'npe2'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
    assert set(dir(xarray_nd2.napari)) >= {"add_layers", "read_layers"}
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = xarray_nd2.napari.other  # type: ignore[attr-defined]


def test_without_napari_add_layers_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    build(tmp_path / "a.nd2")
    monkeypatch.setitem(sys.modules, "napari.layers", None)
    with pytest.raises(ImportError, match=r"xarray-nd2\[napari\]"):
        xarray_nd2.napari.add_layers(None, tmp_path / "a.nd2")
