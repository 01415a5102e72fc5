"""Variables of the dataset besides the image: coordinates, columns with a value for each frame, and binary layers.

Columns and layers (see `nd2._core.readers.layer_chunks`) are read when they are indexed.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from nd2._core.chunks.recorded_data import INTEGER, REAL, decode_values
from nd2._core.frames.selection import LazyArray, select
from nd2._core.values import record
from nd2._core.views.channels import stored_hex
from nd2._core.views.facts import STAGE_COLUMNS
from xarray_nd2.dataset.model import VariableModel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from numpy.typing import NDArray

    from nd2._core.chunks.recorded_data import RecordedColumn
    from nd2._core.format.pixels import PixelLayout
    from nd2._core.frames.array import FrameArray
    from nd2._core.frames.grid import FrameGrid
    from nd2._core.frames.plan import Picks
    from nd2._core.readers import Reader
    from nd2._core.readers.chunk_file import ChunkAddress
    from nd2._core.readers.layer_chunks import LayerChunks
    from nd2._core.views.facts import Facts, Series

    Column: TypeAlias = "StoredColumn | TableColumn | LayerChunks"

TimeMode = Literal["relative", "absolute"]

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


@record
class Clock:
    """The conversion of recorded times to those of the dataset."""

    start: datetime | None = None
    """The instant of the first frame, from which seconds are counted; None to leave times as recorded."""
    first: float = 0.0
    """Time of the first frame in seconds, as recorded."""

    @classmethod
    def from_facts(cls, facts: Facts, mode: TimeMode) -> Clock:
        """Return the clock of a mode."""
        if mode == "relative":
            return cls()
        if mode != "absolute":
            raise ValueError(f"time must be 'relative' or 'absolute', not {mode!r}")
        if facts.start is None:
            raise ValueError(
                "the file does not say when it was recorded; open it with time='relative' "
                f"(file {facts.reader.source.url!r})"
            )
        return cls(facts.start, facts.first_time / 1000)

    def convert(self, milliseconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return recorded times in seconds of this clock; those since an instant are rounded to nanoseconds."""
        seconds = milliseconds / 1000
        return seconds if self.start is None else np.round(seconds - self.first, 9)

    @property
    def units(self) -> dict[str, str]:
        """Attributes for the unit, by the CF conventions."""
        if self.start is None:
            return {"units": "s"}
        since = self.start.replace(tzinfo=None).isoformat(" ", "milliseconds")
        return {"units": f"seconds since {since}", "calendar": "proleptic_gregorian"}


def coordinates(
    facts: Facts, image: FrameArray, axes: Mapping[str, Series], clock: Clock, dropped: Collection[str] = ()
) -> dict[str, VariableModel]:
    """Return the coordinates of an image."""
    coords = {name: axis_coordinate(name, series, clock) for name, series in axes.items()}
    coords |= _pixel_coordinates(facts, image.frames.pixels) | _channel_coordinates(facts)
    present = {*dict(facts.reader.layout.loops), *image.dims, "C"}
    coords = {
        name: variable.drop_dims(image.dims) for name, variable in coords.items() if present.issuperset(variable.dims)
    }
    names = position_names(facts)
    if names is not None:
        positions = coords[names.dims[0]]
        here = np.asarray(names.values)[np.asarray(positions.values)]
        coords["position_name"] = VariableModel(positions.dims, np.asarray(here), names.attrs)
    # A recorded column takes neither the name of an axis nor that of another coordinate.
    taken = {*coords, *dropped, *image.all_sizes}
    coords |= _frame_coordinates(facts, image, clock, taken)
    return {name: variable for name, variable in coords.items() if name not in dropped}


def axis_coordinate(name: str, series: Series, clock: Clock) -> VariableModel:
    """Return the coordinate of a loop; see `Facts.axes`."""
    values = series.values
    attrs: dict[str, Any] = {}
    if name[0] == "T" and series.source is not None:
        values = clock.convert(values)
        attrs = {**clock.units, "source": series.source}
    elif name[0] == "T":
        attrs = {"units": "1", "long_name": "time step"}
    elif name[0] == "Z":
        attrs = _MICROMETER if series.source is not None else {"units": "1", "long_name": "plane"}
    return _axis(name, values, attrs)


