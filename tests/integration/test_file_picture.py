"""Pictures: thumbnails of a file, composites of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import nd2
from tests.builder import build
from tests.frames import log_reads
from tests.samples import each_sample

if TYPE_CHECKING:
    from pathlib import Path


def test_channels_by_name_and_by_index(named: Path) -> None:
    with nd2.ND2File(named) as file:
        both = file.thumbnail(channels=["mCherry", "DAPI", 0], split=True).pixels
        one, other = (file.thumbnail(channels=[i]).pixels for i in (2, "DAPI"))
        every = file.thumbnail().pixels
    pictures = xr.open_dataset(named, engine="nd2").nd2
    np.testing.assert_array_equal(pictures.rgb("DAPI"), pictures.rgb([0]))
    np.testing.assert_array_equal(pictures.rgb(["DAPI", "GFP-L", -1]), pictures.rgb())
    assert (one != other).any()
    assert (every != one).any()
    assert both.shape != one.shape


def test_thumbnail_of_the_middle_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 2), ("Z", 5)], height=600, width=300)
    seen = log_reads(monkeypatch)
    with nd2.ND2File(path) as file:
        picture = file.thumbnail(size=100)
        assert seen == [2]
        np.testing.assert_array_equal(file.thumbnail([2], size=100).pixels, picture.pixels)
    assert picture.pixels.shape == (100, 50, 3)
    assert picture.pixels.dtype == np.uint8
    assert repr(picture) == "<Picture of 50 x 100 pixels>"
    assert picture._repr_png_() == picture.png()
    assert picture.png().startswith(b"\x89PNG")


def test_thumbnail_of_several_frames_and_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 4)], channels=2, height=50, width=50)
    with nd2.ND2File(path) as file:
        one = file.thumbnail(size=50).pixels
        four = file.thumbnail(tiles=4, size=102).pixels
        split = file.thumbnail([1], split=True, size=102).pixels
    assert one.shape == (50, 50, 3)
    assert four.shape == (102, 102, 3)
    assert sorted(split.shape) == [3, 50, 102]


def test_thumbnail_where_the_middle_plane_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("Z", 3)], missing=frozenset({1}))
    with nd2.ND2File(path) as file:
        np.testing.assert_array_equal(file.thumbnail().pixels, file.thumbnail([0]).pixels)
        assert file.thumbnail().pixels.any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"frames": [7]}, IndexError, "frame index 7"),
        ({"frames": []}, ValueError, "frames is empty"),
        ({"tiles": 0}, ValueError, "at least 1"),
        ({"size": 0}, ValueError, "at least 1"),
    ],
)
def test_thumbnails_that_cannot_be(
    options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    with nd2.ND2File(path) as file, pytest.raises(error, match=message):
        file.thumbnail(**options)


@each_sample()
def test_thumbnail_of_every_sample(sample: Path) -> None:
    with nd2.ND2File(sample) as file:
        assert 0 < max(file.thumbnail(size=64).pixels.shape) <= 64
        assert file.thumbnail(size=64, tiles=9).png()
