"""Levels, tiles and labels of an endpoint: their values, and what is read for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

import nd2
from nd2._core.frames.array import FrameArray
from nd2._core.views.pyramid import pyramid
from tests.builder import build
from tests.servers import range_server
from xarray_nd2.serve import serve

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of rows of a file that are read, one for each read."""
    counts: list[int] = []
    read = FrameArray.read

    def counted(self: FrameArray, key: tuple[Any, ...], out: Any = None) -> NDArray[Any]:
        part = read(self, key, out)
        counts.append(part.shape[-2])
        return part

    monkeypatch.setattr(FrameArray, "read", counted)
    return counts


def opened(url: str) -> Any:
    return zarr.open_group(url, mode="r")


def levels_of(group: Any) -> list[Any]:
    (multiscale,) = group.attrs["ome"]["multiscales"]
    return [group[dataset["path"]] for dataset in multiscale["datasets"]]


@pytest.mark.parametrize("shape", [(1100, 900), (513, 40), (512, 512)])
@pytest.mark.parametrize("compressed", [False, True])
def test_levels_of_every_image(tmp_path: Path, shape: tuple[int, int], compressed: bool) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, height=shape[0], width=shape[1], channels=2, zlib=compressed)
    expected = list(pyramid(spec.array, 2 if shape == (512, 512) else 3))
    with serve(path) as endpoint:
        arrays = levels_of(opened(endpoint.url))
        assert max(arrays[-1].shape[-2:]) <= 512
        for array, level in zip(arrays, expected, strict=False):
            assert array.chunks[0] == 1
            assert max(array.chunks[1:]) <= 1024
            np.testing.assert_array_equal(array[...], level)


def test_large_planes_come_in_small_tiles(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, height=2100, width=600, samples=3, dtype="u1")
    with serve(path) as endpoint:
        arrays = levels_of(opened(endpoint.url))
        assert [array.chunks for array in arrays[:2]] == [(3, 512, 512), (3, 512, 300)]
        np.testing.assert_array_equal(arrays[0][...], spec.array.transpose(2, 0, 1))


def test_levels_of_each_position(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("P", 3), ("T", 2)], height=530, width=20)
    with serve(path) as endpoint:
        root = opened(endpoint.url)
        for position in range(3):
            for array, level in zip(levels_of(root[str(position)]), pyramid(spec.array[position], 2), strict=True):
                np.testing.assert_array_equal(array[...], level)
        together = opened(f"{endpoint.url}/_/positions")
        assert [a["name"] for a in together.attrs["ome"]["multiscales"][0]["axes"]] == list("ptyx")
        for array, level in zip(levels_of(together), pyramid(spec.array, 2), strict=True):
            np.testing.assert_array_equal(array[...], level)


def test_scales_place_each_level(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, height=1100, width=900, calibration=0.5)
    with serve(path) as endpoint:
        ome = opened(endpoint.url).attrs["ome"]
    yaozarrs = pytest.importorskip("yaozarrs")
    yaozarrs.validate_ome_object({"ome": ome})
    (multiscale,) = ome["multiscales"]
    steps = [dataset["coordinateTransformations"] for dataset in multiscale["datasets"]]
    assert [step[0]["scale"] for step in steps] == [[0.5, 0.5], [1.0, 1.0], [2.0, 2.0]]
    assert [step[1]["translation"] for step in steps[1:]] == [[0.25, 0.25], [0.75, 0.75]]


