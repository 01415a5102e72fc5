"""Fields in their places: mosaics by the stage, overviews of plates by the names of wells."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import nd2
from tests.frames import log_reads

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PIXEL = 0.5
HEIGHT, WIDTH = 6, 8


def fields(count: int, **sizes: int) -> NDArray[np.uint16]:
    shape = (count, *sizes.values(), HEIGHT, WIDTH)
    return np.random.default_rng(0).integers(1, 4000, shape).astype(np.uint16)


def write(path: Path, places: Any, *, names: list[str] | None = None, **sizes: int) -> xr.Dataset:
    """Write fields at places in micrometers."""
    data = fields(len(places), **sizes)
    positions = [
        nd2.structures.Position(nd2.structures.StagePosition(x, y, 0.0), 0.0, name or None)
        for (x, y), name in zip(places, names or [""] * len(places), strict=True)
    ]
    axes = ["P", *sizes, "Y", "X"]
    nd2.imwrite(path, data, axes=axes, positions=positions, voxel_size=(PIXEL, PIXEL))
    return xr.open_dataset(path, engine="nd2")


def expected(data: NDArray[Any], corners: list[tuple[int, int]]) -> NDArray[Any]:
    """Paste fields at corners (row, column); later ones cover earlier ones."""
    height = max(row for row, _ in corners) + HEIGHT
    width = max(column for _, column in corners) + WIDTH
    out = np.zeros((*data.shape[1:-2], height, width), data.dtype)
    for field, (row, column) in zip(data, corners, strict=True):
        out[..., row : row + HEIGHT, column : column + WIDTH] = field
    return out


# A gap, an overlap of several, and places that are not whole pixels.
PLACES = [(100.0, 50.0), (103.1, 50.0), (100.0, 54.9), (110.24, 50.0)]
CORNERS = [(0, 0), (0, 6), (10, 0), (0, 20)]


def test_fields_are_placed_and_later_ones_cover_earlier_ones(tmp_path: Path) -> None:
    dataset = write(tmp_path / "a.nd2", PLACES, T=2, C=2)
    whole = dataset.nd2.mosaic()
    assert whole.dims == ("T", "C", "Y", "X")
    np.testing.assert_array_equal(whole, expected(fields(4, T=2, C=2), CORNERS))
    np.testing.assert_allclose(whole.Y, np.arange(16) * PIXEL)
    np.testing.assert_allclose(whole.X, np.arange(28) * PIXEL)
    assert whole.X.attrs == dataset.X.attrs
    assert whole.C.values.tolist() == dataset.C.values.tolist()
    assert "position_name" not in whole.coords
    np.testing.assert_array_equal(dataset.image.nd2.mosaic(), whole)


def test_only_the_fields_of_a_part_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = write(tmp_path / "a.nd2", PLACES)
    seen = log_reads(monkeypatch)
    whole = dataset.nd2.mosaic()
    assert seen == []
    whole[:, 21:].load()
    assert seen == [3]


def test_any_index(tmp_path: Path) -> None:
    dataset = write(tmp_path / "a.nd2", PLACES, T=2)
    whole = expected(fields(4, T=2), CORNERS)
    lazy = dataset.nd2.mosaic()
    rng = np.random.default_rng(1)
    for _ in range(60):
        key = tuple(
            (
                int(rng.integers(size)),
                slice(*sorted(rng.integers(0, size + 1, 2).tolist())),
                slice(None, None, int(rng.choice([-3, -1, 2, 5]))),
                rng.integers(0, size, 4),
            )[rng.integers(4)]
            for size in whole.shape
        )
        wanted = whole
        dropped = 0
        for axis, item in enumerate(key):
            wanted = wanted[(slice(None),) * (axis - dropped) + (item,)]
            dropped += isinstance(item, int)
        np.testing.assert_array_equal(lazy[key], wanted)
    blocks = lazy.chunk({"Y": 5, "X": 7})
    np.testing.assert_array_equal(blocks.compute(), whole)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy)), whole)


def test_the_matrix_of_the_file_and_of_the_caller(tmp_path: Path) -> None:
    """A camera turned by 90 degrees: the stage moves down when the image moves right."""
    data, places = fields(2), [(0.0, 0.0), (0.0, 4.0)]
    dataset = write(tmp_path / "a.nd2", places)
    np.testing.assert_array_equal(dataset.nd2.mosaic(), expected(data, [(0, 0), (8, 0)]))
    turned = [[0, PIXEL], [PIXEL, 0]]
    right = expected(data, [(0, 0), (0, 8)])
    np.testing.assert_array_equal(dataset.nd2.mosaic(pixel_to_stage=turned), right)
    metadata = json.loads(dataset.attrs["nd2_metadata"])
    affine = [0, PIXEL, -3.0, PIXEL, 0, 5.0]
    metadata["channels"][0]["volume"]["pixelToStageTransformationMatrix"] = affine
    known = dataset.assign_attrs(nd2_metadata=json.dumps(metadata))
    np.testing.assert_array_equal(known.nd2.mosaic(), right)
    mirrored = [[-PIXEL, 0], [0, -PIXEL]]
    above = expected(data, [(8, 0), (0, 0)])
    np.testing.assert_array_equal(dataset.nd2.mosaic(pixel_to_stage=mirrored), above)
    with pytest.raises(ValueError, match="regular matrix of 2 x 2"):
        dataset.nd2.mosaic(pixel_to_stage=[[0, 0], [0, 1]])


def test_fields_without_a_place(tmp_path: Path) -> None:
    dataset = write(tmp_path / "a.nd2", PLACES)
    with pytest.raises(ValueError, match="no axis P"):
        dataset.isel(P=0).nd2.mosaic()
    with pytest.raises(ValueError, match="size of a pixel is unknown"):
        dataset.drop_vars("X").nd2.mosaic()
    with pytest.raises(ValueError, match="no stage_x of each position"):
        dataset.drop_vars("stage_x").nd2.mosaic()
    far = dataset.assign_coords(stage_x=("P", [0.0, 1e9, 0.0, 0.0]))
    with pytest.raises(ValueError, match="too far from each other"):
        far.nd2.mosaic()
    lost = dataset.assign_coords(stage_x=("P", [0.0, np.nan, 0.0, 0.0]))
    with pytest.raises(ValueError, match="place of some positions is unknown"):
        lost.nd2.mosaic()


def test_a_plate(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    names = ["B02", "B03", "D02", "D02_0001"]
    dataset = write(tmp_path / "a.nd2", PLACES, names=names)
    figure = dataset.nd2.plate()
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "3"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["B", "C", "D"]
    canvas = np.asarray(axes.get_images()[0].get_array())
    tall, wide = canvas.shape[0] // 3, canvas.shape[1] // 2
    assert (tall, wide) == (HEIGHT * 2 + 2, WIDTH * 2 + 2)

    def field(row: int, column: int, place: int) -> NDArray[Any]:
        y = row * tall + 1 + place // 2 * HEIGHT
        x = column * wide + 1 + place % 2 * WIDTH
        return canvas[y : y + HEIGHT, x : x + WIDTH, 0]

    shown = [field(0, 0, 0), field(0, 1, 0), field(2, 0, 0), field(2, 0, 1)]
    for pixels, values in zip(shown, fields(4), strict=True):
        order = np.argsort(values, axis=None)
        assert (np.diff(pixels.reshape(-1)[order].astype(int)) >= 0).all()
    assert (field(1, 0, 0) == 48).all()
    assert (field(2, 1, 0) == 48).all()
    np.testing.assert_array_equal(np.asarray(dataset.image.nd2.plate().axes[0].get_images()[0].get_array()), canvas)


def test_an_empty_slice_with_a_negative_step_stays_empty(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.nd2", PLACES).nd2.mosaic()
    before = -whole.sizes["Y"] - 1
    assert whole[before::-1].values.shape == (0, whole.sizes["X"])


def test_names_that_are_not_those_of_wells(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    dataset = write(tmp_path / "a.nd2", PLACES, names=["B02", "somewhere", "x", "y"])
    with pytest.raises(ValueError, match="not names of wells"):
        dataset.nd2.plate()
    with pytest.raises(ValueError, match="no axis of positions with names"):
        dataset.isel(P=0).nd2.plate()
