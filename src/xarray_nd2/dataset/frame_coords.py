"""Coordinates that vary from frame to frame: recorded times, stage positions, what the devices recorded, missing frames."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_nd2.dataset.lazy import FrameValues, StoredColumn, TableColumn
from xarray_nd2.dataset.variable import VariableModel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from nd2._core.chunks.recorded_data import RecordedColumn
    from nd2._core.frames.array import FrameArray
    from nd2._core.frames.grid import FrameGrid
    from nd2._core.readers import Reader
    from xarray_nd2.dataset.clock import Clock
    from xarray_nd2.dataset.lazy import Column

_REAL = 3
_TIMES = "CustomData|AcqTimesCache"

KNOWN = {
    "X": "stage_x",
    "Y": "stage_y",
    "Z": "stage_z",
    "PFS_OFFSET": "pfs_offset",
    "PFS_STATUS": "pfs_status",
    "Camera_ExposureTime1": "exposure",
    "Camera_ExposureTime2": "exposure_2",
    "CameraTemp1": "camera_temperature",
    "CameraTemp2": "camera_temperature_2",
}
"""Names of recorded columns whose titles differ between versions of the software."""

UNITS = {
    "µm": "micrometer",
    "μm": "micrometer",
    "um": "micrometer",
    "°C": "degree_Celsius",
    "%": "percent",
    "°": "degree",
    "sec": "s",
}
"""Units as CF and pint read them; others are passed on as the file has them."""


def time_coordinate(reader: Reader, grid: FrameGrid, clock: Clock) -> VariableModel | None:
    """Return the recorded time of each frame; None where nothing was recorded."""
    column = _times(reader, clock)
    if column is None:
        return None
    attrs = {"long_name": "recorded time of the frame", **clock.units, "source": "recorded"}
    return _variable(grid, column, attrs)


def _times(reader: Reader, clock: Clock) -> Column | None:
    stored = reader.chunk_address(_TIMES)
    if stored is not None and stored.size >= 8 and stored.size != stored.position:
        return StoredColumn(stored, _REAL, stored.size // 8, clock)
    times = reader.frame_times
    if times is None or not len(times):
        return None
    whole = np.full(reader.layout.frame_count, np.nan)
    whole[: len(times)] = clock.convert(times[: len(whole)] / 1000)
    return TableColumn.from_frames(whole, reader.layout.grid, "TPZU", "time", reader.source)


def stage_coordinates(
    reader: Reader, grid: FrameGrid, wanted: Collection[str]
) -> dict[str, VariableModel]:
    """Return where the stage stood at each frame by the loops and the metadata, for those axes that are wanted."""
    recorded = reader.version[0] == 1  # legacy files hold a position for each frame
    each_frame = reader.stage_positions[: reader.layout.frame_count]
    letters = "TPZU" if recorded else "PZ"
    table = TableColumn.from_frames(each_frame, reader.layout.grid, letters, "stage", reader.source)
    found: dict[str, VariableModel] = {}
    for axis, name in enumerate(("stage_x", "stage_y", "stage_z")):
        if name in wanted:
            attrs = {
                "long_name": f"{name[-1]} of the stage",
                "units": "micrometer",
                "source": "recorded" if recorded else "nominal",
            }
            column = replace(table, values=table.values[..., axis], name=name)
            found[name] = _variable(grid, column, attrs)
    return found


def recorded_coordinates(
    reader: Reader, grid: FrameGrid, taken: Iterable[str]
) -> dict[str, VariableModel]:
    """Return the columns of the recorded-data table that have a value for each frame.

    Parameters
    ----------
    reader : Reader
        The file.
    grid : FrameGrid
        Its frames, or those of one position.
    taken : iterable of str
        Names that other variables have.
    """
    found: dict[str, VariableModel] = {}
    names = column_names(reader.recorded_data.values(), taken)
    counts = {reader.layout.frame_count, reader.frame_count, reader.attributes.sequenceCount}
    for identifier, column in reader.recorded_data.items():
        if column.size not in counts or column.size < reader.layout.frame_count:
            continue
        values = _recorded(reader, column)
        if values is not None:
            found[names[identifier]] = _variable(grid, values, column_attrs(column))
    return found


def column_attrs(column: RecordedColumn) -> dict[str, Any]:
    """Return the attributes of a recorded column: its title, its unit, its identifier."""
    attrs: dict[str, Any] = {"long_name": column.title or column.id}
    if column.unit:
        attrs["units"] = UNITS.get(column.unit, column.unit)
    return {**attrs, "source": "recorded", "nd2_id": column.id}


def column_names(columns: Iterable[RecordedColumn], taken: Iterable[str]) -> dict[str, str]:
    """Return a name for each recorded column, unique, and usable as a Python attribute."""
    used = set(taken)
    names: dict[str, str] = {}
    for column in columns:
        plain = KNOWN.get(column.id) or identifier(column.title) or identifier(column.id)
        candidates = [plain, f"{plain}_{identifier(column.id)}"]
        candidates += [f"{plain}_{i}" for i in range(2, len(used) + 3)]
        names[column.id] = next(name for name in candidates if name not in used)
        used.add(names[column.id])
    return names


def identifier(text: str) -> str:
    """Return a text as a name in lower case: letters, digits and underscores."""
    name = re.sub(r"\W+", "_", text.lower()).strip("_")
    return f"column_{name}" if name[:1].isdigit() else name


def _recorded(reader: Reader, column: RecordedColumn) -> Column | None:
    stored = reader.chunk_address(f"CustomData|{column.id}")
    if stored is None:
        return None
    item = stored.size // column.size
    if column.kind in (2, _REAL) and item in (4, 8) and stored.size != stored.position:
        return StoredColumn(stored, column.kind, column.size)
    # Of texts, the width of the longest is known when all were read.
    values = column.values
    if len(values) < reader.layout.frame_count:
        return None
    return TableColumn.from_frames(values, reader.layout.grid, "TPZU", column.id, reader.source)


def presence(reader: Reader, image: FrameArray) -> VariableModel | None:
    """Return which frames the file holds; None where it holds all."""
    present = image.frames.table.present(reader.layout.frame_count)
    here = present[image.grid.frames()]
    if here.all():
        return None
    attrs = {"long_name": "whether the file holds the frame"}
    return VariableModel(image.grid.dims, np.asarray(here), attrs)


def _variable(grid: FrameGrid, column: Column, attrs: dict[str, Any]) -> VariableModel:
    values = FrameValues(column, grid)
    return VariableModel(values.dims, values, attrs)
