"""Trees, many files as one dataset, the accessor, and recognizing files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from nd2._core.format.clx_lite import I32, U32
from tests.builder import Nd2Spec, build, experiment_tree
from tests.handles import no_handle_is_left
from tests.rich_file import FRAMES, TIMES, masks, pixels, write

if TYPE_CHECKING:
    from pathlib import Path


def test_a_tree_has_a_node_for_each_position(rich: Path) -> None:
    tree = xr.open_datatree(rich, engine="nd2")
    assert set(tree.groups) == {"/", "/P0", "/P1", "/labels", "/events"}
    assert tree.attrs == xr.open_dataset(rich, engine="nd2").attrs
    assert tree.to_dataset().position_name.values.tolist() == ["A1", "B2"]
    for index in (0, 1):
        node = tree[f"P{index}"].to_dataset()
        alone = xr.open_dataset(rich, engine="nd2", position=index, drop_variables="labels_my_cells")
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
        np.testing.assert_array_equal(dataset.image.values, np.concatenate([spec.array for spec in specs]))
    assert all(no_handle_is_left(tmp_path / f"{index}.nd2") for index in range(3))


@pytest.mark.parametrize("loops", [[("T", 3)], [("Z", 2)]])
def test_a_coordinate_names_the_file_of_each_step(tmp_path: Path, loops: list[tuple[str, int]]) -> None:
    paths = [tmp_path / f"{name}.nd2" for name in "ab"]
    for path in paths:
        build(path, loops=loops)
    joined = xr.open_mfdataset(
        paths, engine="nd2", combine="nested", concat_dim="T", preprocess=lambda dataset: dataset.nd2.assign_file("T")
    )
    steps = dict(loops).get("T", 1)
    assert joined.file.dims == ("T",)
    assert joined.file.values.tolist() == [str(path) for path in paths for _ in range(steps)]
    with pytest.raises(ValueError, match="does not say which file"):
        xr.Dataset({"image": ("T", [1])}).nd2.assign_file()


def test_a_tree_with_all_axes(rich: Path) -> None:
    tree = xr.open_datatree(rich, engine="nd2", squeeze=False)
    np.testing.assert_array_equal(tree["position_name"], ["A1", "B2"])
    for index, name in enumerate(("A1", "B2")):
        node = tree[f"P{index}"]
        expected = xr.open_dataset(rich, engine="nd2", squeeze=False, position=index)
        assert node.sizes["P"] == 1
        np.testing.assert_array_equal(node["position_name"], [name])
        np.testing.assert_array_equal(node["image"], expected.image)
