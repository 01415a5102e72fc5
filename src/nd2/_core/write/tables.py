"""The chunks of a file besides its frames: those written first, and those known only at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nd2._core import errors
from nd2._core.chunks import (
    attributes,
    binary_layers,
    custom_data,
    events,
    experiment,
    fields,
    picture_metadata,
    recorded_data,
    regions,
    texts,
)
from nd2._core.chunks.binary_layers import LayerInfo
from nd2._core.chunks.picture_metadata import DAY_MS, UNIX_EPOCH, FirstFrame
from nd2._core.format import clx_lite, clx_xml, masks
from nd2._core.structures import StagePosition, TextInfo, TimeLoop, XYPosLoop, XYPosLoopParams, ZStackLoop
from nd2._core.write import plan as plans
from nd2._core.write.plan import WriterOptions, measured_time_loop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from nd2._core.chunks.recorded_data import RecordedColumn
    from nd2._core.event_types import ExperimentEvent
    from nd2._core.region_types import ROI
    from nd2._core.structures import ExpLoop
    from nd2._core.write.plan import Plan


Layer: TypeAlias = "tuple[LayerInfo, Iterable[NDArray[Any] | None]]"
"""A binary layer: its metadata, and a mask, shape (Y, X), or None for each frame."""


class FrameLog:
    """Values that are written frame by frame.

    ``times`` are in milliseconds, shape (n,), NaN where unknown. ``cells`` maps the header of a column of
    recorded data to the value of each frame, or None.
    """

    def __init__(self, times: NDArray[np.float64]) -> None:
        self.times = times
        self.cells: defaultdict[str, list[Any]] = defaultdict(lambda: [None] * len(times))

    def merged(self, given: Iterable[RecordedColumn]) -> tuple[list[RecordedColumn], list[RecordedColumn]]:
        """Return the given columns that the log does not replace, and its own, with unique identifiers."""
        own = [_column(header, cells) for header, cells in self.cells.items()]
        headers = {(column.title, column.unit) for column in own}
        kept = [column for column in given if (column.title, column.unit) not in headers]
        unique = recorded_data.with_unique_ids([*kept, *own])
        return unique[: len(kept)], unique[len(kept) :]

    def recorded_times(self) -> NDArray[np.float64]:
        """Return the times up to the last recorded one, NaN where unknown; empty if none is known."""
        return self.times[: np.flatnonzero(np.isfinite(self.times)).max(initial=-1) + 1]

    def first_frame(self, default: FirstFrame, loops: Sequence[ExpLoop]) -> FirstFrame:
        """Return time and place of the first frame, z that of the home plane."""
        if not len(self.times):
            return default
        time = float(self.times[0])
        x, y, z = (self.cells.get(header, [None])[0] for header in recorded_data.STAGE)
        if z is not None:
            stacks = [loop.parameters for loop in loops if isinstance(loop, ZStackLoop)]
            z += sum(stack.homeIndex * stack.stepUm for stack in stacks)
        place = zip(default.stage, (x, y, z), strict=True)
        x, y, z = (old if new is None else new for old, new in place)
        return FirstFrame(default.time_ms if time != time else time, default.julian_day, (x, y, z))


def _column(header: str, cells: list[Any]) -> RecordedColumn:
    """Return a column; frames without a value have NaN, or no text."""
    if any(isinstance(cell, str) for cell in cells):
        texts = np.array(["" if cell is None else str(cell) for cell in cells])
        return recorded_data.column(header, texts, len(cells))
    whole = all(isinstance(cell, (int, np.integer)) for cell in cells)
    values = np.array([np.nan if cell is None else cell for cell in cells], None if whole else "f8")
    return recorded_data.column(header, values, len(cells))


@dataclass(frozen=True, eq=False)
class NewTables:
    """The chunks of a new file besides its frames.

    ``times`` are those known before frames are written, as in `FrameLog`. ``custom`` maps a tag to its tree
    or value, as ``ND2File.custom_data`` gives it; bytes are stored unchanged.
    """

    plan: Plan
    version: tuple[int, int]
    times: NDArray[np.float64]
    first: FirstFrame = field(default_factory=FirstFrame)
    text_info: TextInfo = field(default_factory=TextInfo)
    custom: Mapping[str, Any] = field(default_factory=dict)
    columns: Sequence[RecordedColumn] = ()
    rois: Sequence[ROI] = ()
    events: Sequence[ExperimentEvent] = ()
    layers: Sequence[Layer] = ()

    @classmethod
    def from_options(
        cls,
        sizes: Mapping[str, int],
        dtype: DTypeLike,
        options: WriterOptions,
        *,
        any_dtype: bool = False,
        path: str = "",
    ) -> NewTables:
        """Plan a file by the options of `ND2Writer`; see `plan.make` for ``any_dtype``."""
        known = WriterOptions.__annotations__
        for name in options.keys() - known.keys():
            raise errors.no_such("option", name, known, path=path, kind=TypeError)
        samples, version = options.get("samples", "RGB"), options.get("version", (3, 0))
        if samples not in ("RGB", "BGR"):
            raise ValueError(f"samples {samples!r}: 'RGB' and 'BGR' are known")
        if version[0] not in (2, 3):
            raise ValueError(f"version {version}: (3, 0) and (2, 1) are known")
        plan = plans.make(sizes, dtype, options, any_dtype=any_dtype)
        stage = _stage(options.get("stage"), plan)
        columns, labels = options.get("columns") or {}, options.get("labels") or {}
        custom, rois = options.get("custom") or {}, options.get("rois") or ()
        for tag in custom:
            custom_data.name(tag)  # refuses impossible tags before frames are written
        return cls(
            plan,
            version,
            _frame_times(options.get("times"), plan),
            first=FirstFrame(julian_day=_julian_day(options.get("start")), stage=stage),
            text_info=options.get("text_info") or TextInfo(),
            custom=custom,
            columns=[recorded_data.column(header, values, plan.frame_count) for header, values in columns.items()],
            rois=list(rois.values() if isinstance(rois, Mapping) else rois),
            events=list(options.get("events") or ()),
            layers=[_layer(name, i, masks, plan) for i, (name, masks) in enumerate(labels.items())],
        )

    def start(self) -> list[tuple[bytes, bytes]]:
        """Return name and data of the metadata chunks, so that a rescue understands what a crash leaves."""
        return list(self._metadata(FrameLog(self.times)))

    def finish(self, log: FrameLog) -> Iterator[tuple[bytes, bytes]]:
        """Yield name and data of the chunks that come after the frames or replace earlier ones."""
        yield from self._metadata(log)
        planned = any(isinstance(x, TimeLoop) and x.parameters.periodMs for x in self.plan.loops)
        times = log.recorded_times()
        if len(times) or (len(log.times) and not planned):
            yield recorded_data.TIMES, (times if len(times) else np.zeros(len(log.times))).astype("<f8").tobytes()
        given, own = log.merged(self.columns)
        for column in (*given, *own):
            yield recorded_data.column_name(column.id), column.load() or b""
        if given or own:
            yield recorded_data.NAME, clx_xml.encode(recorded_data.encode((*given, *own)))
        for tag, tree in self.custom.items():
            name = custom_data.name(tag)
            if name not in (binary_layers.RUNS_NAME, recorded_data.NAME):
                yield name, tree if isinstance(tree, bytes) else clx_xml.encode(custom_data.encode(tree))
        if self.rois:
            yield regions.NAME, clx_lite.encode(regions.encode(self.rois))
        if self.events:
            yield events.NAMES[-1], clx_lite.encode(events.encode(self.events))
        yield from layer_chunks(self.layers)

    def _metadata(self, log: FrameLog) -> Iterator[tuple[bytes, bytes]]:
        """Yield the chunks that readers need to open the file."""
        plan, loops = self.plan, self._loops(log)
        first = log.first_frame(self.first, loops)
        trees = {
            experiment.NAMES: experiment.encode(loops),
            picture_metadata.CALIBRATION_NAMES: picture_metadata.encode_calibration(plan.channels[0]),
            picture_metadata.NAMES: picture_metadata.encode(plan.channels, first, plan.exposures_ms),
            attributes.NAMES: attributes.encode(plan.attributes),
            texts.NAMES: texts.encode(self.text_info) if self.text_info else None,
        }
        for names, tree in trees.items():
            if tree is not None:
                yield fields.name(names, self.version), fields.encode(tree, self.version)

    def _loops(self, log: FrameLog) -> list[ExpLoop]:
        """Return the loops: positions without a place and periods come from the frames."""
        loops = list(self.plan.loops)
        nested = sum(isinstance(loop, TimeLoop) for loop in loops) > 1
        for axis, loop in enumerate(self.plan.loops):
            if isinstance(loop, XYPosLoop):
                loops[axis] = self._placed(loop, axis, log)
            elif isinstance(loop, TimeLoop) and not nested:
                loops[axis] = self._measured(loop, axis, log)
        return loops

    def _placed(self, loop: XYPosLoop, axis: int, log: FrameLog) -> XYPosLoop:
        """Return the loop; if all its points are at 0, they move to the first recorded places of the stage."""
        cells = [log.cells.get(header) for header in recorded_data.STAGE]
        if cells[0] is None or cells[1] is None:
            return loop
        if any(any(point.stagePositionUm) for point in loop.parameters.points):
            return loop
        stage = np.array([one or [None] * len(log.times) for one in cells], float).T
        indices = list(self.plan.layout.grid.all_indices().values())
        for stack, index in zip(self.plan.loops, indices, strict=True):
            if isinstance(stack, ZStackLoop):
                offset = (index - stack.parameters.homeIndex) * stack.parameters.stepUm
                stage[: len(index), 2] -= offset
        written = np.flatnonzero(np.isfinite(stage[: len(indices[axis]), :2]).all(axis=1))
        steps, first = np.unique(indices[axis][written], return_index=True)
        stage = stage[written[first]]
        heights = stage[:, 2]
        sets_z = bool(len(steps) == loop.count and np.isfinite(heights).all() and np.ptp(heights))
        if not sets_z:
            heights[:] = 0.0
        points = list(loop.parameters.points)
        for step, place in zip(steps.tolist(), stage.tolist(), strict=True):
            points[step] = replace(points[step], stagePositionUm=StagePosition(*place))
        return replace(loop, parameters=XYPosLoopParams(sets_z, points))

    def _measured(self, loop: TimeLoop, axis: int, log: FrameLog) -> TimeLoop:
        if loop.parameters.periodMs or loop.parameters.periodDiff.avg:
            return loop
        grid = self.plan.layout.grid
        times = log.times[grid.steps(grid.names[axis])]
        if not np.isfinite(times[[0, -1]]).all():
            return loop
        known = np.flatnonzero(np.isfinite(times))
        return measured_time_loop(loop, np.interp(np.arange(len(times)), known, times[known]))


def layer_chunks(layers: Sequence[Layer]) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and data of the chunks of binary layers, all of them as runs of pixels."""
    if layers:
        yield binary_layers.RUNS_NAME, clx_xml.encode(binary_layers.encode_runs(info for info, _ in layers))
    for info, frames in layers:
        for frame, mask in enumerate(frames):
            if mask is not None:
                yield binary_layers.mask_name(info.file_tag, frame), masks.encode_runs(mask)


