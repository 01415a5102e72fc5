"""Trees, many files as one dataset, the accessor, and recognising files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest
import xarray as xr

import nd2
from nd2._core.format.clx_lite import I32, U32
from tests.builder import Nd2Spec, build, experiment_tree
from tests.handles import no_handle_is_left
from tests.rich import FRAMES, TIMES, masks, pixels, write
from xarray_nd2.backend import ND2BackendEntrypoint

if TYPE_CHECKING:
    from pathlib import Path


# ---------------------------------------------------------------------------------------------------------------- trees


def test_a_tree_has_a_node_for_each_position(rich: Path) -> None:
    tree = xr.open_datatree(rich, engine="nd2")
    assert set(tree.groups) == {"/", "/P0", "/P1", "/labels", "/events"}
    assert tree.attrs == xr.open_dataset(rich, engine="nd2").attrs
    assert tree.to_dataset().position_name.values.tolist() == ["A1", "B2"]
    for index in (0, 1):
        node = tree[f"P{index}"].to_dataset()
        alone = xr.open_dataset(
            rich, engine="nd2", position=index, drop_variables="labels_my_cells"
        )
        xr.testing.assert_equal(node, alone)
        np.testing.assert_array_equal(node.image, pixels()[:, index])


def test_labels_and_events_are_nodes(rich: Path) -> None:
    tree = xr.open_datatree(rich, engine="nd2")
    np.testing.assert_array_equal(tree["labels/labels_my_cells"], masks())
    events = tree["events"].to_dataset()
    np.testing.assert_array_equal(events.time, TIMES / 1000)
    assert events.gain.dims == ("frame",)
    np.testing.assert_array_equal(events.gain, np.arange(FRAMES))
    assert events.position_name.values.tolist() == ["A1", "A1", "B2", "B2"] * 3
    assert events.Z_index.values.tolist() == [0, 1] * 6
    assert events.event_time.values.tolist() == [1.3]
    assert events.event_description.values.tolist() == ["Command Executed"]


def test_a_file_of_one_position_has_one_node(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 2)], times=[])
    tree = xr.open_datatree(path, engine="nd2")
    assert set(tree.groups) == {"/", "/P0"}
    np.testing.assert_array_equal(tree["P0/image"], spec.array)


def test_groups_as_a_dict(rich: Path) -> None:
    groups = xr.open_groups(rich, engine="nd2", drop_variables=["labels_my_cells", "time"])
    assert set(groups) == {"/", "/P0", "/P1", "/events"}
    assert "time" not in groups["/P0"].coords


@pytest.mark.parametrize("options", [{"chunks": {}}, {"decode_cf": False}, {"time": "absolute"}])
def test_options_of_trees(rich: Path, options: dict[str, Any]) -> None:
    tree = xr.open_datatree(rich, engine="nd2", **options)
    np.testing.assert_array_equal(tree["P1/image"], pixels()[:, 1])
    assert (tree["events/time"].dtype.kind == "M") == ("time" in options)


def test_a_tree_is_written_and_closed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nd2")
    tree = xr.open_datatree(path, engine="nd2")
    tree.to_zarr(tmp_path / "tree.zarr", consolidated=False)
    with xr.open_datatree(tmp_path / "tree.zarr", engine="zarr", consolidated=False) as copy:
        xr.testing.assert_identical(copy.load(), tree.load())
    tree.close()
    assert no_handle_is_left(path)


def test_columns_without_a_value_for_each_frame_have_rows_of_their_own(tmp_path: Path) -> None:
    from nd2._core.format import clx_xml

    path = tmp_path / "a.nd2"
    table = {"Tag0": {"ID": "Odd", "Type": I32(3), "Size": I32(5), "Desc": "Odd one", "Unit": "mW"}}
    build(
        path,
        loops=[("T", 2)],
        chunks={
            b"CustomDataVar|CustomDataV2_0!": clx_xml.encode({"CustomTagDescription_v1.0": table}),
            b"CustomData|Odd!": np.arange(5.0).tobytes(),
        },
    )
    assert "odd_one" not in xr.open_dataset(path, engine="nd2").variables
    odd = xr.open_datatree(path, engine="nd2")["events/odd_one"]
    assert odd.dims == ("row_5",)
    assert odd.attrs["units"] == "mW"
    np.testing.assert_array_equal(odd, np.arange(5))


def test_the_fields_of_a_stitched_image(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    tree = experiment_tree(Nd2Spec(loops=[("T", 2)]))
    assert tree is not None
    grid = {
        "iXFields": I32(3),
        "iYFields": I32(2),
        "dOverlap": 10.0,
        "bStitch": True,
        "sPattern": "snake",
        "sCamera": "",
    }
    below = {"eType": U32(4), "uLoopPars": {"uiCount": U32(0)}, "pLargeImage": grid}
    build(path, loops=[("T", 2)], experiment={**tree, "ppNextLevelEx": [below]})
    tiles = xr.open_datatree(path, engine="nd2")["tiles"]
    assert tiles["tile"].dims == ("tile_y", "tile_x")
    assert tiles["tile"].shape == (2, 3)
    assert tiles.attrs["overlap"] == 10
    assert tiles.attrs["pattern"] == "snake"
    assert "camera" not in tiles.attrs


# ----------------------------------------------------------------------------------------------------------- many files


def test_many_files_as_one_dataset(tmp_path: Path) -> None:
    specs = []
    for index in range(3):
        path = tmp_path / f"{index}.nd2"
        times = [1000.0 * index + 100 * t for t in range(2)]
        specs.append(build(path, loops=[("T", 2), ("Z", 2)], times=times * 2, seed=index))
    paths = [str(tmp_path / f"{index}.nd2") for index in range(3)]
    dataset = xr.open_mfdataset(
        paths, engine="nd2", combine="nested", concat_dim="T", combine_attrs="drop_conflicts",
        coords="minimal", compat="override", join="outer", data_vars="minimal",
    )  # fmt: skip
    with dataset:
        assert dataset.image.sizes["T"] == 6
        np.testing.assert_array_equal(
            dataset.image.values, np.concatenate([spec.array for spec in specs])
        )
    assert all(no_handle_is_left(tmp_path / f"{index}.nd2") for index in range(3))


# ------------------------------------------------------------------------------------------------------------- accessor


def test_the_file_behind_a_dataset(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nd2")
    dataset = xr.open_dataset(path, engine="nd2")
    for part in (dataset, dataset.isel(T=1)):
        with part.nd2.file() as file:
            assert isinstance(file, nd2.ND2File)
            assert file.path == str(path)
    assert no_handle_is_left(path)
    with pytest.raises(ValueError, match="does not say which file"):
        xr.Dataset({"image": ("X", [1])}).nd2.file()


def test_events_as_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nd2")
    events = xr.open_dataset(path, engine="nd2").nd2.events
    assert len(events) == FRAMES + 1
    assert events["Gain"].dropna().tolist() == list(range(FRAMES))
    assert events["Events"].dropna().tolist() == ["Command Executed"]
    assert no_handle_is_left(path)


def test_selecting_a_position_by_name(rich: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2")
    np.testing.assert_array_equal(dataset.nd2.sel_position("B2").image, pixels()[:, 1])
    one = xr.open_dataset(rich, engine="nd2", position="A1")
    assert one.nd2.sel_position("A1").identical(one)
    with pytest.raises(ValueError, match="no position 'C3'; there are 'A1', 'B2'"):
        dataset.nd2.sel_position("C3")


def test_a_composite_in_the_channels_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    ramp = np.arange(64, dtype=np.uint16).reshape(8, 8) * 100
    image = np.stack([ramp, ramp[::-1]])
    colours = [(255, 0, 0), (0, 0, 255)]
    channels = [
        nd2.structures.ChannelMeta(
            name=f"c{i}",
            index=i,
            color=nd2.structures.Color(*rgb, 1.0),
            emissionLambdaNm=None,
            excitationLambdaNm=None,
        )
        for i, rgb in enumerate(colours)
    ]
    nd2.imwrite(path, image, axes="CYX", channels=channels)
    picture = xr.open_dataset(path, engine="nd2").nd2.rgb()
    assert picture.dims == ("Y", "X", "S")
    assert picture.dtype == np.uint8
    assert picture.S.values.tolist() == ["R", "G", "B"]
    red, green, blue = (picture.sel(S=s).values.astype(int) for s in "RGB")
    assert red[0, 0] == 0
    assert red[-1, -1] == 255
    assert (np.diff(red.reshape(-1)) >= 0).all()
    assert not green.any()
    np.testing.assert_array_equal(blue, red[::-1])


def test_a_picture_in_colour_is_red_green_blue(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, samples=3, dtype="u1", loops=[("T", 2)])
    picture = xr.open_dataset(path, engine="nd2").nd2.rgb(T=1)
    np.testing.assert_array_equal(picture, spec.array[1][..., ::-1])


def test_pictures_take_the_middle_of_stacks(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 2), ("Z", 5)])
    dataset = xr.open_dataset(path, engine="nd2")
    np.testing.assert_array_equal(dataset.nd2.rgb(), dataset.nd2.rgb(T=0, Z=2))
    assert (dataset.nd2.rgb() != dataset.nd2.rgb(T=1, Z=4)).any()
    with pytest.raises(ValueError, match="no frame axis 'C'; there are 'T', 'Z'"):
        dataset.nd2.rgb(C=0)


@pytest.mark.parametrize(("calibration", "bar"), [(0.325, True), (0.0, False)])
def test_figures(tmp_path: Path, calibration: float, bar: bool) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "a.nd2"
    build(path, channels=2, channel_names=["DAPI", "GFP"], calibration=calibration, width=90)
    dataset = xr.open_dataset(path, engine="nd2")
    figure = dataset.nd2.plot()
    assert [axes.get_title() for axes in figure.axes] == ["DAPI", "GFP", "composite"]
    texts = [text.get_text() for text in figure.axes[-1].texts]
    assert texts == (["5 µm"] if bar else [])
    small = dataset.nd2.thumbnail(120)
    buffer = io.BytesIO()
    small.savefig(buffer, format="png")
    assert buffer.getvalue()[16:20] == (120).to_bytes(4, "big")


# ------------------------------------------------------------------------------------------------------ which files


def test_files_are_recognised_without_asking_a_server(tmp_path: Path) -> None:
    guess = ND2BackendEntrypoint().guess_can_open
    path, other = tmp_path / "a.dat", tmp_path / "b.nd2"
    build(path)
    other.write_bytes(b"something else")
    assert guess(path)
    assert guess(str(path))
    assert not guess(other)
    assert guess("https://nowhere.invalid/a.nd2")
    assert guess("https://nowhere.invalid/a.ND2?signature=b")
    assert guess("simplecache::s3://bucket/a.nd2")
    assert not guess("https://nowhere.invalid/a.tif")
    assert guess(tmp_path / "missing.nd2")
    assert not guess(tmp_path / "missing.tif")
    assert not guess(3)


def test_recognising_a_file_object_leaves_it_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    buffer = io.BytesIO(path.read_bytes())
    buffer.seek(7)
    assert ND2BackendEntrypoint().guess_can_open(buffer)
    assert buffer.tell() == 7
    with path.open("rb") as handle:
        assert ND2BackendEntrypoint().guess_can_open(handle)
        assert handle.tell() == 0


def test_whatever_holds_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 2)])
    memory = fsspec.filesystem("memory")
    memory.pipe("/groups/a.nd2", path.read_bytes())
    holders: list[Any] = [
        path,
        str(path),
        f"file://{path}",
        "memory://groups/a.nd2",
        "simplecache::memory://groups/a.nd2",
        fsspec.open("memory://groups/a.nd2"),
        io.BytesIO(path.read_bytes()),
    ]
    for holder in holders:
        dataset = xr.open_dataset(holder, engine="nd2")
        np.testing.assert_array_equal(dataset.image, spec.array)
    with memory.open("/groups/a.nd2") as handle:
        dataset = xr.open_dataset(handle, engine="nd2")
    np.testing.assert_array_equal(dataset.image, spec.array)
