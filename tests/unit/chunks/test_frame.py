"""What belongs to one frame: recorded columns, position of the stage, time, events."""

from __future__ import annotations

import pytest

from nd2._core.chunks import frame
from nd2.structures import (
    Channel,
    ChannelMeta,
    Color,
    Contents,
    Metadata,
    Microscope,
    StagePosition,
    Volume,
)


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