def _julian_day(when: datetime | float | None) -> float:
    """Return the Julian day number (UTC) of a time; one without zone is local; 0 for None."""
    if when is None:
        return 0.0
    if isinstance(when, datetime):
        return UNIX_EPOCH + when.astimezone(UTC).timestamp() / (DAY_MS / 1000)
    return float(when)


def _frame_times(values: ArrayLike | None, plan: Plan) -> NDArray[np.float64]:
    """Return a time for each frame, from one for each frame or each step of the time loop."""
    if values is None:
        return np.full(plan.frame_count, np.nan)
    times = np.asarray(values, float)
    if times.shape == (plan.frame_count,):
        return times
    axes = [(name, count) for name, count in plan.layout.loops if name[0] == "T"]
    if len(axes) != 1 or times.shape != (axes[0][1],):
        raise ValueError(
            f"times have shape {times.shape}; expected one for each step of the axis T, or for "
            f"each of {plan.frame_count} frames"
        )
    return times[plan.layout.grid.all_indices()[axes[0][0]]]


def _stage(given: Sequence[float] | None, plan: Plan) -> tuple[float, float, float]:
    """Return the stage position of the first frame, by default that of the first point."""
    if given is not None:
        if len(given) not in (2, 3):
            raise ValueError(f"stage {given}: expected (x, y) or (x, y, z)")
        return float(given[0]), float(given[1]), float(given[2]) if len(given) > 2 else plan.z_home
    for loop in plan.loops:
        if loop.type == "XYPosLoop":
            x, y, _ = loop.parameters.points[0].stagePositionUm
            return x, y, plan.z_home
    return 0.0, 0.0, plan.z_home


def _layer(name: str, index: int, masks: ArrayLike, plan: Plan) -> Layer:
    array = np.asarray(masks)
    frame = (plan.pixels.height, plan.pixels.width)
    expected = (*plan.layout.grid.counts, *frame)
    if array.shape not in (expected, (plan.frame_count, *frame)):
        raise ValueError(f"labels {name!r} have shape {array.shape}; expected {expected}")
    info = LayerInfo(name, f"RleZipBinarySequence_{index + 1}_v1", color=0x00FF00, layer_id=index + 1)
    return info, list(array.reshape(-1, *frame))
