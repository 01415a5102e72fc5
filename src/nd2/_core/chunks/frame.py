"""Metadata of one frame: those of the file, with the frame's own time, position and focus."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nd2._core.chunks.julian import DAY_MS
from nd2._core.structures import (
    Contents,
    FrameChannel,
    FrameMetadata,
    Position,
    StagePosition,
    TimeStamp,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nd2._core.structures import Metadata


def time_stamp(recorded_ms: float | None, start_ms: float, absolute: float) -> TimeStamp:
    """Return the time of a frame.

    Parameters
    ----------
    recorded_ms : float or None
        Time that was recorded for the frame.
    start_ms, absolute : float
        Time of the first frame by the picture metadata, in milliseconds and as a Julian day number. Where nothing was
        recorded for a frame, that is its time, as Nikon's own reader has it.

    Notes
    -----
    The Julian day number is that of the picture metadata plus the frame's milliseconds: what Nikon's own reader gives,
    though in real files the former is the instant of the first frame already.
    """
    if recorded_ms is None or not math.isfinite(recorded_ms):
        recorded_ms = start_ms
    return TimeStamp(absolute + recorded_ms / DAY_MS, recorded_ms)


def frame_metadata(
    metadata: Metadata,
    *,
    stage_um: Sequence[float],
    name: str | None,
    pfs_offset: float | None,
    pfs_status: int | None,
    time: TimeStamp,
) -> FrameMetadata:
    """Return the metadata of a frame; its channels share time, position and focus.

    Parameters
    ----------
    metadata : Metadata
        What holds for the whole file.
    stage_um : sequence of float
        Position of the stage: x, y, z in micrometers.
    name : str or None
        Name of the point in the loop over positions.
    pfs_offset, pfs_status : float, int or None
        What the focus system recorded for the frame.
    time : TimeStamp
        Time of the frame.
    """
    # a negative offset means that there is none, as in the loop over positions
    offset = float(pfs_offset) if pfs_offset is not None and pfs_offset >= 0 else None
    position = Position(StagePosition(*stage_um), offset, name)
    return FrameMetadata(
        metadata.contents or Contents(0, 0),
        [
            FrameChannel(
                one.channel, one.loops, one.microscope, one.volume, position, time, pfs_status
            )
            for one in metadata.channels or ()
        ],
    )
