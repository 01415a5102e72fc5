"""Facts of a file, and their source."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nd2._core.open import open_reader
from nd2._core.views.facts import Facts
from tests.builder import build
from tests.optional_chunks import recorded
from tests.samples import each_sample

if TYPE_CHECKING:
    from pathlib import Path


def facts(path: Path, **options: Any) -> Facts:
    build(path, **options)
    with open_reader(path) as reader:
        opened = Facts(reader)
        # Read what the tests ask for while the file is open.
        _ = opened.frame_times, opened.recorded, opened.stage, opened.channels, opened.start
        return opened


def stage(*columns: list[float]) -> dict[bytes, bytes]:
    return recorded({name: (f"{name} Coord", "µm", values) for name, values in zip("XYZ", columns, strict=True)})


def steps(one: Facts) -> np.ndarray[Any, Any]:
    return one.reader.layout.grid.steps("T")


@pytest.mark.parametrize(
    ("times", "values", "source", "step"),
    [
        ([0.0, 1311.0, 2503.0, 3700.0], [0.0, 1311.0, 2503.0, 3700.0], "recorded", 3700 / 3),
        ([0.0, 1311.0, 2503.0], [0.0, 1311.0, 2503.0, 2503 + 2503 / 2], "mixed", 2503 / 2),
        ([0.0, np.nan, 2000.0, 3000.0], [0.0, 1000.0, 2000.0, 3000.0], "mixed", 1000.0),
        ([np.nan, 1000.0, 3000.0], [-1000.0, 1000.0, 3000.0, 5000.0], "mixed", 2000.0),
        ([70.0], [70.0, 570.0, 1070.0, 1570.0], "mixed", 500.0),
        ([], [0.0, 500.0, 1000.0, 1500.0], "nominal", 500.0),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 500.0, 1000.0, 1500.0], "nominal", 500.0),
    ],
)
def test_times_continue_what_was_recorded(
    tmp_path: Path, times: list[float], values: list[float], source: str, step: float
) -> None:
    one = facts(tmp_path / "a.nd2", loops=[("T", 4)], times=times)
    series = one.step_times(steps(one))
    np.testing.assert_allclose(series.values, values)
    assert series.source == source
    assert one.time_step(steps(one)) == pytest.approx(step)


def test_times_between_recorded_ones_need_no_step(tmp_path: Path) -> None:
    one = facts(tmp_path / "a.nd2", loops=[("Z", 3)], times=[100.0, np.nan, 80.0])
    series = one.step_times(np.arange(3))
    assert (series.values.tolist(), series.source) == ([100.0, 90.0, 80.0], "mixed")


def test_planned_times_start_with_the_first_frame_of_the_file(tmp_path: Path) -> None:
    one = facts(tmp_path / "a.nd2", loops=[("P", 2), ("T", 2)], times=[150.0, 660.0])
    series = one.step_times(one.reader.layout.grid.fix("P", 1).steps("T"))
    assert (series.values.tolist(), series.source) == ([150.0, 650.0], "nominal")


def test_axes_are_those_of_one_position(tmp_path: Path) -> None:
    one = facts(tmp_path / "a.nd2", loops=[("P", 3), ("T", 2)], times=[0.0, 1.0, 20.0, 21.0, 400.0, 401.0])
    axes = {name: (series.values.tolist(), series.source) for name, series in one.axes(1).items()}
    assert axes == {"P": ([1], None), "T": ([20.0, 21.0], "recorded"), "Z": ([0.0], "nominal")}
    assert {name: series.values.tolist() for name, series in one.axes(-1).items()}["P"] == [2]
    assert {name: len(series.values) for name, series in one.axes(without=["T"]).items()} == {"P": 3, "Z": 1}


@pytest.mark.parametrize(
    ("julian_day", "start"),
    [
        (2459486.0, "2021-09-28T12:00:00.000Z"),
        (2447892.5, "1990-01-01T00:00:00.000Z"),
        (2447892.4, None),
        (2488069.4, "2099-12-31T21:36:00.000Z"),
        (2488069.5, None),
        (0.0, None),
        (np.nan, None),
        (np.inf, None),
    ],
)
def test_a_start_is_plausible(tmp_path: Path, julian_day: float, start: str | None) -> None:
    one = facts(tmp_path / "a.nd2", julian_day=julian_day)
    assert one.start_text == start
    assert (one.start is None) == (start is None)


def test_columns_of_zeros_give_way_to_the_metadata(tmp_path: Path) -> None:
    zeros = facts(tmp_path / "a.nd2", loops=[("T", 2)], chunks=stage([0.0] * 2, [0.0] * 2, [0.0] * 2))
    assert [series.source for series in zeros.stage.values()] == ["nominal"] * 3
    assert [float(series.values[0]) for series in zeros.stage.values()] == [100.0, 200.0, 300.0]
    kept = facts(tmp_path / "b.nd2", loops=[("T", 2)], chunks=stage([0.0] * 2, [0.0, 1.0], [0.0] * 2))
    assert [series.source for series in kept.stage.values()] == ["recorded"] * 3
    assert kept.stage["y"].values.tolist() == [0.0, 1.0]


def test_an_image_without_calibration_has_no_pixel_size(tmp_path: Path) -> None:
    assert facts(tmp_path / "a.nd2", calibration=0.0).pixel_size is None
    assert facts(tmp_path / "b.nd2", calibration=0.25).pixel_size == (0.25, 0.25)


def test_repeated_channel_names_become_unique(tmp_path: Path) -> None:
    one = facts(tmp_path / "a.nd2", channels=3, channel_names=["A", "", "A"])
    assert [channel.name for channel in one.channels] == ["A", "Channel 1", "A"]
    assert [channel.unique_name for channel in one.channels] == ["A", "Channel 1", "A (2)"]


@each_sample(["real/multichannel_c4"])
def test_stage_and_exposure_of_nis_5_42(sample: Path) -> None:
    with open_reader(sample) as reader:
        one = Facts(reader)
        assert "X" not in one.recorded
        assert "Camera_ExposureTime1" not in one.recorded
        assert one.stage["x"].values[0] == pytest.approx(31650.69, abs=0.01)
        assert [channel.capture.exposure_ms for channel in one.channels] == [20, 1000, 1000, 1000]
        assert one.channels[0].capture.binning == (1, 1)


@each_sample(["real/zstack_z11"])
def test_recorded_heights_come_first(sample: Path) -> None:
    with open_reader(sample) as reader:
        one = Facts(reader)
        assert one.stage["z"].source == "recorded"
        assert one.stage["z"].values[:2].tolist() == pytest.approx([8806.58, 8812.58], abs=0.01)


@each_sample(["real/cluster_t3z10c2"])
def test_the_time_step_is_that_of_time_points(sample: Path) -> None:
    with open_reader(sample) as reader:
        one = Facts(reader)
        assert one.time_step(steps(one)) == pytest.approx(10647.5, abs=0.1)


def test_the_corner_of_a_frame_is_where_the_matrix_of_the_file_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frame is 4 x 3 um; the stage, at its center, runs against the image along x, and is turned."""
    one = facts(tmp_path / "a.nd2", loops=[("P", 2)], calibration=0.5)
    stage = np.array([one.stage["x"].values[1], one.stage["y"].values[1]])
    y, x = one.corner(1) or (np.nan, np.nan)
    np.testing.assert_allclose((x, y), stage - (2.0, 1.5))
    turn = np.array([[-0.6, 0.8], [0.8, 0.6]])
    meta = one._metas[0]
    matrix = (*(0.5 * turn[0]), 0.0, *(0.5 * turn[1]), 0.0)
    volume = replace(meta.volume, pixelToStageTransformationMatrix=matrix)
    monkeypatch.setattr(Facts, "_metas", [replace(meta, volume=volume)])
    y, x = one.corner(1) or (np.nan, np.nan)
    np.testing.assert_allclose(turn @ (x + 2.0, y + 1.5), stage)


def test_a_corner_without_a_place(tmp_path: Path) -> None:
    assert facts(tmp_path / "a.nd2", calibration=0.0).corner(0) is None
    lost = facts(tmp_path / "b.nd2", chunks=stage([np.nan], [0.0], [0.0]))
    assert lost.corner(0) is None
