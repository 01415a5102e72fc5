"""What was recorded for each frame, as JSON can hold it: times and stage positions, which no OME-Zarr axis can say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.readers import Reader
    from nd2._core.views.placement import Placement


def times_ms(reader: Reader, index: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the recorded time of some frames in milliseconds, shape (n,); NaN where nothing was recorded."""
    return _take(reader.frame_times, index)


def _take(values: NDArray[Any] | None, index: NDArray[np.intp]) -> NDArray[np.float64]:
    found = np.full(len(index), np.nan)
    if values is not None:
        known = index < len(values)
        found[known] = values[index[known]]
    return found


def recorded_values(reader: Reader, placement: Placement) -> dict[str, Any]:
    """Return times and stage positions of the frames of one image.

    Returns
    -------
    dict
        ``axes`` is ``["t", "z"]``; ``time_ms``, ``stage_x_um``, ``stage_y_um`` and ``stage_z_um`` are lists of lists on
        these axes, null where nothing was recorded. Times that were not recorded at all are left out.
    """
    values = {"time_ms": times_ms(reader, placement.index)}
    stage = reader.stage_positions
    for axis, name in enumerate(("x", "y", "z")):
        values[f"stage_{name}_um"] = _take(stage[:, axis], placement.index)
    shape = (placement.times, placement.planes)
    slots = placement.slots("TZ")
    found: dict[str, Any] = {"axes": ["t", "z"]}
    for name, column in values.items():
        if np.isfinite(column).any():
            grid = np.empty(len(column))
            grid[slots] = column
            found[name] = [
                [None if np.isnan(v) else v for v in row] for row in grid.reshape(shape).tolist()
            ]
    return {"recorded": found}
