"""Where the stage stood at each frame, from the loops and the picture metadata."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nd2._core.chunks import fields
from nd2._core.structures import XYPosLoop, ZStackLoop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nd2._core.structures import ExpLoop


def stage_positions(
    raw_picture: fields.Tree | None, experiment: Sequence[ExpLoop], count: int
) -> NDArray[np.float64]:
    """Return the position of the stage at each frame, as Nikon's own reader computes it.

    The point of a loop over positions gives x and y, and z if the loop drives to it; what no loop sets is that of the
    picture metadata. A stack adds ``(i - homeIndex) * stepUm`` to z, for every type of stack and in either direction.

    Parameters
    ----------
    raw_picture : mapping or None
        The decoded picture metadata.
    experiment : sequence of ExpLoop
        The loops, outermost first.
    count : int
        Number of frames; those beyond the loops stand where the picture metadata say.

    Returns
    -------
    ndarray, shape (count, 3)
        x, y and z in micrometers.
    """
    picture = fields.root(raw_picture or {}, "SLxPictureMetadata")
    stage = np.empty((count, 3))
    stage[:] = [fields.real(picture, key) for key in ("dXPos", "dYPos", "dZPos")]
    counts = [loop.count for loop in experiment]
    within = stage[: min(math.prod(counts), count)]
    frame = np.arange(len(within))
    for axis, loop in enumerate(experiment):
        if isinstance(loop, XYPosLoop):
            points = np.array([point.stagePositionUm for point in loop.parameters.points])
            set_by_loop = 3 if loop.parameters.isSettingZ else 2
            index = frame // math.prod(counts[axis + 1 :]) % loop.count
            within[:, :set_by_loop] = points[index, :set_by_loop]
    for axis, loop in enumerate(experiment):
        if isinstance(loop, ZStackLoop):
            index = frame // math.prod(counts[axis + 1 :]) % loop.count
            within[:, 2] += (index - loop.parameters.homeIndex) * loop.parameters.stepUm
    return stage
