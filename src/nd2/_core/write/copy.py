"""Copies of files: parts of a file, sound copies of damaged files, and writers for a similar file.

Frames, and chunks that do not depend on which frames there are, are copied as stored bytes.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nd2._core import errors
from nd2._core.chunks import attributes, binary_layers, experiment, fields, picture_metadata, recorded_data, regions
from nd2._core.chunks.picture_metadata import DAY_MS, FirstFrame
from nd2._core.format import chunks, clx_lite, clx_xml, masks
from nd2._core.format.clx_lite import I32, U32, Items
from nd2._core.readers.modern import OPENING
from nd2._core.structures import (
    NETimeLoop,
    NETimeLoopParams,
    PeriodDiff,
    Position,
    TimeLoop,
    TimeLoopParams,
    XYPosLoop,
    ZStackLoop,
)
from nd2._core.values import record
from nd2._core.write.file_writer import FileWriter
from nd2._core.write.plan import Plan, measured_time_loop
from nd2._core.write.region import AXES, Region, copy_parts, pick_indices
from nd2._core.write.stream import ChunkStream
from nd2._core.write.tables import FrameLog, Tables

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.format.pixels import Codec, SampleOrder
    from nd2._core.readers import Reader
    from nd2._core.readers.chunk_file import ChunkFile
    from nd2._core.structures import ExpLoop
    from nd2._core.views.facts import Facts

Pick: TypeAlias = "int | slice | Sequence[int]"
NamedPick: TypeAlias = "Pick | str | Sequence[str] | None"

_BATCH = 16 << 20
"""Bytes that are copied at once."""
_MAX_DIGITS = 10
"""Longer numbers in names of chunks are damage."""
_SIGNATURES = (b"CustomData|Authentication", chunks.SEQUENCE_PREFIX + b"Authentication")
"""Digital signatures, which are valid for the original file only."""
_PYRAMID = b"Downsampled"
"""Smaller copies of frames, wrong for other pixels or frames; unverified on real files."""


def crop(
    reader: Reader,
    facts: Facts,
    dest: str | os.PathLike[str],
    position: int | str | None,
    named_picks: Mapping[str, NamedPick],
    *,
    overwrite: bool = False,
) -> None:
    """Write some frames of a file, or a part of each, as a new file; see ``ND2File.write_nd2``."""
    _chunk_file(reader, "writing a part of")
    loops = dict(reader.layout.loops)
    known = (*loops, *AXES)
    picks = _indices(facts, position, named_picks)
    if unknown := [name for name in picks if name not in known]:
        raise errors.no_such("axis", unknown[0], known, path=reader.source.url, kind=IndexError)
    region = Region.from_picks(reader, picks)
    indices = [pick_indices(f"loop {name!r}", count, picks.get(name)) for name, count in loops.items()]
    if region is None and all(len(index) == count for index, count in zip(indices, loops.values(), strict=True)):
        frames = np.arange(reader.frame_count)  # those beyond the loops included
        _copy(reader, dest, _Selection(reader, frames), overwrite)
    else:
        frames = reader.layout.grid.frames(indices).reshape(-1)
        _copy(reader, dest, _Selection(reader, frames, indices, region), overwrite)


def _indices(facts: Facts, position: int | str | None, named_picks: Mapping[str, NamedPick]) -> dict[str, Pick]:
    """Return the picks of axes, with the indices of positions and channels that are given by name."""
    picks: dict[str, Any] = {axis: pick for axis, pick in named_picks.items() if pick is not None}
    if position is not None:
        index = facts.position_index(position)  # also checked if there are no positions
        if "P" in dict(facts.reader.layout.loops):
            picks["P"] = index
    channels = picks.get("C", 0)
    if isinstance(channels, str):
        picks["C"] = facts.channel_indices([channels])
    elif np.ndim(channels):
        picks["C"] = sorted(facts.channel_indices(channels))
    return picks


def copy_rescued(reader: Reader, dest: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write the rest of a damaged file as a sound one, up to the last whole frame."""
    _chunk_file(reader, "writing a copy of")
    table = reader.frames.table
    present = np.flatnonzero(table.present(len(table)))
    selection = _Selection(reader, np.arange(present.max(initial=-1) + 1))
    _copy(reader, dest, selection, overwrite)