def _axis(name: str, values: NDArray[Any], attrs: dict[str, Any]) -> VariableModel:
    """Return the coordinate of an axis, with attributes that others follow."""
    return VariableModel((name,), values, attrs | _AXES.get(name, {"long_name": name}) | attrs)


def _pixel_coordinates(facts: Facts, pixels: PixelLayout) -> dict[str, VariableModel]:
    """Return the coordinates of the axes of a frame."""
    names = [channel.unique_name for channel in facts.channels]
    x, y = facts.pixel_size or (1.0, 1.0)
    units = {} if facts.pixel_size is None else _MICROMETER
    coords = {
        "C": _axis("C", np.array(names, np.str_), {}),
        "Y": _axis("Y", np.arange(pixels.height) * y, units),
        "X": _axis("X", np.arange(pixels.width) * x, units),
    }
    if facts.is_color:
        coords["S"] = _axis("S", np.array(list(pixels.sample_order)), {})
    return coords


def _channel_coordinates(facts: Facts) -> dict[str, VariableModel]:
    """Return the metadata of each channel, on the axis C.

    Empty if the metadata and the image do not agree on the number of channels.
    """
    channels = facts.channels
    if any(channel.meta is None for channel in channels):
        return {}

    wavelength = {"standard_name": "radiation_wavelength", "units": "nm"}
    exposures = [channel.capture.exposure_ms for channel in channels]
    columns: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "emission_wavelength": ([channel.emission_nm for channel in channels], wavelength),
        "excitation_wavelength": ([channel.excitation_nm for channel in channels], wavelength),
        "channel_color": ([f"#{channel.hex}" for channel in channels], {"long_name": "display color"}),
        "modality": ([", ".join(channel.modality) for channel in channels], {}),
    }
    if any(exposures):
        attrs = {"long_name": "exposure of the channel", "units": "ms", "source": "nominal"}
        columns["channel_exposure"] = exposures, attrs
    coords = {}
    for name, (values, attrs) in columns.items():
        known = np.array([math.nan if value is None else value for value in values])
        coords[name] = VariableModel(("C",), known, {"long_name": name.replace("_", " "), **attrs})
    return coords


def position_names(facts: Facts) -> VariableModel | None:
    """Return the stored name of each position, on the axis P; None if no position has a name."""
    if not any(facts.position_names):
        return None
    names = np.array(facts.position_names, np.str_)
    return VariableModel(("P",), names, {"long_name": "position name"})


def _frame_coordinates(
    facts: Facts, image: FrameArray, clock: Clock, taken: Collection[str]
) -> dict[str, VariableModel]:
    """Return the coordinates that vary from frame to frame, without those whose names are taken."""
    grid = image.grid
    times = {} if "time" in taken else time_coordinate(facts, grid, clock)
    recorded = recorded_coordinates(facts, grid, {"image", "time", "frame_present"})
    absent = [name for name in _STAGE if name not in recorded and name not in taken]
    coords = times | recorded | _stage_coordinates(facts, grid, absent) | _presence(facts, image)
    return {name: variable for name, variable in coords.items() if name not in taken}


