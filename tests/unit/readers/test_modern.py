"""Metadata of single frames: stage position, time, focus."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nd2._core.chunks import experiment
from nd2._core.chunks.picture_metadata import FirstFrame
from nd2._core.frames.grid import FrameGrid
from nd2._core.readers import modern
from nd2.structures import (
    Channel,
    ChannelMeta,
    Color,
    Contents,
    ExpLoop,
    FrameMetadata,
    Metadata,
    Microscope,
    Position,
    StagePosition,
    Volume,
    XYPosLoop,
    XYPosLoopParams,
)


def channel(name: str) -> Channel:
    volume = Volume((True,) * 3, (1.0,) * 3, ("distance",) * 3, 16, 12, (1, 0, 0, 1), 1, "unsigned", (8, 6, 1))
    return Channel(ChannelMeta(name, 0, Color(1, 2, 3)), None, Microscope(), volume)


def frame_metadata(offset: int | None = None, recorded_ms: float | None = 864.0) -> FrameMetadata:
    point = XYPosLoop(1, 0, XYPosLoopParams(True, [Position(StagePosition(1, 2, 3), None, "A1")]))
    reader = object.__new__(modern.ModernReader)
    vars(reader).update(
        metadata=Metadata(Contents(2, 9), [channel("a"), channel("b")]),
        _loops=[point],
        frame_count=1,
        recorded_data={"PFS_OFFSET": SimpleNamespace(values=np.array([] if offset is None else [offset]))},
        pfs_status=np.array([8]),
        frame_times=None if recorded_ms is None else np.array([recorded_ms]),
        _first=FirstFrame(5.0, 2459000.5),
    )
    return reader.frame_metadata(0)


@pytest.mark.parametrize(("offset", "kept"), [(None, None), (-1, None), (0, 0.0), (7180, 7180.0)])
def test_channels_share_what_belongs_to_the_frame(offset: int | None, kept: float | None) -> None:
    made = frame_metadata(offset)
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
    for one in frame_metadata(recorded_ms=recorded_ms).channels:
        assert one.time.relativeTimeMs == 5.0


def loop(kind: int, parameters: dict[str, Any], *children: dict[str, Any]) -> dict[str, Any]:
    node: dict[str, Any] = {"eType": kind, "uLoopPars": parameters}
    if children:
        node["ppNextLevelEx"] = {f"i{i:010d}": child for i, child in enumerate(children)}
    return node


STACK = {"uiCount": 3, "iType": 2, "dZStep": 2.0, "dZLow": 0.0, "dZHigh": 4.0, "dZHome": 2.0}

POINTS = {f"i{i:010d}": {"dPosX": i, "dPosY": -i, "dPosZ": 50.0 + i} for i in range(2)}

FIRST = (7.0, 8.0, 100.0)


def stage_at(first: tuple[float, float, float], loops: list[ExpLoop], count: int) -> Any:
    grid = FrameGrid.from_counts((str(i), one.count) for i, one in enumerate(loops))
    indices = list(grid.all_indices().values())
    return modern.compute_stage_positions(first, loops, indices, count)


@pytest.mark.parametrize(("use_z", "base"), [(False, [100, 100]), (True, [50, 51])])
def test_each_plane_has_its_own_height(use_z: bool, base: list[float]) -> None:
    points = {"uiCount": 2, "Points": POINTS, "bUseZ": use_z}
    loops = experiment.decode(loop(2, points, loop(4, STACK)))
    found = stage_at(FIRST, loops, 8)
    heights = [z + d for z in base for d in (-2, 0, 2)]
    expected = [[p, -p, z] for p, z in zip([0, 0, 0, 1, 1, 1], heights, strict=True)]
    np.testing.assert_array_equal(found[:6], expected)
    np.testing.assert_array_equal(found[6:], [[7, 8, 100]] * 2)


def test_a_stack_that_is_outside_of_the_positions() -> None:
    loops = experiment.decode(loop(4, STACK, loop(2, {"uiCount": 2, "Points": POINTS})))
    found = stage_at(FIRST, loops, 6)
    assert found[:, 0].tolist() == [0, 1, 0, 1, 0, 1]
    assert found[:, 2].tolist() == [98, 98, 100, 100, 102, 102]


def test_without_loops_or_metadata() -> None:
    assert stage_at((0.0, 0.0, 0.0), [], 2).tolist() == [[0, 0, 0]] * 2