def copy_writer(
    reader: Reader,
    path: str | os.PathLike[str],
    *,
    samples: SampleOrder = "BGR",
    in_place: bool = False,
    overwrite: bool = False,
) -> FileWriter:
    """Return a writer for a new file with the metadata of another one."""
    _chunk_file(reader, "writing the metadata of")
    return FileWriter(
        path, CopiedTables(reader), samples=samples, in_place=in_place, overwrite=overwrite, sources=[reader.source.url]
    )


def _chunk_file(reader: Reader, action: str) -> ChunkFile:
    """Return the chunks of a file, or refuse a legacy file, which has none."""
    if reader.chunk_file is None:
        raise errors.unsupported(f"{action} a legacy file", path=reader.source.url)
    return reader.chunk_file


class CopiedTables(Tables):
    """The chunks of another file, as they are."""

    def __init__(self, reader: Reader) -> None:
        codec: Codec = "zlib" if reader.attributes.compressionType == "lossless" else "raw"
        self.plan = Plan(
            reader.attributes,
            reader.experiment,
            [],
            replace(reader.frames.pixels, codec=codec),
            reader.layout,
            reader.frame_count,
        )
        self.version = reader.version
        self.times = np.full(reader.frame_count, np.nan)
        if reader.frame_times is not None:
            times = reader.frame_times[: reader.frame_count]
            self.times[: len(times)] = times
        self._columns = list(reader.recorded_data.values())
        self._selection = _Selection(reader, np.arange(reader.frame_count))
        self._picture = fields.name(picture_metadata.NAMES, self.version), b""

    def start(self) -> Iterator[tuple[bytes, bytes]]:
        # docstring inherited
        for name, data in self._selection.chunks():
            if name in picture_metadata.NAMES:
                self._picture = name, data
            if not name.startswith(_PYRAMID):
                yield name, data

    def finish(self, log: FrameLog) -> Iterator[tuple[bytes, bytes]]:
        # docstring inherited
        recorded = np.flatnonzero(np.isfinite(log.times))
        if not np.array_equal(log.times, self.times, equal_nan=True):
            yield recorded_data.TIMES, log.times[: recorded.max() + 1].astype("<f8").tobytes()
        own = log.columns()
        if own:
            headers = {(column.title, column.unit) for column in own}
            kept = [one for one in self._columns if (one.title, one.unit) not in headers]
            columns = recorded_data.with_unique_ids([*kept, *own])
            for column in columns[len(kept) :]:
                yield recorded_data.column_name(column.id), column.load() or b""
            yield recorded_data.NAME, clx_xml.encode(recorded_data.encode(columns))
        name, data = self._picture
        if data:
            default = _first_frame(data)
            first = log.first_frame(default, self.plan.loops)
            if np.array_equal(log.times[:1], self.times[:1], equal_nan=True):
                first = replace(first, time_ms=default.time_ms)
            if first != default:
                values = (first.time_ms, *first.stage)
                keys = ("dTimeMSec", "dXPos", "dYPos", "dZPos")
                new = dict(zip(keys, values, strict=True))
                yield name, self._selection.edit(name, data, new)


def _copy(reader: Reader, dest: str | os.PathLike[str], selection: _Selection, overwrite: bool) -> None:
    stream = ChunkStream(
        dest, len(selection.frames), version=reader.version, overwrite=overwrite, sources=[reader.source.url]
    )
    try:
        for name, data in selection.chunks():
            stream.append(name, data)
        if selection.region is None:
            _copy_frames(reader, stream, selection.frames)
        else:
            copy_parts(reader, stream, selection.frames, selection.region)
        stream.finish()
    except BaseException:
        stream.abandon()
        raise