def time_coordinate(facts: Facts, grid: FrameGrid, clock: Clock) -> dict[str, VariableModel]:
    """Return the recorded time of each frame; empty if no time was recorded."""
    if not facts.has_times:
        return {}
    reader = facts.reader
    stored = reader.chunk_address(_TIMES)
    if stored is not None and stored.size >= 8 and stored.has_size:
        column: Column = StoredColumn(stored, REAL, stored.size // 8, clock)
    else:
        times = clock.convert(facts.loop_times)
        column = TableColumn.from_frames(times, reader, "TPZU")
    attrs = {"long_name": "time of the frame", "standard_name": "time", **clock.units}
    return {"time": frame_variable(grid, column, {**attrs, "source": "recorded"})}


def _stage_coordinates(facts: Facts, grid: FrameGrid, names: Collection[str]) -> dict[str, VariableModel]:
    """Return the stage positions that the loops and the metadata give, for some axes."""
    coords: dict[str, VariableModel] = {}
    for name in names:
        series: Series = getattr(facts, name)
        # Legacy files hold a position for each frame; that of the loops does not vary with time.
        letters = "TPZU" if series.source == "recorded" else "PZ"
        column = TableColumn.from_frames(series.values, facts.reader, letters)
        attrs = {"long_name": f"stage {name[-1]}", **_MICROMETER, "source": series.source}
        coords[name] = frame_variable(grid, column, attrs)
    return coords


def recorded_coordinates(facts: Facts, grid: FrameGrid, taken: Iterable[str]) -> dict[str, VariableModel]:
    """Return the columns of recorded data that have a value for each frame, with names that are not taken."""
    coords: dict[str, VariableModel] = {}
    names = column_names(facts.recorded.values(), taken)
    reader = facts.reader
    count = reader.layout.frame_count
    counts = {count, reader.frame_count, reader.attributes.sequenceCount}
    for identifier, column in facts.recorded.items():
        if column.size not in counts or column.size < count:
            continue
        stored = reader.chunk_address(f"CustomData|{identifier}")
        if stored is None:
            continue
        if column.kind in (INTEGER, REAL) and stored.size // column.size in (4, 8) and stored.has_size:
            values: Column = StoredColumn(stored, column.kind, column.size)
        elif len(column.values) < count:  # the width of texts is known when all of them were read
            continue
        else:
            values = TableColumn.from_frames(column.values, reader, "TPZU")
        coords[names[identifier]] = frame_variable(grid, values, column_attrs(column))
    return coords


def column_attrs(column: RecordedColumn) -> dict[str, Any]:
    """Return the attributes of a recorded column: its title, its unit, its identifier."""
    title = _NAMES[column.id].replace("_", " ") if column.id in STAGE_COLUMNS else column.title
    attrs: dict[str, Any] = {"long_name": title or column.id}
    if column.unit:
        attrs["units"] = _UNITS.get(column.unit, column.unit)
    return {**attrs, "source": "recorded", "nd2_id": column.id}


def column_names(columns: Iterable[RecordedColumn], taken: Iterable[str]) -> dict[str, str]:
    """Return a name for each recorded column, unique, and usable as a Python attribute."""
    used = set(taken)
    names: dict[str, str] = {}
    for column in columns:
        name = _NAMES.get(column.id) or _identifier(column.title) or _identifier(column.id)
        names[column.id] = _free_name(used, name, f"{name}_{_identifier(column.id)}")
        used.add(names[column.id])
    return names


def _free_name(taken: Collection[str], *names: str) -> str:
    """Return the first name that is not taken, or else the first one with a number."""
    numbered = (f"{names[0]}_{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (*names, *numbered) if name not in taken)


def _identifier(text: str) -> str:
    """Return a text as a name in lower case: letters, digits and underscores."""
    name = re.sub(r"\W+", "_", text.lower()).strip("_")
    return f"column_{name}" if name[:1].isdigit() else name


def _presence(facts: Facts, image: FrameArray) -> dict[str, VariableModel]:
    """Return whether the file has each frame; empty if it has all."""
    present = image.frames.table.present(facts.reader.layout.frame_count)
    if present.all():
        return {}
    here = np.asarray(present[image.grid.frames()])
    if here.all():
        return {}
    attrs = {"long_name": "frame is present"}
    return {"frame_present": VariableModel(image.grid.dims, here, attrs)}


def frame_variable(grid: FrameGrid, column: Column, attrs: dict[str, Any]) -> VariableModel:
    """Return a column as a variable on the axes of some frames."""
    values = FrameValues(column, grid)
    return VariableModel(values.dims, values, attrs)


def label_layers(facts: Facts, image: FrameArray, dropped: Collection[str] = ()) -> dict[str, VariableModel]:
    """Return the binary layers of a file as variables ``labels_<name>``."""
    found: dict[str, VariableModel] = {}
    for layer in facts.reader.binary_layers:
        info = layer.info
        plain = "labels_" + (re.sub(r"\W+", "_", info.name).strip("_") or "layer")
        name = _free_name(found, plain)
        attrs: dict[str, Any] = {"long_name": info.name or name, "nd2_file_tag": info.file_tag}
        if info.comp_name:
            attrs["channel"] = info.comp_name
        if info.color is not None:
            attrs["color"] = stored_hex(info.color)
        found[name] = frame_variable(image.grid, layer, attrs)
    return {name: variable for name, variable in found.items() if name not in dropped}


class _SingleValues:
    """A column of one value for each frame."""

    __slots__ = ()
    dims: ClassVar[tuple[str, ...]] = ()
    shape: ClassVar[tuple[int, ...]] = ()


@record
class StoredColumn(_SingleValues):
    """A column in one chunk; only the range of the selected frames is read."""

    chunk: ChunkAddress
    kind: int
    count: int
    """Number of values; frames beyond them are NaN."""
    clock: Clock | None = None
    """Converts the values, times in milliseconds."""

    @property
    def item(self) -> int:
        """Bytes of a value."""
        return self.chunk.size // self.count

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return decode_values(bytes(self.item), self.kind, 1).dtype.newbyteorder("=")

    def take(self, frames: NDArray[np.intp], picks: Picks = ()) -> NDArray[Any]:
        """Return the values of some frames."""
        inside = frames < self.count
        result = np.full(len(frames), np.nan if not inside.all() else 0, self.dtype)
        if not inside.any():
            return result
        first, stop = int(frames[inside].min()), int(frames[inside].max()) + 1
        data = self.chunk.read(first * self.item, stop * self.item)
        values = decode_values(data, self.kind, len(data) // self.item)
        values = values[frames[inside] - first].astype(self.dtype)
        result[inside] = values if self.clock is None else self.clock.convert(values)
        return result

    def token(self) -> tuple[Any, ...]:
        """Return what distinguishes this column from others."""
        chunk = self.chunk
        return (*chunk.source.identity, chunk.name, chunk.position, self.count, str(self.clock))


@record
class TableColumn(_SingleValues):
    """A column whose values repeat along some loops: a small table over the other loops."""

    values: NDArray[Any]
    grid: FrameGrid

    @classmethod
    def from_frames(cls, values: NDArray[Any], reader: Reader, letters: str) -> TableColumn:
        """Make the column of values of a file, shape (frames, ...), that depend on some loops only."""
        grid = reader.layout.grid
        table = grid.with_dims([loop for loop in grid.names if loop[0] in letters])
        return cls(values[table.frames()], table)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return self.values.dtype

    def take(self, frames: NDArray[np.intp], picks: Picks = ()) -> NDArray[Any]:
        """Return the values of some frames."""
        indices = self.grid.indices(frames)
        place = tuple(indices[dim] for dim in self.grid.dims)
        return self.values[place] if place else np.full(len(frames), self.values)

    def token(self) -> tuple[Any, ...]:
        """Return what distinguishes this column from others."""
        return (self.values, repr(self.grid))


@record
class FrameValues(LazyArray):
    """A column on the frame axes of an array; values are indexed by the sequence index of their frame."""

    column: Column
    grid: FrameGrid

    @property
    def dims(self) -> tuple[str, ...]:
        """Axes: those of the frames, then those of the column."""
        return (*self.grid.dims, *self.column.dims)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return (*self.grid.shape, *self.column.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return self.column.dtype

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read a part by outer indexing."""
        selection = select(key, self.dims, self.shape)
        loops = len(self.grid.dims)
        frames = self.grid.frames(selection.picks[:loops]).reshape(-1)
        if not frames.size:
            return np.empty(selection.shape, self.dtype)
        return self.column.take(frames, selection.picks[loops:]).reshape(selection.shape)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xarray_nd2", *self.column.token(), repr(self.grid))
