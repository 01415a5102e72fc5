"""The facts of a file, determined once: every output reads names, places, times and calibration here.

Files may hold a fact in two ways, so it has a source: values that the devices recorded, or values that the acquisition
planned and the picture metadata state (nominal).
"""

from __future__ import annotations

import math
from dataclasses import field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nd2._core.chunks.picture_metadata import DAY_MS, UNIX_EPOCH
from nd2._core.values import cached_property, record
from nd2._core.views.channels import ChannelFacts, channel_indices, composite_channels, locate, positive, unique_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.chunks.recorded_data import RecordedColumn
    from nd2._core.frames.grid import Layout
    from nd2._core.readers import Reader
    from nd2._core.structures import Channel, ExpLoop, Microscope

Source = Literal["recorded", "nominal", "mixed"] | None
"""Source of values; None if the file does not have them."""

STAGE_COLUMNS = ("X", "Y", "Z")
"""Identifiers of the columns of recorded data that hold the position of the stage."""
EXPOSURE_COLUMNS = ("Camera_ExposureTime1", "Camera_ExposureTime2")

_FIRST_DAY, _END_DAY = 7305, 47482
"""Days from 1970 to 1990 and to 2100: starts outside are implausible."""
_WHITE = (255, 255, 255)


@record
class Series:
    """Values with their source."""

    values: NDArray[Any]
    source: Source