def _copy_frames(reader: Reader, stream: ChunkStream, frames: NDArray[np.intp]) -> None:
    """Copy the stored bytes of frames with their timestamps; missing ones stay missing."""
    stamp = chunks.TIMESTAMP
    offsets, lengths = reader.frames.table.locations(frames)
    present = np.flatnonzero(lengths)
    batches = np.cumsum(lengths[present]) // _BATCH
    for part in np.split(present, np.flatnonzero(np.diff(batches)) + 1):
        spans = [
            (offset - stamp, length + stamp)
            for offset, length in zip(offsets[part].tolist(), lengths[part].tolist(), strict=True)
        ]
        for number, data in zip(part.tolist(), reader.source.read_many(spans), strict=True):
            view = memoryview(data)
            stream.append_frame(number, bytes(view[:stamp]), view[stamp:])


def _replace(items: Items, values: Mapping[str, Any]) -> Items:
    """Return a tree with some values replaced at every level."""
    out = Items()
    for name, value in items:
        if isinstance(value, Items):
            out.append((name, _replace(value, values)))
        elif value is not None:
            out.append((name, values.get(name, value)))
    return out


@record
class _Selection:
    """Frames of a file, and the chunks that describe them."""

    reader: Reader
    frames: NDArray[np.intp]
    indices: list[NDArray[np.intp]] | None = None
    region: Region | None = None

    def chunks(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield name and data of all chunks except the frames, adapted to the selection."""
        reader = self.reader
        source = _chunk_file(reader, "copying")
        names = source.names
        if reader.rescue_report is not None:
            lost = [name for name in names if name in OPENING and not source.tree(name)]
            trees = self._lost_trees(source)
            for forms, tree in trees.items():
                yield fields.name(forms, reader.version), fields.encode(tree, reader.version)
                lost += forms
            names = [name for name in names if name not in lost]
        dropped = self._dropped()
        for name in names:
            if name.startswith((*_SIGNATURES, *dropped)):
                continue
            new_name = self._sequence_name(name)
            data = source.chunk(name) if new_name else None
            if new_name and data is not None:
                yield new_name, data if self.indices is None else self._adapt(name, data)
        yield from self._cropped_layers()

    def _dropped(self) -> tuple[bytes, ...]:
        """Return prefixes of names of chunks that describe the whole image only."""
        if self.region is None or not self.region.moved:
            return ()
        if self.reader.rois:
            warnings.warn(
                "regions of interest are left out: their coordinates are those of the whole image", stacklevel=7
            )
        tags = [layer.info.file_tag.encode() for layer in self.reader.binary_layers]
        return (
            binary_layers.RUNS_NAME,
            binary_layers.RASTERS_NAME,
            regions.NAME,
            *(chunks.SEQUENCE_PREFIX + tag for tag in tags),
        )

    def _cropped_layers(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the binary layers of the region, all of them as runs of pixels."""
        layers = self.reader.binary_layers
        if self.region is None or not self.region.moved or not layers:
            return
        infos = [replace(layer.info, tiles=None) for layer in layers]
        yield binary_layers.RUNS_NAME, clx_xml.encode(binary_layers.encode_runs(infos))
        rows, columns = (slice(part.start, part.stop) for part in (self.region.rows, self.region.columns))
        for layer in layers:
            for number, frame in enumerate(self.frames.tolist()):
                if (mask := layer.read_fitted(frame)) is not None:
                    name = binary_layers.mask_name(layer.info.file_tag, number)
                    yield name, masks.encode_runs(mask[rows, columns])

    def _lost_trees(self, source: ChunkFile) -> dict[fields.Names, fields.Tree]:
        """Return the trees of metadata that a rescue replaced."""
        reader, report = self.reader, self.reader.rescue_report
        trees: dict[fields.Names, fields.Tree] = {}
        if report is not None and report.attributes_are_guessed:
            trees[attributes.NAMES] = attributes.encode(reader.attributes)
        loops = experiment.encode(reader.experiment)
        if loops and not any(source.tree(name) for name in experiment.NAMES):
            trees[experiment.NAMES] = loops
        return trees

    def _sequence_name(self, name: bytes) -> bytes | None:
        """Return the new name of a chunk; None for that of a frame that is not selected."""
        if self.indices is None:
            return name
        if not name.startswith(chunks.SEQUENCE_PREFIX):
            return None if name.startswith(_PYRAMID) else name
        stem, _, number = name[:-1].rpartition(b"|")
        if not number.isdigit() or len(number) > _MAX_DIGITS:
            return None
        place = int(np.searchsorted(self.frames, int(number)))
        selected = place < len(self.frames) and self.frames[place] == int(number)
        return b"%s|%d!" % (stem, place) if selected else None

    def _adapt(self, name: bytes, data: bytes) -> bytes:
        """Return the data of a chunk for the selected frames."""
        count = self.reader.frame_count
        if name in attributes.NAMES:
            changed = {} if self.region is None else self.region.attributes
            return self.edit(name, data, {"uiSequenceCount": U32(len(self.frames)), **changed})
        if name in experiment.NAMES:
            form = (2, 0) if clx_lite.is_xml(data) else (3, 0)
            return fields.encode(experiment.encode(self._loops) or {}, form)
        if name in picture_metadata.NAMES:
            if (region := self.region) is not None:
                data = self.edit(name, data, {}, lambda items, _: region.pick_planes(items))
            return self.edit(name, data, self._first_frame(data))
        if name in recorded_data.CACHES:
            return _take(data, self.frames, count, recorded_data.CACHES[name])
        if name == recorded_data.NAME:
            return self.edit(name, data, {"Size": I32(len(self.frames))})
        if name == regions.NAME and self._positions is not None:
            return self.edit(name, data, self._positions, regions.pick_positions)
        if size := self._column_sizes.get(name, 0):
            return _take(data, self.frames, size, len(data) // size)
        return data

    def edit(
        self,
        name: bytes,
        data: bytes,
        values: Mapping[Any, Any],
        apply: Callable[[Items, Mapping[Any, Any]], Items] = _replace,
    ) -> bytes:
        """Return the data of a chunk after an edit, by default with some values replaced."""
        form = _form(data)
        try:
            edited: bytes = form.encode(apply(form.decode_items(data), values))
        except errors.CorruptFileError as error:
            raise errors.corrupt_in(error, path=self.reader.source.url, chunk=name) from error
        return edited

    @cached_property
    def _column_sizes(self) -> dict[bytes, int]:
        columns = self.reader.recorded_data.values()
        return {recorded_data.column_name(column.id): column.size for column in columns}

    def _first_frame(self, data: bytes) -> dict[str, float]:
        """Return the values of the picture metadata that differ for the first selected frame."""
        first, values = _first_frame(data), {}
        times, frame = self.reader.frame_times, int(self.frames[0])
        if times is not None and frame < len(times) and np.isfinite(times[[0, frame]]).all():
            values["dTimeMSec"] = float(times[frame])
            if first.julian_day:
                values["dTimeAbsolute"] = first.julian_day + float(times[frame] - times[0]) / DAY_MS
        loops = self.reader.experiment
        sets_z = any(isinstance(o, XYPosLoop) and o.parameters.isSettingZ for o in loops)
        if self._z_shift and not sets_z:
            values["dZPos"] = first.stage[2] + self._z_shift
        return values

    @cached_property
    def _loops(self) -> list[ExpLoop]:
        """The loops of the selection."""
        return [
            self._part(loop, index, axis)
            for axis, (loop, index) in enumerate(zip(self.reader.experiment, self.indices or (), strict=True))
        ]

    @property
    def _positions(self) -> dict[int, int] | None:
        """Old and new number of each selected position; None if all are selected."""
        positions, total = np.zeros(1, np.intp), 1
        for (name, count), index in zip(self.reader.layout.loops, self.indices or (), strict=True):
            if name[0] == "P":
                positions, total = np.add.outer(positions * count, index).reshape(-1), total * count
        if len(positions) == total:
            return None
        return {old: new for new, old in enumerate(positions.tolist())}

    @cached_property
    def _z_shift(self) -> float:
        """Distance from the old home plane to the new one in micrometers."""
        for loop, index in zip(self.reader.experiment, self.indices or (), strict=True):
            if isinstance(loop, ZStackLoop) and len(index) < loop.count:
                home, _ = _planes(loop, index)
                return float(index[home] - loop.parameters.homeIndex) * loop.parameters.stepUm
        return 0.0

    def _part(self, loop: ExpLoop, index: NDArray[np.intp], axis: int) -> ExpLoop:
        """Return a loop with the selected steps."""
        count = len(index)
        if isinstance(loop, XYPosLoop):
            points = [loop.parameters.points[i] for i in index.tolist()]
            if loop.parameters.isSettingZ:
                points = [_shift(point, self._z_shift) for point in points]
            return replace(loop, count=count, parameters=replace(loop.parameters, points=points))
        if count == loop.count:
            return loop
        if isinstance(loop, TimeLoop):
            return self._time_part(loop, index, axis)
        if isinstance(loop, NETimeLoop):
            periods = loop.parameters.periods
            ends = np.cumsum([period.count for period in periods])
            counts = np.bincount(np.searchsorted(ends, index, side="right"), minlength=len(ends))
            kept = [replace(period, count=int(n)) for period, n in zip(periods, counts, strict=True) if n]
            return replace(loop, count=count, parameters=NETimeLoopParams(kept))
        if isinstance(loop, ZStackLoop):
            home, step = _planes(loop, index)
            step_um = loop.parameters.stepUm * step
            parameters = replace(loop.parameters, homeIndex=home, stepUm=step_um)
            return replace(loop, count=count, parameters=parameters)
        return replace(loop, count=count)

    def _time_part(self, loop: TimeLoop, index: NDArray[np.intp], axis: int) -> TimeLoop:
        """Return a time loop with fewer steps; recorded times give its measured period."""
        given, measured = loop.parameters, loop.parameters.periodDiff
        step = int(index[1] - index[0]) if len(index) > 1 else 1
        nominal = TimeLoopParams(
            startMs=given.startMs + float(index[0]) * given.periodMs,
            periodMs=given.periodMs * step,
            durationMs=given.periodMs * step * max(len(index) - 1, 0),
            periodDiff=PeriodDiff(measured.avg * step, measured.max * step, measured.min * step),
        )
        part = replace(loop, count=len(index), parameters=nominal)
        times, grid = self.reader.frame_times, self.reader.layout.grid
        frames = grid.steps(grid.names[axis])[index]
        if times is None or not measured.avg or int(frames[-1]) >= len(times):
            return part
        if not np.isfinite(times[frames]).all():
            return part
        measured = measured_time_loop(part, times[frames]).parameters.periodDiff
        return replace(part, parameters=replace(nominal, periodDiff=measured))


def _planes(loop: ZStackLoop, index: NDArray[np.intp]) -> tuple[int, int]:
    """Return which selected plane is nearest to the home plane, and the step in planes."""
    step = int(index[1] - index[0]) if len(index) > 1 else 1
    if len(index) > 2 and (np.diff(index) != step).any():
        raise ValueError(f"planes {index.tolist()} are not equally spaced, as those of a stack are")
    return int(np.abs(index - loop.parameters.homeIndex).argmin()), step


def _shift(point: Position, z: float) -> Position:
    stage = point.stagePositionUm
    return replace(point, stagePositionUm=stage._replace(z=stage.z + z))


def _take(data: bytes, frames: NDArray[np.intp], count: int, item: int) -> bytes:
    """Return the cells of some frames; those of a short table that it has."""
    item = len(data) // count if count and len(data) % count == 0 and len(data) >= count else item
    if not item:
        return data
    cells = np.frombuffer(data, np.uint8, len(data) // item * item).reshape(-1, item)
    return cells[frames[frames < len(cells)]].tobytes()


def _first_frame(picture: bytes) -> FirstFrame:
    """Return time and place of the first frame from the data of the picture metadata."""
    return picture_metadata.decode_first_frame(_form(picture).decode(picture))


def _form(data: bytes) -> Any:
    """Return the module that decodes and encodes a payload."""
    return clx_xml if clx_lite.is_xml(data) else clx_lite
