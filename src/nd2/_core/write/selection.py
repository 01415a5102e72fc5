"""A part of a file: some frames, rows, columns and channels, and the chunks that describe them.

Chunks that do not depend on the part are kept as stored bytes.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nd2._core import errors
from nd2._core import structures as s
from nd2._core.chunks import attributes, binary_layers, experiment, fields, picture_metadata, recorded_data, regions
from nd2._core.chunks.picture_metadata import DAY_MS, FirstFrame
from nd2._core.format import chunks, clx_lite, clx_xml
from nd2._core.format.clx_lite import I32, U32, Items
from nd2._core.format.pixels import PixelLayout, padded_row_bytes
from nd2._core.readers.chunk_file import OPENING
from nd2._core.values import cached_property, record
from nd2._core.write.plan import measured_time_loop
from nd2._core.write.tables import layer_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.frames.plan import Picks
    from nd2._core.readers import Reader
    from nd2._core.readers.layer_chunks import LayerChunks

Pick: TypeAlias = "int | slice | Sequence[int]"

AXES = ("C", "Y", "X")
PYRAMID = b"Downsampled"
"""Smaller copies of frames, wrong for other pixels or frames; unverified on real files."""
_PLANES = ("sPlaneNew", "sPlane")
_MAX_DIGITS = 10
"""Longer numbers in names of chunks are damage."""
_SIGNATURES = (b"CustomData|Authentication", chunks.SEQUENCE_PREFIX + b"Authentication")
"""Digital signatures, which are valid for the original file only."""


@record
class Region:
    """Rows, columns and channels to keep; ``moved`` is whether rows or columns are left out."""

    pixels: PixelLayout
    channels: tuple[int, ...]
    rows: range
    columns: range
    moved: bool

    @classmethod
    def from_picks(cls, reader: Reader, picks: Mapping[str, Pick | None]) -> Region | None:
        """Return the region for indices on C, Y and X; None for whole frames."""
        old = reader.frames.pixels
        channels = tuple(pick_indices("axis 'C'", old.channels, picks.get("C")).tolist())
        rows, columns = (_span(axis, size, picks.get(axis)) for axis, size in (("Y", old.height), ("X", old.width)))
        moved = (len(rows), len(columns)) != (old.height, old.width)
        if not moved and len(channels) == old.channels:
            return None
        components = len(channels) * old.samples
        pixels = replace(
            old,
            height=len(rows),
            width=len(columns),
            channels=len(channels),
            row_bytes=padded_row_bytes(len(columns), components, old.dtype.itemsize),
            codec="zlib" if reader.attributes.compressionType == "lossless" else "raw",
        )
        return cls(pixels, channels, rows, columns, moved)

    @property
    def picks(self) -> Picks:
        """Positions on C, Y, X and S to read."""
        return np.array(self.channels), self.rows, self.columns, range(self.pixels.samples)

    @property
    def attributes(self) -> dict[str, Any]:
        """Values of the image attributes that differ."""
        pixels, components = self.pixels, self.pixels.channels * self.pixels.samples
        values = {
            "uiWidth": pixels.width,
            "uiTileWidth": pixels.width,
            "uiWidthBytes": pixels.row_bytes,
            "uiHeight": pixels.height,
            "uiTileHeight": pixels.height,
            "uiComp": components,
            "uiVirtualComponents": components,
        }
        return {key: U32(value) for key, value in values.items()}

    def pick_planes(self, level: Items) -> Items:
        """Return the level ``sPicturePlanes`` of picture metadata with the chosen planes, renumbered."""
        counts = {"uiCount": U32(self.pixels.channels), "uiCompCount": U32(self.pixels.channels * self.pixels.samples)}
        items = Items()
        for name, value in level:
            if name in _PLANES and isinstance(value, Items):
                planes = [plane for plane in value if isinstance(plane[1], Items)]
                kept = [planes[i][1] for i in self.channels if i < len(planes)]
                value = Items(zip((name for name, _ in planes), kept, strict=False))
            items.append((name, counts.get(name, value)))
        return items


def pick_indices(axis: str, size: int, pick: Pick | None) -> NDArray[np.intp]:
    """Return the chosen indices on a loop or axis, in increasing order."""
    if pick is None:
        return np.arange(size)
    if isinstance(pick, slice):
        found = np.arange(size)[pick]
    else:
        given = np.atleast_1d(np.asarray(pick))
        if given.size and given.dtype.kind not in "iu":
            raise TypeError(f"the selection of {axis} must be integers or a slice, not {pick!r}")
        wrong = given[(given < -size) | (given >= size)]
        if len(wrong):
            raise IndexError(f"index {wrong[0]} is out of range for {axis} of size {size}")
        found = np.where(given < 0, given + size, given).astype(np.intp)
    if not len(found):
        raise ValueError(f"the selection of {axis} of size {size} is empty")
    if (np.diff(found) <= 0).any():
        raise ValueError(f"the indices of {axis} must be in increasing order")
    return found


def _span(axis: str, size: int, pick: Pick | None) -> range:
    """Return chosen rows or columns, which must be contiguous."""
    found = pick_indices(f"axis {axis!r}", size, pick).tolist()
    if found[-1] - found[0] + 1 != len(found):
        raise ValueError(f"the selection of axis {axis!r} must be contiguous: pixels in between cannot be left out")
    return range(found[0], found[-1] + 1)


def _replace(items: Items, values: Mapping[str, Any]) -> Items:
    """Return a tree with some values replaced at every level; those of levels are functions of the old level."""
    out = Items()
    for name, value in items:
        if isinstance(value, Items):
            change = values.get(name)
            out.append((name, _replace(change(value) if callable(change) else value, values)))
        elif value is not None:  # XML metadata may have items without a value
            out.append((name, values.get(name, value)))
    return out


@record
class Selection:
    """Frames of a file, and the chunks that describe them."""

    reader: Reader
    frames: NDArray[np.intp]
    indices: list[NDArray[np.intp]] | None = None
    region: Region | None = None

    def chunks(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield name and data of all chunks except the frames, adapted to the selection."""
        reader = self.reader
        source = reader.chunk_file
        names = source.names
        if (report := reader.rescue_report) is not None:
            lost = [name for name in names if name in OPENING and not source.tree(name)]
            trees: dict[fields.Names, fields.Tree] = {}
            if report.attributes_are_guessed:
                trees[attributes.NAMES] = attributes.encode(reader.attributes)
            loops = experiment.encode(reader.experiment)
            if loops and not any(source.tree(name) for name in experiment.NAMES):
                trees[experiment.NAMES] = loops
            for forms, tree in trees.items():
                yield fields.name(forms, reader.version), fields.encode(tree, reader.version)
                lost += forms
            names = [name for name in names if name not in lost]
        left_out = (*_SIGNATURES, *self._dropped())
        for name in names:
            if name.startswith(left_out):
                continue
            new_name = self._sequence_name(name)
            data = source.chunk(name) if new_name else None
            if new_name and data is not None:
                yield new_name, data if self.indices is None else self._adapt(name, data)
        if (region := self.region) is not None and region.moved:
            layers = self.reader.binary_layers
            yield from layer_chunks(
                [(replace(one.info, tiles=None), self._cropped_masks(one, region)) for one in layers]
            )

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

    def _cropped_masks(self, layer: LayerChunks, region: Region) -> Iterator[NDArray[Any] | None]:
        rows, columns = (slice(part.start, part.stop) for part in (region.rows, region.columns))
        for frame in self.frames.tolist():
            mask = layer.read_fitted(frame)
            yield None if mask is None else mask[rows, columns]

    def _sequence_name(self, name: bytes) -> bytes | None:
        """Return the new name of a chunk; None for that of a frame that is not selected."""
        if self.indices is None:
            return name
        if not name.startswith(chunks.SEQUENCE_PREFIX):
            return None if name.startswith(PYRAMID) else name
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
            parts = zip(self.reader.experiment, self.indices or (), strict=True)
            loops = [self._part(loop, index, axis) for axis, (loop, index) in enumerate(parts)]
            return fields.encode(experiment.encode(loops) or {}, form)
        if name in picture_metadata.NAMES:
            changed = {} if self.region is None else {"sPicturePlanes": self.region.pick_planes}
            return self.edit(name, data, self._first_frame(data) | changed)
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

    def _first_frame(self, data: bytes) -> dict[str, Any]:
        """Return the values of the picture metadata that differ for the first selected frame."""
        first, values = first_frame(data), {}
        times, frame = self.reader.frame_times, int(self.frames[0])
        if times is not None and frame < len(times) and np.isfinite(times[[0, frame]]).all():
            values["dTimeMSec"] = float(times[frame])
            if first.julian_day:
                values["dTimeAbsolute"] = first.julian_day + float(times[frame] - times[0]) / DAY_MS
        loops = self.reader.experiment
        sets_z = any(isinstance(o, s.XYPosLoop) and o.parameters.isSettingZ for o in loops)
        if self._z_shift and not sets_z:
            values["dZPos"] = first.stage[2] + self._z_shift
        return values

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
            if isinstance(loop, s.ZStackLoop) and len(index) < loop.count:
                home, _ = _planes(loop, index)
                return float(index[home] - loop.parameters.homeIndex) * loop.parameters.stepUm
        return 0.0

    def _part(self, loop: s.ExpLoop, index: NDArray[np.intp], axis: int) -> s.ExpLoop:
        """Return a loop with the selected steps."""
        count = len(index)
        if isinstance(loop, s.XYPosLoop):
            points = [loop.parameters.points[i] for i in index.tolist()]
            if loop.parameters.isSettingZ:
                points = [_shift(point, self._z_shift) for point in points]
            return replace(loop, count=count, parameters=replace(loop.parameters, points=points))
        if count == loop.count:
            return loop
        if isinstance(loop, s.TimeLoop):
            return self._time_part(loop, index, axis)
        if isinstance(loop, s.NETimeLoop):
            periods = loop.parameters.periods
            ends = np.cumsum([period.count for period in periods])
            counts = np.bincount(np.searchsorted(ends, index, side="right"), minlength=len(ends))
            kept = [replace(period, count=int(n)) for period, n in zip(periods, counts, strict=True) if n]
            return replace(loop, count=count, parameters=s.NETimeLoopParams(kept))
        if isinstance(loop, s.ZStackLoop):
            home, step = _planes(loop, index)
            step_um = loop.parameters.stepUm * step
            parameters = replace(loop.parameters, homeIndex=home, stepUm=step_um)
            return replace(loop, count=count, parameters=parameters)
        return replace(loop, count=count)

    def _time_part(self, loop: s.TimeLoop, index: NDArray[np.intp], axis: int) -> s.TimeLoop:
        """Return a time loop with fewer steps; recorded times give its measured period."""
        given, measured = loop.parameters, loop.parameters.periodDiff
        step = int(index[1] - index[0]) if len(index) > 1 else 1
        nominal = s.TimeLoopParams(
            startMs=given.startMs + float(index[0]) * given.periodMs,
            periodMs=given.periodMs * step,
            durationMs=given.periodMs * step * max(len(index) - 1, 0),
            periodDiff=s.PeriodDiff(measured.avg * step, measured.max * step, measured.min * step),
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


def _planes(loop: s.ZStackLoop, index: NDArray[np.intp]) -> tuple[int, int]:
    """Return which selected plane is nearest to the home plane, and the step in planes."""
    step = int(index[1] - index[0]) if len(index) > 1 else 1
    if len(index) > 2 and (np.diff(index) != step).any():
        raise ValueError(f"planes {index.tolist()} are not equally spaced, as those of a stack are")
    return int(np.abs(index - loop.parameters.homeIndex).argmin()), step


def _shift(point: s.Position, z: float) -> s.Position:
    stage = point.stagePositionUm
    return replace(point, stagePositionUm=stage._replace(z=stage.z + z))


def _take(data: bytes, frames: NDArray[np.intp], count: int, item: int) -> bytes:
    """Return the cells of some frames; those of a short table that it has."""
    item = len(data) // count if count and len(data) % count == 0 and len(data) >= count else item
    if not item:
        return data
    cells = np.frombuffer(data, np.uint8, len(data) // item * item).reshape(-1, item)
    return cells[frames[frames < len(cells)]].tobytes()


def first_frame(picture: bytes) -> FirstFrame:
    """Return time and place of the first frame from the data of the picture metadata."""
    return picture_metadata.decode_first_frame(_form(picture).decode(picture))


def _form(data: bytes) -> Any:
    """Return the module that decodes and encodes a payload."""
    return clx_xml if clx_lite.is_xml(data) else clx_lite