@record
class Facts:
    """Facts of one file; each is read when it is first used, and kept."""

    reader: Reader = field(repr=False)

    @property
    def _metas(self) -> list[Channel]:
        return self.reader.metadata.channels or []

    @cached_property
    def channels(self) -> tuple[ChannelFacts, ...]:
        """The channels, as many as a frame has."""
        from nd2._core.chunks.optics import Capture

        reader = self.reader
        count = reader.layout.channels
        metas: Sequence[Channel | None] = self._metas
        if len(metas) != count:
            metas = [None] * count
        names = [(meta.channel.name if meta is not None else "") or f"Channel {i}" for i, meta in enumerate(metas)]
        colors = [_WHITE if meta is None else meta.channel.color[:3] for meta in metas]
        captures = [*reader.captures, *[Capture()] * count][:count]
        return tuple(map(ChannelFacts, names, unique_names(names), colors, metas, captures))

    def channel_indices(self, channels: Sequence[int | str]) -> list[int]:
        """Return the indices of channels given by index or name; see `channel_indices`."""
        names = [channel.name for channel in self.channels]
        return channel_indices(channels, names, path=self.reader.source.url)

    @property
    def composite_channels(self) -> list[int]:
        """Indices of the channels that a composite shows by default; see `composite_channels`."""
        channels = self.channels
        return composite_channels(
            [channel.modality for channel in channels],
            [channel.hex for channel in channels],
            [channel.emission_nm for channel in channels],
        )

    @property
    def optics(self) -> Microscope | None:
        """Objective and its properties; they are the same for all channels."""
        return self._metas[0].microscope if self._metas else None

    @property
    def is_color(self) -> bool:
        """Whether pixels have samples of red, green and blue."""
        return self.reader.layout.samples > 1

    @cached_property
    def software(self) -> str:
        """Name and version of the software that wrote the file; empty if unknown."""
        return self.reader.text_info.get("appVersion") or self.reader.software

    @property
    def significant_bits(self) -> int:
        """Bits of a sample that are used."""
        return int(self.reader.attributes.bitsPerComponentSignificant)

    @property
    def max_value(self) -> int | None:
        """Largest value of the significant bits; None if they do not limit the range.

        They do not limit floating point, nor types that ND2 files do not have, such as sums in an array to export.
        """
        if self.reader.dtype not in (np.uint8, np.uint16):
            return None
        return min((1 << self.significant_bits) - 1, int(np.iinfo(self.reader.dtype).max))

    @cached_property
    def display_range(self) -> tuple[float, float] | None:
        """Range of values to display: that of the significant bits, or else that of one frame.

        None if both are unknown.
        """
        if self.max_value is not None:
            return 0.0, float(self.max_value)
        frames = self.reader.frames
        present = np.flatnonzero(frames.table.present(self.reader.layout.frame_count))
        if not len(present):
            return None
        values = frames.frame(int(present[len(present) // 2]))
        values = values[np.isfinite(values)]
        if not values.size:
            return None
        low, high = float(values.min()), float(values.max())
        return (low, high) if high > low else (low, low + 1.0)

    @cached_property
    def pixel_size(self) -> tuple[float, float] | None:
        """Size of a pixel in micrometers, x and y; None if unknown."""
        known = bool(self._metas) and all(self._metas[0].volume.axesCalibrated[:2])
        x, y = positive(self.reader.voxel_size.x), positive(self.reader.voxel_size.y)
        return (x, y) if known and x and y else None

    @property
    def z_step(self) -> float | None:
        """Distance between two planes in micrometers; None if unknown."""
        known = bool(self._metas) and self._metas[0].volume.axesCalibrated[2]
        return positive(self.reader.voxel_size.z) if known else None

    @cached_property
    def loops(self) -> dict[str, Any]:
        """The structure of each loop, by the name of its axis."""
        names = [name for name, _ in self.reader.layout.loops]
        return dict(zip(names, self.reader.experiment, strict=True))

    def heights(self, loop: str, count: int) -> NDArray[np.float64]:
        """Return the height of each plane of a stack above the home plane in micrometers, as Nikon's reader does."""
        stack = self.loops.get(loop)
        if stack is None:
            return np.zeros(count)
        home, step = stack.parameters.homeIndex, float(stack.parameters.stepUm)
        heights: NDArray[np.float64] = (np.arange(count) - home) * step
        return heights

    @cached_property
    def stage_x(self) -> Series:
        """X of the stage at each frame in micrometers, shape (frame_count,)."""
        return self._stage(0)

    @cached_property
    def stage_y(self) -> Series:
        """Y of the stage at each frame in micrometers, shape (frame_count,)."""
        return self._stage(1)

    @cached_property
    def stage_z(self) -> Series:
        """Z of the stage at each frame in micrometers, shape (frame_count,)."""
        return self._stage(2)

    @property
    def stage(self) -> dict[str, Series]:
        """All three by their axis: x, y, z."""
        return {"x": self.stage_x, "y": self.stage_y, "z": self.stage_z}

    def _stage(self, axis: int) -> Series:
        values = self._frame_values(STAGE_COLUMNS[axis])
        if values is not None:
            return Series(values, "recorded")
        legacy = self.reader.version[0] == 1  # legacy files hold a position for each frame
        return Series(self.reader.stage_positions[:, axis], "recorded" if legacy else "nominal")

    def corner(self, frame: int) -> tuple[float, float] | None:
        """Return the position of the first corner of a frame in the plane of the sample, y and x in micrometers.

        The stage is at the center of a frame. The matrix of the file converts its axes to those of the image; without
        a matrix they are parallel. None if the stage or the size of a pixel is unknown.
        """
        place = np.array([series.values[frame] for series in (self.stage_x, self.stage_y)], np.float64)
        if self.pixel_size is None or not np.isfinite(place).all():
            return None
        size = np.array(self.pixel_size)
        affine = self._metas[0].volume.pixelToStageTransformationMatrix
        if affine is not None:
            to_stage = np.array([affine[0:2], affine[3:5]]) / size
            if abs(np.linalg.det(to_stage)) > 1e-6:
                place = np.linalg.solve(to_stage, place)
        layout = self.reader.layout
        x, y = place - size * (layout.width, layout.height) / 2
        return float(y), float(x)

    @cached_property
    def position_names(self) -> tuple[str, ...]:
        """Name of each position, which may be empty. Without an axis of positions, there are no items."""
        loop = self.loops.get("P")
        return () if loop is None else tuple(point.name or "" for point in loop.parameters.points)

    def image_names(self, images: int) -> list[str]:
        """Return the names of the images of a model in which each position is an image."""
        names = list(self.position_names)
        return names if len(names) == images else [""] * images

    def position_index(self, position: int | str) -> int:
        """Return the index of a position that is given by index or name."""
        count = dict(self.reader.layout.loops).get("P", 1)
        return locate("position", position, self.position_names, count, path=self.reader.source.url)

    @cached_property
    def start(self) -> datetime | None:
        """Instant of the first frame in UTC, to the millisecond; None if unknown or implausible.

        A Julian day number as a double resolves 0.04 ms.
        """
        days = self.reader.start_julian_day - UNIX_EPOCH
        if not _FIRST_DAY <= days < _END_DAY:
            return None
        return datetime.fromtimestamp(round(days * DAY_MS) / 1000, UTC)

    @cached_property
    def start_text(self) -> str | None:
        """`start` as text: ISO 8601 with milliseconds."""
        return None if self.start is None else f"{self.start.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"

    @cached_property
    def frame_times(self) -> NDArray[np.float64] | None:
        """Recorded time of each frame in milliseconds, NaN if it is missing; None if no time was recorded.

        Several times that are all exactly 0 were not recorded.
        """
        times = self.reader.frame_times
        if times is None or not len(times) or (len(times) > 1 and not times.any()):
            return None
        return times

    @property
    def has_times(self) -> bool:
        """Whether times were recorded; if the first is not 0, the others are not read."""
        if "frame_times" not in vars(self):
            chunk = self.reader.chunk_address("CustomData|AcqTimesCache")
            if chunk is not None and chunk.size >= 8 and any(chunk.read(0, 8)):
                return True
        return self.frame_times is not None

    def times(self, frames: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the recorded times of frames in milliseconds; NaN if unknown."""
        return _take(self.frame_times, frames)

    @property
    def loop_times(self) -> NDArray[np.float64]:
        """Recorded times of the frames that the loops reach, in milliseconds; NaN if unknown."""
        return self.times(np.arange(self.reader.layout.frame_count))

    @property
    def first_time(self) -> float:
        """Time of the first frame in milliseconds; 0 if unknown."""
        time = float(self.times(np.zeros(1, np.intp))[0])
        return time if math.isfinite(time) else 0.0

    def step_times(self, frames: NDArray[np.intp]) -> Series:
        """Return the times of steps, each given by its first frame, in milliseconds.

        Missing times between two recorded ones are interpolated. Times before the first and after the last continue
        with the mean recorded step, or else with the nominal one. If no step is known, the values are the numbers of
        the steps, and there is no source.
        """
        count = len(frames)
        times = self.times(frames)
        finite = np.isfinite(times)
        if count and finite.all():
            return Series(times, "recorded")
        known = np.flatnonzero(finite)
        nominal = planned_times(self.reader.experiment, self.reader.layout, frames)
        planned = _mean_step(nominal)
        if not len(known):
            if planned is None and count > 1:
                return Series(np.arange(count, dtype=np.float64), None)
            return Series(nominal + self.first_time, "nominal")
        first, last = known[0], known[-1]
        step = _mean_step(times[[first, last]], last - first) or planned
        index = np.arange(count)
        beyond = np.minimum(index - first, 0) + np.maximum(index - last, 0)
        if step is None and beyond.any():
            return Series(np.arange(count, dtype=np.float64), None)
        values = np.interp(index, known, times[known])
        return Series(values + beyond * (step or 0.0), "mixed")

    def time_step(self, frames: NDArray[np.intp]) -> float | None:
        """Return the time between two steps, each given by its first frame, in milliseconds.

        The mean step of `step_times`; the nominal one if that is not above zero; None if unknown.
        """
        series = self.step_times(frames)
        if series.source is None:
            return None
        return _mean_step(series.values) or _mean_step(
            planned_times(self.reader.experiment, self.reader.layout, frames)
        )

    def axes(self, position: int | str | None = None, without: Collection[str] = ()) -> dict[str, Series]:
        """Return the value of each step of every loop, of T, P and Z also if the file lacks them.

        Times are in milliseconds, heights in micrometers. Positions and other loops are counted, as are steps
        of which nothing is known: they have no source. What only the loops in ``without`` need is not read.
        """
        grid, first = self.reader.layout.with_all_loops().grid, 0
        if position is not None:
            first = self.position_index(position)
            grid = grid.fix("P", first)
        axes: dict[str, Series] = {}
        for name, count in zip(grid.names, grid.counts, strict=True):
            if name in without:
                continue
            if name[0] == "T":
                axes[name] = self.step_times(grid.steps(name))
            elif name[0] == "Z" and (count == 1 or self.heights(name, count).any()):
                axes[name] = Series(self.heights(name, count), "nominal")
            else:
                axes[name] = Series(np.arange(count) + (first if name == "P" else 0), None)
        return axes

    @cached_property
    def recorded(self) -> Mapping[str, RecordedColumn]:
        """Columns of recorded data, without those of stage and exposure that contain only zeros against the metadata.

        Some versions of the software write such columns for images of several channels.
        """
        columns = dict(self.reader.recorded_data)
        for identifiers, states_more in (
            (STAGE_COLUMNS, lambda: self.reader.stage_positions.any()),
            (EXPOSURE_COLUMNS, lambda: any(c.exposure_ms for c in self.reader.captures)),
        ):
            given = [name for name in identifiers if name in columns]
            if given and all(self._is_zero(columns[name]) for name in given) and states_more():
                for name in given:
                    del columns[name]
        return columns

    def _is_zero(self, column: RecordedColumn) -> bool:
        """Return whether all values of a column are exactly 0; most columns need one small read."""
        chunk = self.reader.chunk_address(f"CustomData|{column.id}")
        if chunk is None or column.size < 1 or chunk.size < column.size:
            return False
        if any(chunk.read(0, chunk.size // column.size)):
            return False
        return column.values.dtype.kind in "iuf" and not column.values.any()

    def _frame_values(self, identifier: str) -> NDArray[np.float64] | None:
        """Return the values of a column for each frame, NaN beyond its end; None if it does not cover the loops."""
        column = self.recorded.get(identifier)
        if column is None or column.values.dtype.kind not in "iuf":
            return None
        covers = len(column.values) >= self.reader.layout.frame_count
        return _take(column.values, np.arange(self.reader.frame_count)) if covers else None

    def exposure(self, channel: int) -> Series:
        """Return the exposure of a channel in milliseconds, one value, or one for each frame; NaN if unknown.

        The column of recorded exposures holds one value for each frame: it is the exposure of a
        channel only if frames have one channel.
        """
        values = self._frame_values(EXPOSURE_COLUMNS[0]) if self.reader.layout.channels == 1 else None
        if values is not None and (values > 0).any():
            return Series(np.where(values > 0, values, np.nan), "recorded")
        exposure = self.channels[channel].capture.exposure_ms
        return Series(np.array(exposure or math.nan), "nominal" if exposure else None)


def _take(values: NDArray[Any] | None, frames: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the values of frames; NaN for those beyond the end."""
    if values is not None and frames.max(initial=-1) < len(values):
        whole = 0 < len(frames) == len(values) and frames[0] == 0 and (frames[1:] > frames[:-1]).all()
        return (values if whole else values[frames]).astype(np.float64, copy=False)
    taken = np.full(len(frames), np.nan)
    if values is not None:
        inside = frames < len(values)
        taken[inside] = values[frames[inside]]
    return taken


def _mean_step(times: NDArray[np.float64], steps: int | None = None) -> float | None:
    """Return the mean distance of times; None if it is not above zero."""
    steps = len(times) - 1 if steps is None else steps
    return positive(float(times[-1] - times[0]) / steps) if steps > 0 else None


def planned_times(experiment: Iterable[ExpLoop], layout: Layout, frames: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the planned times of frames that the loops reach, in milliseconds from the first frame on."""
    times = np.zeros(len(frames))
    indices = layout.grid.indices(frames)
    for loop, (name, count) in zip(experiment, layout.loops, strict=True):
        if name[0] == "T":
            times += _loop_times(loop, count)[indices[name]]
    return times


def _loop_times(loop: Any, count: int) -> NDArray[np.float64]:
    """Return the planned time of each step of a loop in milliseconds; phases follow each other."""
    phases = loop.parameters.periods if loop.type == "NETimeLoop" else [loop.parameters]
    times: list[NDArray[np.float64]] = []
    start = 0.0
    for phase in phases:
        steps = phase.count if loop.type == "NETimeLoop" else count
        step = float(phase.periodDiff.avg or phase.periodMs)
        times.append(start + np.arange(steps) * step)
        start += max(float(phase.durationMs), steps * step)
    planned = np.concatenate([*times, np.zeros(count)])
    return planned[:count]
