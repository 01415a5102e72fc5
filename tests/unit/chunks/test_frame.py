"""What belongs to one frame: recorded columns, position of the stage, time, events."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nd2._core.chunks import events, experiment, frame, recorded_data, stage
from nd2.structures import (
    Channel,
    ChannelMeta,
    Color,
    Contents,
    EventMeaning,
    Metadata,
    Microscope,
    StagePosition,
    StimulationType,
    Volume,
)

# ---------------------------------------------------------------------------------------------------------- columns


def table(*tags: dict[str, Any]) -> dict[str, Any]:
    return {"CustomTagDescription_v1.0": {f"Tag{i}": tag for i, tag in enumerate(tags)}}


def tag(identifier: str, kind: int, size: int, title: str = "", unit: str = "") -> dict[str, Any]:
    return {"ID": identifier, "Type": kind, "Size": size, "Desc": title, "Unit": unit, "Group": 1}


def test_columns_keep_the_order_of_the_table_and_are_read_when_asked_for() -> None:
    asked: list[str] = []

    def load(identifier: str) -> bytes:
        asked.append(identifier)
        return np.arange(3.0).tobytes()

    columns = recorded_data.parse(
        table(tag("Z", 3, 3, "Z Coord", "µm"), tag("A", 3, 3, "Power", " % ")), load
    )
    assert [(c.id, c.title, c.unit) for c in columns.values()] == [
        ("Z", "Z Coord", "µm"),
        ("A", "Power", "%"),
    ]
    assert asked == []
    np.testing.assert_array_equal(columns["A"].values, [0, 1, 2])
    np.testing.assert_array_equal(columns["A"].values, [0, 1, 2])
    assert asked == ["A"]


def test_a_column_that_was_not_stored_is_empty() -> None:
    assert len(recorded_data.parse(table(tag("Z", 3, 3)), lambda _: None)["Z"].values) == 0
    assert recorded_data.parse(None, lambda _: None) == {}


@pytest.mark.parametrize(
    ("kind", "stored", "dtype"),
    [
        (2, np.array([1, -2], "<i4"), "int32"),
        (3, np.array([0.5, -2], "<f8"), "float64"),
        (3, np.array([0.5, -2], "<f4"), "float32"),
        (0, np.array([1, -2], "<i4"), "int32"),
        (0, np.array([0.5, -2], "<f8"), "float64"),
    ],
)
def test_numbers(kind: int, stored: np.ndarray[Any, Any], dtype: str) -> None:
    values = recorded_data.decode_values(stored.tobytes(), kind, 2)
    assert values.dtype == dtype
    np.testing.assert_array_equal(values, stored)


def test_a_column_is_cut_to_its_size_and_takes_all_without_one() -> None:
    data = np.arange(4, dtype="<i4").tobytes()
    assert recorded_data.decode_values(data, 2, 0).tolist() == [0, 1, 2, 3]
    assert recorded_data.decode_values(data + b"\0", 2, 4).tolist() == [0, 1, 2, 3]


texts = st.lists(
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9), min_size=1
)


@given(texts)
def test_texts(cells: list[str]) -> None:
    width = max(2, *(len(cell.encode("utf-16-le")) + 2 for cell in cells))
    data = b"".join(
        (cell.encode("utf-16-le") + b"\0\0").ljust(width, b"\xaa")[:width] for cell in cells
    )
    assert recorded_data.decode_values(data, 1, len(cells)).tolist() == cells


# ------------------------------------------------------------------------------------------------------------ stage


def loop(kind: int, parameters: dict[str, Any], *children: dict[str, Any]) -> dict[str, Any]:
    node: dict[str, Any] = {"eType": kind, "uLoopPars": parameters}
    if children:
        node["ppNextLevelEx"] = {f"i{i:010d}": child for i, child in enumerate(children)}
    return node


STACK = {"uiCount": 3, "iType": 2, "dZStep": 2.0, "dZLow": 0.0, "dZHigh": 4.0, "dZHome": 2.0}
POINTS = {f"i{i:010d}": {"dPosX": i, "dPosY": -i, "dPosZ": 50.0 + i} for i in range(2)}
PICTURE = {"dXPos": 7.0, "dYPos": 8.0, "dZPos": 100.0}


@pytest.mark.parametrize(("use_z", "base"), [(False, [100, 100]), (True, [50, 51])])
def test_each_plane_has_its_own_height(use_z: bool, base: list[float]) -> None:
    points = {"uiCount": 2, "Points": POINTS, "bUseZ": use_z}
    loops = experiment.parse(loop(2, points, loop(4, STACK)))
    found = stage.stage_positions(PICTURE, loops, 8)
    heights = [z + d for z in base for d in (-2, 0, 2)]
    expected = [[p, -p, z] for p, z in zip([0, 0, 0, 1, 1, 1], heights, strict=True)]
    np.testing.assert_array_equal(found[:6], expected)
    np.testing.assert_array_equal(found[6:], [[7, 8, 100]] * 2)


def test_a_stack_that_is_outside_of_the_positions() -> None:
    loops = experiment.parse(loop(4, STACK, loop(2, {"uiCount": 2, "Points": POINTS})))
    found = stage.stage_positions(PICTURE, loops, 6)
    assert found[:, 0].tolist() == [0, 1, 0, 1, 0, 1]
    assert found[:, 2].tolist() == [98, 98, 100, 100, 102, 102]


def test_without_loops_or_metadata() -> None:
    assert stage.stage_positions(None, [], 2).tolist() == [[0, 0, 0]] * 2


# ------------------------------------------------------------------------------------------------------------ frame


def channel(name: str) -> Channel:
    volume = Volume(
        (True,) * 3, (1.0,) * 3, ("distance",) * 3, 16, 12, (1, 0, 0, 1), 1, "unsigned", (8, 6, 1)
    )
    return Channel(ChannelMeta(name, 0, Color(1, 2, 3)), None, Microscope(), volume)


@pytest.mark.parametrize(("offset", "kept"), [(None, None), (-1, None), (0, 0.0), (7180, 7180.0)])
def test_channels_share_what_belongs_to_the_frame(offset: int | None, kept: float | None) -> None:
    made = frame.frame_metadata(
        Metadata(Contents(2, 9), [channel("a"), channel("b")]),
        stage_um=[1, 2, 3],
        name="A1",
        pfs_offset=offset,
        pfs_status=8,
        time=frame.time_stamp(864.0, 5.0, 2459000.5),
    )
    assert made.contents == Contents(2, 9)
    assert [one.channel.name for one in made.channels] == ["a", "b"]
    for one in made.channels:
        assert one.position.stagePositionUm == StagePosition(1, 2, 3)
        assert (one.position.name, one.position.pfsOffset) == ("A1", kept)
        assert one.pfs_status == 8
        assert one.time.relativeTimeMs == 864.0
        assert one.time.absoluteJulianDayNumber == 2459000.50001


@pytest.mark.parametrize("recorded_ms", [None, float("nan"), float("inf")])
def test_a_frame_without_a_time_has_that_of_the_metadata(recorded_ms: float | None) -> None:
    assert frame.time_stamp(recorded_ms, 5.0, 1.0).relativeTimeMs == 5.0


# ----------------------------------------------------------------------------------------------------------- events


def record(*stored: dict[str, Any], key: str = "pEvents") -> dict[str, Any]:
    listed = {f"i{i:010d}": event for i, event in enumerate(stored)}
    return {"RLxExperimentRecord": {"uiCount": len(stored), key: listed}}


def test_events() -> None:
    plain, own, phase, unknown = events.parse(
        record(
            {"T": 1500.0, "T2": 3.0, "M": 9, "I": 4},
            {"T": 2000.0, "M": 7, "D": "Home", "A": "StgMoveXY"},
            {"T": 1.0, "M": 15, "S": {"T": 4, "L": 1, "P": 2, "D": "spot"}},
            {"M": 999, "S": {"T": 77}},
        )
    )
    assert (plain.id, plain.time, plain.time2, plain.meaning) == (
        4,
        1500.0,
        3.0,
        EventMeaning.Pause,
    )
    assert plain.description == "Experiment Paused"
    assert plain.stimulation is None
    assert (own.description, own.data) == ("Home", "StgMoveXY")
    assert phase.description == "Stimulation Phase Begin - spot"
    assert phase.stimulation is not None
    assert phase.stimulation.type is StimulationType.Begin
    assert (phase.stimulation.loop_index, phase.stimulation.position) == (1, 2)
    assert (unknown.meaning, unknown.description) == (999, "Event 999 Phase 77")


def test_events_of_the_older_form() -> None:
    (event,) = events.parse(
        record({"dTime": 5.0, "eMeaning": 34, "wsData": "x"}, key="pFirstEvent")
    )
    assert (event.time, event.meaning) == (5.0, EventMeaning.UserInteraction2)
    assert event.description == "User 2 - x"
    assert events.parse({}) == []
