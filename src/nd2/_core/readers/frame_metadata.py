"""Metadata of single frames, computed as Nikon's reader does: time, stage position, focus."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nd2._core import structures as s
from nd2._core.chunks.picture_metadata import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nd2._core.chunks.picture_metadata import FirstFrame


def stage_positions(
    first: tuple[float, float, float], experiment: Sequence[s.ExpLoop], indices: Sequence[NDArray[np.intp]], count: int
) -> NDArray[np.float64]:
    """Return the position of the stage at each frame, shape (count, 3), in micrometers.

    A loop over positions sets x and y, and z if it drives to it; the picture metadata has the
    coordinates that no loop sets. A stack adds ``(i - homeIndex) * stepUm`` to z, for every type of stack and in
    either direction. Frames beyond the loops have the position of the picture metadata.
    """
    stage = np.empty((3, count)).T  # quicker to fill, and to take an axis from
    stage[:] = first
    within = stage[: len(indices[0]) if indices else 1]
    pairs = [(loop, index[: len(within)]) for loop, index in zip(experiment, indices, strict=True)]
    for loop, index in pairs:
        if isinstance(loop, s.XYPosLoop):
            points = np.array([point.stagePositionUm for point in loop.parameters.points])
            driven = 3 if loop.parameters.isSettingZ else 2
            within[:, :driven] = points[index, :driven]
    for loop, index in pairs:
        if isinstance(loop, s.ZStackLoop):
            within[:, 2] += (index - loop.parameters.homeIndex) * loop.parameters.stepUm
    return stage


def time_stamp(recorded_ms: float | None, first: FirstFrame) -> s.TimeStamp:
    """Return the time of a frame; without a recorded time, that of the picture metadata.

    The Julian day number is that of the picture metadata plus the frame's milliseconds, as
    in Nikon's reader, although in real files the former already is that of the first frame.
    """
    if recorded_ms is None or not math.isfinite(recorded_ms):
        recorded_ms = first.time_ms
    return s.TimeStamp(first.julian_day + recorded_ms / DAY_MS, recorded_ms)


def frame_metadata(
    metadata: s.Metadata,
    *,
    stage_um: Sequence[float],
    name: str | None,
    pfs_offset: float | None,
    pfs_status: int | None,
    time: s.TimeStamp,
) -> s.FrameMetadata:
    """Return the metadata of a frame; its channels share time, position and focus."""
    # a negative offset means that none was recorded, as in the loop over positions
    offset = float(pfs_offset) if pfs_offset is not None and pfs_offset >= 0 else None
    position = s.Position(s.StagePosition(*stage_um), offset, name)
    return s.FrameMetadata(
        metadata.contents or s.Contents(0, 0),
        [
            s.FrameChannel(one.channel, one.loops, one.microscope, one.volume, position, time, pfs_status)
            for one in metadata.channels or ()
        ],
    )
