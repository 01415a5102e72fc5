"""Ranges of values to display."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import nd2
from nd2._core.open import open_reader
from nd2._core.views.facts import Facts
from nd2._core.views.picture import channel_limits, contrast_limits
from tests.builder import build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        (np.arange(1001), (1.0, 999.0)),
        (np.zeros((3, 4)), (0.0, 1.0)),
        (np.full(5, 7, np.uint16), (7.0, 8.0)),
        (np.array([np.nan, np.inf, 0, 0]), (0.0, 1.0)),
        (np.empty((0, 4)), (0.0, 1.0)),
    ],
)
def test_limits_of_values(values: Any, limits: tuple[float, float]) -> None:
    assert contrast_limits(values) == pytest.approx(limits)


def test_limits_of_channels_are_those_of_the_middle_plane(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    values = np.arange(3 * 2 * 40 * 700, dtype=np.uint32).reshape(3, 2, 40, 700) % 50_000
    nd2.imwrite(path, values.astype(np.uint16), axes="ZCYX")
    with open_reader(path) as reader:
        found = channel_limits(reader, Facts(reader))
    expected = [np.percentile(values[1, c, :, ::2], (0.1, 99.9)) for c in range(2)]
    np.testing.assert_allclose(found, expected)


def test_limits_are_those_of_several_positions(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    values = np.zeros((5, 3, 20, 30), np.uint16)
    values[4, 1] = 100
    nd2.imwrite(path, values, axes="PZYX")
    with open_reader(path) as reader:
        assert channel_limits(reader, Facts(reader)) == [(0, 100)]


def test_missing_frames_have_no_limits(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 8)], missing=frozenset({0, 2, 5, 7}))
    with open_reader(path) as reader:
        (found,) = channel_limits(reader, Facts(reader))
    assert found == pytest.approx(np.percentile(spec.array[1], (0.1, 99.9)))


def test_color_is_as_bright_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    nd2.imwrite(path, np.full((20, 30, 3), 9, np.uint8), axes="YXS")
    with open_reader(path) as reader:
        assert channel_limits(reader, Facts(reader)) == [(0, 255)]