def test_the_window_is_that_of_the_values(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    values = np.arange(4000, dtype=np.uint16).reshape(2, 40, 50)
    nd2.imwrite(path, values, axes="CYX")
    with serve(path) as endpoint:
        ome = opened(endpoint.url).attrs["ome"]
    for channel, part in zip(ome["omero"]["channels"], values, strict=True):
        low, high = np.percentile(part, (0.1, 99.9))
        window = channel["window"]
        assert (window["start"], window["end"]) == pytest.approx((low, high))
        assert (window["min"], window["max"]) == (0, 65535)


def test_rows_are_read_once(tmp_path: Path, rows: list[int]) -> None:
    path = tmp_path / "a.nd2"
    build(path, height=1500, width=1100)
    with serve(path) as endpoint:
        arrays = levels_of(opened(endpoint.url))
        rows.clear()
        arrays[2][...]
        assert sum(rows) == 1500
        arrays[1][...]
        assert sum(rows) == 1500
        arrays[0][...]
        tiles = sum(rows)
        arrays[0][...]
        assert tiles == sum(rows) <= 3000


@pytest.fixture
def labeled(tmp_path: Path) -> tuple[Path, NDArray[Any]]:
    """A file with two positions, three planes and two binary layers, and the masks of the first."""
    masks = np.random.default_rng(0).integers(0, 5, (2, 3, 600, 40)).astype(np.uint16)
    path = tmp_path / "labels.nd2"
    sizes = {"P": 2, "Z": 3, "C": 2, "Y": 600, "X": 40}
    layers = {"cells": masks, "in nuclei": np.zeros_like(masks)}
    with nd2.ND2Writer(path, sizes, np.uint16, labels=layers) as writer:
        for frame in range(6):
            writer.write_frame(frame, np.full((2, 600, 40), frame, np.uint16))
    return path, masks


def test_labels_are_served_with_their_image(labeled: tuple[Path, NDArray[Any]]) -> None:
    path, masks = labeled
    with serve(path) as endpoint:
        root = opened(endpoint.url)
        for position in range(2):
            labels: Any = root[f"{position}/labels"]
            assert labels.attrs["ome"]["labels"] == ["label_0_cells", "label_1_in_nuclei"]
            group = labels["label_0_cells"]
            ome = group.attrs["ome"]
            assert ome["image-label"]["source"] == {"image": "../../"}
            assert [axis["name"] for axis in ome["multiscales"][0]["axes"]] == list("zyx")
            arrays = levels_of(group)
            np.testing.assert_array_equal(arrays[0][...], masks[position])
            np.testing.assert_array_equal(arrays[1][...], masks[position, :, ::2, ::2])
            pytest.importorskip("yaozarrs").validate_ome_object({"ome": dict(ome)})
        together: Any = opened(f"{endpoint.url}/_/positions/labels/label_0_cells")
        np.testing.assert_array_equal(together["0"][...], masks)


def test_labels_of_a_single_image(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    mask = np.arange(12, dtype=np.uint16).reshape(3, 4)
    nd2.imwrite(path, np.zeros((3, 4), np.uint16), axes="YX", labels={"cells": mask})
    with serve(path) as endpoint:
        root: Any = opened(endpoint.url)
        (name,) = root["labels"].attrs["ome"]["labels"]
        np.testing.assert_array_equal(root[f"labels/{name}/0"][...], mask)


def test_a_remote_frame_is_transferred_once(tmp_path: Path) -> None:
    spec = build(tmp_path / "a.nd2", loops=[("T", 3)], height=2100, width=700)
    frame = 2100 * 700 * 2
    with range_server(tmp_path) as server, serve(server.url("a.nd2")) as endpoint:
        server.seen.clear()
        arrays = levels_of(opened(endpoint.url))
        # The contrast is that of 8 bands in each of 3 frames.
        assert server.sent < frame / 2
        assert server.requests <= 24
        server.seen.clear()
        np.testing.assert_array_equal(arrays[3][1], list(pyramid(spec.array[1], 4))[3])
        assert frame <= server.sent < frame * 1.01
        assert server.requests <= 2
        for array in arrays[1:]:
            array[1, ...]
        assert server.sent < frame * 1.01
        arrays[0][1, :512, :512]
        assert server.sent < frame * 2.01


def test_opening_a_remote_file_reads_little(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 50)], height=200, width=200)
    with range_server(tmp_path) as server, serve(server.url("a.nd2")):
        assert server.requests <= 3
        assert server.sent < 1 << 19
