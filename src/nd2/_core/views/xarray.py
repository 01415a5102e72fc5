"""``ND2File.to_xarray``: a DataArray labeled as the public package nd2 labels it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.structures import NETimeLoop, TimeLoop, XYPosLoop, ZStackLoop

if TYPE_CHECKING:
    import xarray

    from nd2._core.readers import Reader
    from nd2._core.structures import ExpLoop
    from nd2._core.views.facts import Facts

SAMPLE_NAMES = {"B": "Blue", "G": "Green", "R": "Red"}
"""Names of the samples of color."""


def coordinates(reader: Reader, facts: Facts) -> dict[str, Any]:
    """Return the coordinate of each axis of a file, those of size 1 included.

    T is in milliseconds from the loop's mean period; Z, Y and X are in micrometers from 0.
    """
    layout, voxel = reader.layout, reader.voxel_size
    coords: dict[str, Any] = {}
    for (name, count), loop in zip(layout.loops, reader.experiment, strict=True):
        values = _loop_coordinate(loop, count, facts)
        if values is not None:
            coords[name] = values
    # As in nd2: empty if the name in the file is empty.
    coords["C"] = [channel.name if channel.meta is None else channel.meta.channel.name for channel in facts.channels]
    coords["Y"] = np.arange(layout.height) * voxel[1]
    coords["X"] = np.arange(layout.width) * voxel[0]
    if layout.samples > 1:
        order = reader.frames.pixels.sample_order
        coords["S"] = [SAMPLE_NAMES[sample] for sample in order]
    return coords


def _loop_coordinate(loop: ExpLoop, count: int, facts: Facts) -> Any:
    if isinstance(loop, TimeLoop):
        return np.arange(count) * _period(loop.parameters)
    if isinstance(loop, NETimeLoop):
        # Each phase starts at 0 again, as in nd2; recorded times are in events() and in the engine's dataset.
        return np.concatenate([np.arange(period.count) * _period(period) for period in loop.parameters.periods])[:count]
    if isinstance(loop, ZStackLoop):
        return np.arange(count) * loop.parameters.stepUm
    if isinstance(loop, XYPosLoop):
        return [name or f"XYPos:{i}" for i, name in enumerate(facts.position_names)]
    return None


def _period(parameters: Any) -> float:
    average = parameters.periodDiff.avg
    return float(parameters.periodMs if average is None else average)


def to_xarray(
    data: Any, reader: Reader, facts: Facts, dims: tuple[str, ...], *, squeeze: bool, position: int | None
) -> xarray.DataArray:
    """Label an array of a file, whose axes are ``dims``."""
    import xarray

    coords = coordinates(reader, facts)
    if position is not None and "P" in dims:
        coords["P"] = [coords["P"][position]]
    if not squeeze:
        coords.setdefault("P", ["XYPos:0"])
        missing = [d for d in ("T", "P", "Z", "C", "Y", "X") if d in coords and d not in dims]
        data = data[(None,) * len(missing) + (...,)]
        dims = (*missing, *dims)
    used = {name: ((name,), values) for name, values in coords.items() if name in dims}
    attached = {name: getattr(reader, name) for name in ("metadata", "experiment", "attributes", "text_info")}
    array = xarray.DataArray(data, dims=dims, coords=used, attrs={"metadata": attached})
    return array.squeeze() if squeeze else array
