"""Coordinates of the dataset: along the axes, of each channel, of each position, and of each frame."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.views.facts import STAGE_COLUMNS
from xarray_nd2.dataset.lazy import FrameValues, StoredColumn, TableColumn
from xarray_nd2.dataset.model import VariableModel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from nd2._core.chunks.recorded_data import RecordedColumn
    from nd2._core.frames.array import FrameArray
    from nd2._core.frames.grid import FrameGrid
    from nd2._core.readers import Reader
    from nd2._core.views.facts import Facts, Series
    from xarray_nd2.dataset.clock import Clock
    from xarray_nd2.dataset.lazy import Column

_INTEGER, _REAL = 2, 3
_TIMES = "CustomData|AcqTimesCache"
_STAGE = ("stage_x", "stage_y", "stage_z")
_NAMES = {
    **dict(zip(STAGE_COLUMNS, _STAGE, strict=True)),
    "PFS_OFFSET": "pfs_offset",
    "PFS_STATUS": "pfs_status",
    "Camera_ExposureTime1": "exposure",
    "Camera_ExposureTime2": "exposure_2",
    "CameraTemp1": "camera_temperature",
    "CameraTemp2": "camera_temperature_2",
}
"""Names of recorded columns whose titles differ between versions of the software."""
_UNITS = {
    "µm": "micrometer",
    "μm": "micrometer",
    "um": "micrometer",
    "°C": "degree_Celsius",
    "%": "percent",
    "°": "degree",
    "sec": "s",
}
"""Units as CF and pint read them; other units are passed on unchanged."""
_AXES: dict[str, dict[str, Any]] = {
    "T": {"long_name": "time", "standard_name": "time", "axis": "T"},
    "Z": {"long_name": "Z", "axis": "Z"},
    "P": {"long_name": "position"},
    "C": {"long_name": "channel"},
    "Y": {"long_name": "Y", "axis": "Y"},
    "X": {"long_name": "X", "axis": "X"},
    "S": {"long_name": "color sample"},
}
_MICROMETER = {"units": "micrometer"}


def coordinates(
    reader: Reader, facts: Facts, image: FrameArray, clock: Clock, dropped: Collection[str] = ()
) -> dict[str, VariableModel]:
    """Return the coordinates of an image."""
    coords = axis_coordinates(facts, image, clock, dropped) | _channel_coordinates(facts)
    present = {*dict(reader.layout.loops), *image.dims, "C"}
    coords = {
        name: variable.drop_dims(image.dims) for name, variable in coords.items() if present.issuperset(variable.dims)
    }
    names = position_names(facts)
    if names is not None and names.dims[0] in coords:
        positions = coords[names.dims[0]]
        here = np.asarray(names.values)[np.asarray(positions.values)]
        coords["position_name"] = VariableModel(positions.dims, np.asarray(here), names.attrs)
    # A recorded column takes neither the name of an axis nor that of another coordinate.
    taken = {*coords, *dropped, *image.all_sizes}
    coords |= frame_coordinates(reader, facts, image, clock, taken)
    return {name: variable for name, variable in coords.items() if name not in dropped}


def axis_coordinates(
    facts: Facts, image: FrameArray, clock: Clock, dropped: Collection[str] = ()
) -> dict[str, VariableModel]:
    """Return the coordinate of every axis; each is one-dimensional."""
    coords: dict[str, VariableModel] = {}
    grid = image.grid
    for name, count in zip(grid.names, grid.counts, strict=True):
        values: NDArray[Any] = np.arange(count)
        attrs: dict[str, Any] = {}
        if name in dropped and name[0] != "P":
            continue
        if name[0] == "T":
            series = facts.step_times(grid.steps(name))
            values = series.values
            if series.source is not None:
                values = clock.convert(values / 1000)
                attrs = {**clock.units, "source": series.source}
            else:
                attrs = {"units": "1", "long_name": "time step"}  # counted: nothing is known
        elif name[0] == "Z":
            heights = facts.heights(name, count)
            if count > 1 and not heights.any():  # counted: the distance of planes is unknown
                attrs = {"units": "1", "long_name": "plane"}
            else:
                values, attrs = heights, _MICROMETER
        elif name[0] == "P":
            values = facts.reader.layout.grid.indices(grid.steps(name)).get(name, values)
        coords[name] = VariableModel((name,), values, dict(attrs))
    pixels = image.frames.pixels
    names = [channel.unique_name for channel in facts.channels]
    coords["C"] = VariableModel(("C",), np.array(names, np.str_))
    x, y = facts.pixel_size or (1.0, 1.0)
    units = {} if facts.pixel_size is None else _MICROMETER
    for dim, count, size in (("Y", pixels.height, y), ("X", pixels.width, x)):
        coords[dim] = VariableModel((dim,), np.arange(count) * size, dict(units))
    if facts.is_color:
        order = tuple(pixels.sample_order)
        coords["S"] = VariableModel(("S",), np.array(order[: pixels.samples]))
    for dim, variable in coords.items():
        for key, value in _AXES.get(dim, {"long_name": dim}).items():
            variable.attrs.setdefault(key, value)
    return coords


def _channel_coordinates(facts: Facts) -> dict[str, VariableModel]:
    """Return the metadata of each channel, on the axis C.

    Empty if the metadata and the image do not agree on the number of channels.
    """
    channels = facts.channels
    if any(channel.meta is None for channel in channels):
        return {}

    def variable(values: Iterable[Any], **attrs: Any) -> VariableModel:
        filled = [math.nan if value is None else value for value in values]
        return VariableModel(("C",), np.array(filled), attrs)

    coords = {
        "emission_wavelength": variable(
            (channel.emission_nm for channel in channels),
            long_name="emission wavelength",
            standard_name="radiation_wavelength",
            units="nm",
        ),
        "excitation_wavelength": variable(
            (channel.excitation_nm for channel in channels),
            long_name="excitation wavelength",
            standard_name="radiation_wavelength",
            units="nm",
        ),
        "channel_color": variable((f"#{channel.hex}" for channel in channels), long_name="display color"),
        "modality": variable((", ".join(channel.modality) for channel in channels), long_name="modality"),
    }
    exposures = [channel.capture.exposure_ms for channel in channels]
    if any(exposures):
        coords["channel_exposure"] = variable(
            exposures, long_name="exposure of the channel", units="ms", source="nominal"
        )
    return coords


def position_names(facts: Facts) -> VariableModel | None:
    """Return the stored name of each position, on the axis P; None if no position has a name."""
    if facts.position_loop is None or not any(facts.position_names):
        return None
    names = np.array(facts.position_names, np.str_)
    return VariableModel((facts.position_loop,), names, {"long_name": "position name"})


def frame_coordinates(
    reader: Reader, facts: Facts, image: FrameArray, clock: Clock, taken: Collection[str]
) -> dict[str, VariableModel]:
    """Return the coordinates that vary from frame to frame, without those whose names are taken."""
    coords: dict[str, VariableModel] = {}
    if "time" not in taken:
        coords |= time_coordinate(reader, facts, image.grid, clock)
    recorded = recorded_coordinates(reader, facts, image.grid, {"image", "time", "frame_present"})
    coords |= {name: variable for name, variable in recorded.items() if name not in taken}
    absent = [name for name in _STAGE if name not in recorded and name not in taken]
    coords |= _stage_coordinates(reader, facts, image.grid, absent)
    if "frame_present" not in taken:
        coords |= _presence(reader, image)
    return coords


def time_coordinate(reader: Reader, facts: Facts, grid: FrameGrid, clock: Clock) -> dict[str, VariableModel]:
    """Return the recorded time of each frame; empty if no time was recorded."""
    column: Column
    if not facts.has_times:
        return {}
    stored = reader.chunk_address(_TIMES)
    if stored is not None and stored.size >= 8 and stored.size != stored.position:
        column = StoredColumn(stored, _REAL, stored.size // 8, clock)
    else:
        frames = np.arange(reader.layout.frame_count)
        times = clock.convert(facts.times(frames) / 1000)
        column = TableColumn.from_frames(times, reader.layout.grid, "TPZU", "time", reader.source)
    attrs = {"long_name": "time of the frame", "standard_name": "time", **clock.units}
    return {"time": _variable(grid, column, {**attrs, "source": "recorded"})}


def _stage_coordinates(
    reader: Reader, facts: Facts, grid: FrameGrid, names: Collection[str]
) -> dict[str, VariableModel]:
    """Return the stage positions that the loops and the metadata give, for some axes."""
    coords: dict[str, VariableModel] = {}
    for name in names:
        series: Series = getattr(facts, name)
        # Legacy files hold a position for each frame; that of the loops does not vary with time.
        letters = "TPZU" if series.source == "recorded" else "PZ"
        values = series.values[: reader.layout.frame_count]
        column = TableColumn.from_frames(values, reader.layout.grid, letters, name, reader.source)
        attrs = {"long_name": f"stage {name[-1]}", **_MICROMETER, "source": series.source}
        coords[name] = _variable(grid, column, attrs)
    return coords


def recorded_coordinates(
    reader: Reader, facts: Facts, grid: FrameGrid, taken: Iterable[str]
) -> dict[str, VariableModel]:
    """Return the columns of recorded data that have a value for each frame, with names that are not taken."""
    coords: dict[str, VariableModel] = {}
    names = column_names(facts.recorded.values(), taken)
    count = reader.layout.frame_count
    counts = {count, reader.frame_count, reader.attributes.sequenceCount}
    for identifier, column in facts.recorded.items():
        if column.size not in counts or column.size < count:
            continue
        values = _recorded(reader, column)
        if values is not None:
            coords[names[identifier]] = _variable(grid, values, column_attrs(column))
    return coords


def column_attrs(column: RecordedColumn) -> dict[str, Any]:
    """Return the attributes of a recorded column: its title, its unit, its identifier."""
    titles = dict(zip(STAGE_COLUMNS, ("stage x", "stage y", "stage z"), strict=True))
    attrs: dict[str, Any] = {"long_name": titles.get(column.id) or column.title or column.id}
    if column.unit:
        attrs["units"] = _UNITS.get(column.unit, column.unit)
    return {**attrs, "source": "recorded", "nd2_id": column.id}


def column_names(columns: Iterable[RecordedColumn], taken: Iterable[str]) -> dict[str, str]:
    """Return a name for each recorded column, unique, and usable as a Python attribute."""
    used = set(taken)
    names: dict[str, str] = {}
    for column in columns:
        name = _NAMES.get(column.id) or _identifier(column.title) or _identifier(column.id)
        candidates = [name, f"{name}_{_identifier(column.id)}"]
        candidates += [f"{name}_{i}" for i in range(2, len(used) + 3)]
        names[column.id] = next(name for name in candidates if name not in used)
        used.add(names[column.id])
    return names


def _identifier(text: str) -> str:
    """Return a text as a name in lower case: letters, digits and underscores."""
    name = re.sub(r"\W+", "_", text.lower()).strip("_")
    return f"column_{name}" if name[:1].isdigit() else name


def _recorded(reader: Reader, column: RecordedColumn) -> Column | None:
    stored = reader.chunk_address(f"CustomData|{column.id}")
    if stored is None:
        return None
    item = stored.size // column.size
    if column.kind in (_INTEGER, _REAL) and item in (4, 8) and stored.size != stored.position:
        return StoredColumn(stored, column.kind, column.size)
    # The width of texts is known when all of them were read.
    values = column.values
    if len(values) < reader.layout.frame_count:
        return None
    return TableColumn.from_frames(values, reader.layout.grid, "TPZU", column.id, reader.source)


def _presence(reader: Reader, image: FrameArray) -> Mapping[str, VariableModel]:
    """Return whether the file has each frame; empty if it has all."""
    present = image.frames.table.present(reader.layout.frame_count)
    if present.all():
        return {}
    here = np.asarray(present[image.grid.frames()])
    if here.all():
        return {}
    attrs = {"long_name": "frame is present"}
    return {"frame_present": VariableModel(image.grid.dims, here, attrs)}


def _variable(grid: FrameGrid, column: Column, attrs: dict[str, Any]) -> VariableModel:
    values = FrameValues(column, grid)
    return VariableModel(values.dims, values, attrs)
