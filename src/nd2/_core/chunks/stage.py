"""Where the stage stood at each frame, from the loops and the picture metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nd2._core.chunks import fields
from nd2._core.structures import XYPosLoop, ZStackLoop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nd2._core.structures import ExpLoop


def stage_positions(
    raw_picture: fields.Tree | None,
    experiment: Sequence[ExpLoop],
    indices: Sequence[NDArray[np.intp]],
    count: int,
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
    indices : sequence of ndarray
        Index on each loop of the frames that the loops reach.
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
    within = stage[: len(indices[0]) if indices else 1]
    pairs = [(loop, index[: len(within)]) for loop, index in zip(experiment, indices, strict=True)]
    for loop, index in pairs:
        if isinstance(loop, XYPosLoop):
            points = np.array([point.stagePositionUm for point in loop.parameters.points])
            set_by_loop = 3 if loop.parameters.isSettingZ else 2
            within[:, :set_by_loop] = points[index, :set_by_loop]
    for loop, index in pairs:
        if isinstance(loop, ZStackLoop):
            within[:, 2] += (index - loop.parameters.homeIndex) * loop.parameters.stepUm
    return stage
