"""Values that come with the frames, and what the tables make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nd2._core.chunks import recorded_data
from nd2._core.chunks.picture_metadata import FirstFrame
from nd2._core.structures import ZStackLoop, ZStackLoopParams
from nd2._core.write import plan
from nd2._core.write.tables import FrameLog, NewTables

X, Y, Z = recorded_data.STAGE


def log(times: list[float], **cells: Any) -> FrameLog:
    made = FrameLog(np.array(times))
    made.cells.update(cells)
    return made


def test_cells_become_columns_of_their_type() -> None:
    nan = float("nan")
    made = log([nan] * 3)
    made.cells |= {"Count": [1, 2, 3], "T [°C]": [36.5, None, 37.0], "Note": ["a", None, "µ"]}
    _, (count, temperature, note) = made.merged([])
    assert count.values.tolist() == [1, 2, 3]
    assert count.values.dtype == np.int32
    np.testing.assert_array_equal(temperature.values, [36.5, nan, 37.0])
    assert (temperature.title, temperature.unit) == ("T", "°C")
    assert note.values.tolist() == ["a", "", "µ"]


def test_the_first_frame_has_the_height_of_the_home_plane() -> None:
    stack = ZStackLoop(5, 0, ZStackLoopParams(2, 1.5, True))
    default = FirstFrame(3.0, 2459000.5, (1.0, 2.0, 3.0))
    made = log([7.0])
    assert made.first_frame(default, [stack]) == FirstFrame(7.0, 2459000.5, (1.0, 2.0, 3.0))
    made.cells |= {X: [10.0], Z: [50.0]}
    assert made.first_frame(default, [stack]).stage == (10.0, 2.0, 53.0)
    assert log([]).first_frame(default, [stack]) == default


@pytest.mark.parametrize(
    ("times", "expected"),
    [([float("nan")] * 4, [0.0, 0.0, 0.0, 0.0]), ([5.0, float("nan"), 9.0, float("nan")], [5.0, float("nan"), 9.0])],
)
def test_times_end_with_the_last_recorded_one(times: list[float], expected: list[float]) -> None:
    made = plan.make({"T": 4, "Y": 2, "X": 3}, "u2", {})
    tables = NewTables(made, (3, 0), np.full(4, np.nan))
    chunks = dict(tables.finish(log(times)))
    np.testing.assert_array_equal(np.frombuffer(chunks[recorded_data.TIMES]), expected)
