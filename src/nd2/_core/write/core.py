"""The writer's core: frames in any order and from any thread, then the tables that can be written only at the end."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nd2._core import errors
from nd2._core.chunks import (
    attributes,
    binary_layers,
    events,
    experiment,
    fields,
    picture_metadata,
    recorded_data,
    regions,
    settings,
    texts,
)
from nd2._core.chunks.picture_metadata import FirstFrame
from nd2._core.format import clx_lite, clx_xml, masks
from nd2._core.format.inflate import deflate_zlib
from nd2._core.frames import pool
from nd2._core.structures import NETimeLoop, TextInfo, TimeLoop, ZStackLoop
from nd2._core.write.plan import measured_time_loop
from nd2._core.write.stream import ChunkStream

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future
    from types import TracebackType
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from nd2._core.chunks.binary_layers import LayerInfo
    from nd2._core.chunks.recorded_data import RecordedColumn
    from nd2._core.format.pixels import SampleOrder
    from nd2._core.structures import ROI, ExperimentEvent, ExpLoop
    from nd2._core.write.plan import Plan

_STAMP = Struct("<d").pack
_LEVEL = 1
"""Compression level: noise does not get smaller by a higher one, only slower."""


class Layer(NamedTuple):
    """A binary layer: its metadata, and a mask, shape (Y, X), or None for each frame."""

    info: LayerInfo
    masks: Iterable[NDArray[Any] | None]


@dataclass(frozen=True, slots=True)
class FileContents:
    """What a file holds beside its pixels.

    Attributes
    ----------
    first : FirstFrame
        Time and place of the first frame.
    times : ndarray of float64, shape (n,), optional
        Time of each frame in milliseconds, NaN where it is not known.
    text_info : TextInfo
        Free text.
    custom : mapping
        Tag -> tree, as ``ND2File.custom_data`` gives it; bytes are stored as they are.
    columns : list of Column
        Recorded data, one value for each frame.
    rois, events, layers
        Regions of interest, events, binary layers.
    exact : bool
        Nothing is added to what is given: no period that follows from the recorded times, no time for frames that have
        none, the table of columns as ``custom`` has it.
    """

    first: FirstFrame = field(default_factory=FirstFrame)
    times: NDArray[np.float64] | None = None
    text_info: TextInfo = field(default_factory=TextInfo)
    custom: Mapping[str, Any] = field(default_factory=dict)
    columns: Sequence[RecordedColumn] = ()
    rois: Sequence[ROI] = ()
    events: Sequence[ExperimentEvent] = ()
    layers: Sequence[Layer] = ()
    exact: bool = False


class FileWriter:
    """An ND2 file that is being written; see `ND2Writer`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        plan: Plan,
        beside: FileContents,
        *,
        samples: SampleOrder,
        version: tuple[int, int],
        in_place: bool,
    ) -> None:
        count = plan.frame_count
        self._plan, self._beside, self._version = plan, beside, version
        self._swap = plan.pixels.samples == 3 and samples == "RGB"
        self._usual_shape = _without_ones(plan.pixels.shape)
        # What is compressed in the background is copied first: the caller may use its memory again.
        self._as_is = plan.pixels.contiguous and plan.pixels.codec == "raw" and not self._swap
        self._nominal = nominal_times(plan)
        known = np.full(count, np.nan) if beside.times is None else beside.times
        self._times: NDArray[np.float64] = np.array(known, np.float64)
        self._values: dict[str, list[Any]] = {}
        self._claimed = np.zeros(count, bool)
        self._lock = threading.Lock()
        self._local = threading.local()
        self._pending: set[Future[None]] = set()
        self._room = threading.BoundedSemaphore(pool.workers() + 1)
        self._failure: BaseException | None = None
        metadata = self._metadata()
        self._stream = ChunkStream(path, count, in_place=in_place, version=version)
        try:
            # So that what is left of a crash can be understood; written again at the end, if frames changed them.
            for name, data in metadata.items():
                self._stream.append(name, data)
        except BaseException:
            self._stream.abandon()
            raise

    # ------------------------------------------------------------------------------------------------------- frames

    @property
    def path(self) -> str:
        """Path of the file that is going to be."""
        return str(self._stream.path)

    @property
    def sizes(self) -> Mapping[str, int]:
        """Name and size of each axis, those of size 1 included."""
        return self._plan.layout.all_sizes

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a sample."""
        return self._plan.pixels.dtype

    @property
    def frame_count(self) -> int:
        """Number of frames that can be written."""
        return self._plan.frame_count

    @property
    def closed(self) -> bool:
        """Whether the file was finished or given up."""
        return self._stream.closed

    def write_frame(
        self,
        index: int | Sequence[int] | Mapping[str, int],
        frame: ArrayLike,
        *,
        time: float | None = None,
        stage: Sequence[float] | None = None,
        columns: Mapping[str, float | str] | None = None,
    ) -> None:
        """Write one frame. Frames may come in any order and from any thread; those that never come are missing.

        A frame that is not compressed is in the file when this returns. Compression works in the background, on a copy
        of the frame, on as many cores as there are; the frame is in the file when a few more were written, or when the
        file is closed.

        Parameters
        ----------
        index : int, sequence of int, or mapping
            Sequence index; or the index on each loop, in their order or by name: ``{"T": 3, "Z": 0}``.
        frame : ndarray, shape (C, Y, X, S)
            Pixels of the file's type; axes of size 1 may be left out.
        time : float, optional
            When it was taken: milliseconds on the clock of the acquisition.
        stage : sequence of float, optional
            Where: x, y and maybe z in micrometers.
        columns : mapping, optional
            Recorded data: title, with the unit in brackets behind it, to number or text.

        Raises
        ------
        IndexError
            If there is no such frame.
        ValueError
            If the frame has another shape or type, or was written before, or the file is closed. Nothing is written.
        OSError
            If it cannot be written, as when the disk is full. The frame may be written again.
        """
        number = self._number(index)
        if time is not None and not isfinite(time):
            raise ValueError(f"time of frame {number} is {time} (file {self.path!r})")
        values = dict(columns) if columns else {}
        if stage is not None:
            if len(stage) not in (2, 3):
                raise ValueError(
                    f"stage of frame {number} is {stage}: expected (x, y) or (x, y, z) (file {self.path!r})"
                )
            values.update(zip(recorded_data.STAGE, map(float, stage), strict=False))
        data = self._stored(number, np.asarray(frame))
        with self._lock:
            if self.closed:
                raise errors.closed(self.path)
            if self._failure is not None:
                raise self._failure
            if self._claimed[number]:
                raise ValueError(f"frame {number} was written before (file {self.path!r})")
            self._claimed[number] = True
        if time is not None:
            self._times[number] = time
        for header, value in values.items():
            self._column(header)[number] = value
        known = self._times[number]
        stamp = _STAMP(known if known == known else self._nominal[number])
        if self._plan.pixels.codec == "zlib":
            self._compress(number, stamp, data)
            return
        try:
            self._stream.append_frame(number, stamp, data)
        except BaseException:
            self._claimed[number] = False
            raise

    def _number(self, index: int | Sequence[int] | Mapping[str, int]) -> int:
        """Return the sequence index."""
        layout = self._plan.layout
        if isinstance(index, Mapping):
            names = [name for name, _ in layout.loops]
            for name in index:
                if name not in names:
                    raise errors.no_such("loop", name, names, path=self.path, kind=IndexError)
            lacking = [n for n, count in layout.loops if n not in index and count > 1]
            if lacking:
                raise IndexError(f"the index lacks the loops {lacking}")
            index = [index.get(name, 0) for name in names]
        if isinstance(index, (int, np.integer)):
            number = int(index)
        else:
            number = layout.grid.frame(index)
        if not 0 <= number < self.frame_count:
            raise errors.frame_range(number, self.frame_count, path=self.path)
        return number

    def _stored(self, number: int, frame: NDArray[Any]) -> memoryview:
        """Return the bytes of a frame as they are stored, not compressed; without a copy where they are that already."""
        pixels = self._plan.pixels
        if frame.dtype != pixels.dtype:
            if frame.dtype.newbyteorder("=") != pixels.dtype.newbyteorder("="):
                raise ValueError(
                    f"frame {number} is {frame.dtype}, the file {pixels.dtype} (file {self.path!r})"
                )
            frame = frame.astype(pixels.dtype)
        if frame.shape != self._usual_shape and _without_ones(frame.shape) != self._usual_shape:
            raise ValueError(
                f"frame {number} has shape {frame.shape}; expected {pixels.shape} as (C, Y, X, S), or that without "
                f"axes of size 1 (file {self.path!r})"
            )
        if self._as_is and frame.flags.c_contiguous:
            return frame.reshape(-1).view(np.uint8).data
        frame = frame.reshape(pixels.shape)
        if self._swap:
            frame = frame[..., ::-1]
        raw = self._buffer()
        rows = pixels.rows(raw.data, pixels.height)
        # Component by component, which NumPy copies three times as fast as all at once.
        for c, s in np.ndindex(pixels.channels, pixels.samples):
            rows[c, :, :, s] = frame[c, :, :, s]
        return raw.data

    def _buffer(self) -> NDArray[np.uint8]:
        """Return room for a stored frame, its padding zero: this thread's own, or new for one that stays in use."""
        if self._plan.pixels.codec == "zlib":
            return np.zeros(self._plan.pixels.frame_bytes, np.uint8)
        if not hasattr(self._local, "buffer"):
            self._local.buffer = np.zeros(self._plan.pixels.frame_bytes, np.uint8)
        buffer: NDArray[np.uint8] = self._local.buffer
        return buffer

    def _column(self, header: str) -> list[Any]:
        with self._lock:
            if header not in self._values:
                self._values[header] = [None] * self.frame_count
            return self._values[header]

    # -------------------------------------------------------------------------------------------------- compression

    def _compress(self, number: int, stamp: bytes, data: memoryview) -> None:
        """Compress and write in the background; waits while enough is under way."""
        self._room.acquire()
        future = pool.submit(self._write_compressed, number, stamp, data)
        with self._lock:
            self._pending.add(future)
        future.add_done_callback(self._done)

    def _write_compressed(self, number: int, stamp: bytes, data: memoryview) -> None:
        try:
            self._stream.append_frame(number, stamp, deflate_zlib(data, _LEVEL))
        except BaseException as error:
            with self._lock:
                self._failure = self._failure or error
                self._claimed[number] = False

    def _done(self, future: Future[None]) -> None:
        self._room.release()
        with self._lock:
            self._pending.discard(future)

    def _wait(self) -> None:
        while True:
            with self._lock:
                pending = list(self._pending)
            if not pending:
                return
            for future in pending:
                future.exception()

    # ----------------------------------------------------------------------------------------------------- metadata

    def _metadata(self) -> dict[bytes, bytes]:
        """Return the metadata chunks as they are by what is known now."""
        plan, version = self._plan, self._version
        trees: dict[fields.Names, fields.Tree] = {}
        if (loops := experiment.encode(self._loops())) is not None:
            trees[experiment.NAMES] = loops
        if plan.channels:
            trees[picture_metadata.CALIBRATION_NAMES] = picture_metadata.encode_calibration(
                plan.channels[0]
            )
            trees[picture_metadata.NAMES] = picture_metadata.encode(plan.channels, self._first())
        trees[attributes.NAMES] = attributes.encode(plan.attributes)
        if self._beside.text_info:
            trees[texts.NAMES] = texts.encode(self._beside.text_info)
        form = 0 if version >= (3, 0) else 1
        return {names[form]: fields.encode(tree, version) for names, tree in trees.items()}

    def _first(self) -> FirstFrame:
        """Return time and place of the first frame, as they were recorded, else as they were given."""
        given = self._beside.first
        if not self.frame_count:
            return given
        time = float(self._times[0])
        stage = [
            self._values[header][0] if header in self._values else None
            for header in recorded_data.STAGE
        ]
        if stage[2] is not None:  # the metadata speak of the home plane
            stage[2] -= sum(
                -loop.parameters.homeIndex * loop.parameters.stepUm
                for loop in self._plan.loops
                if isinstance(loop, ZStackLoop)
            )
        x, y, z = (old if new is None else new for old, new in zip(given.stage, stage, strict=True))
        return FirstFrame(given.time_ms if time != time else time, given.julian_day, (x, y, z))

    def _loops(self) -> list[ExpLoop]:
        """Return the loops, the period of a time loop measured where it was not given."""
        loops = list(self._plan.loops)
        found = [(i, loop) for i, loop in enumerate(loops) if isinstance(loop, TimeLoop)]
        if len(found) != 1 or self._beside.exact:
            return loops
        ((axis, loop),) = found
        grid = self._plan.layout.grid
        steps = grid.steps(grid.names[axis])
        steps = steps[steps < len(self._times)]
        known, times = self._times[steps], self._frame_times()[steps]
        unknown = not (loop.parameters.periodMs or loop.parameters.periodDiff.avg)
        if unknown and len(times) == loop.count and np.isfinite(known[[0, -1]]).all():
            loops[axis] = measured_time_loop(loop, times)
        return loops

    def _frame_times(self) -> NDArray[np.float64]:
        """Return a time for each frame: recorded, between those that were recorded, or nominal."""
        known = np.flatnonzero(np.isfinite(self._times))
        if self._beside.exact:
            return self._times[: known.max(initial=-1) + 1]
        if not len(known):
            return self._nominal
        return np.interp(np.arange(self.frame_count), known, self._times[known])

    # -------------------------------------------------------------------------------------------------------- close

    def close(self) -> None:
        """Finish the file: write its tables and its map, give it its name. May be called twice.

        Raises
        ------
        OSError
            If something cannot be written, as when the disk is full. Unless it is written in place, the file is
            removed.
        ValueError
            If the recorded data cannot be stored.
        """
        if self.closed:
            return
        try:
            self._wait()
            if self._failure is not None:
                raise self._failure
            self._write_tables()
            self._stream.finish()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Give up: close without finishing. The file is removed, unless it is written in place. May be called twice."""
        self._wait()
        self._stream.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _write_tables(self) -> None:
        append, beside = self._stream.append, self._beside
        for name, data in self._metadata().items():
            append(name, data)
        count = self.frame_count
        times = self._frame_times()
        if len(times):
            append(recorded_data.TIMES, times.astype("<f8").tobytes())
        own = [_recorded(header, cells, count) for header, cells in self._values.items()]
        headers = {(one.title, one.unit) for one in own}
        given = [one for one in beside.columns if (one.title, one.unit) not in headers]
        columns = recorded_data.with_unique_ids([*given, *own])
        for column in columns:
            append(recorded_data.column_name(column.id), column.load() or b"")
        as_given = beside.exact and not own
        if columns and not as_given:
            append(recorded_data.NAME, clx_xml.encode(recorded_data.encode(columns)))
        for tag, tree in beside.custom.items():
            name = settings.name(tag)
            if name == binary_layers.RUNS_NAME or (name == recorded_data.NAME and not as_given):
                continue  # written from the layers and the columns themselves
            known = isinstance(tree, Mapping)
            append(name, clx_xml.encode(settings.encode(tree)) if known else tree)
        if beside.rois:
            append(regions.NAME, clx_lite.encode(regions.encode(beside.rois)))
        if beside.events:
            append(events.NAMES[-1], clx_lite.encode(events.encode(beside.events)))
        if beside.layers:
            append(
                binary_layers.RUNS_NAME,
                clx_xml.encode(binary_layers.encode_runs(layer.info for layer in beside.layers)),
            )
        for layer in beside.layers:
            for frame, mask in enumerate(layer.masks):
                if mask is not None:
                    append(
                        binary_layers.mask_name(layer.info.file_tag, frame),
                        masks.encode_runs(np.asarray(mask)),
                    )


def _recorded(header: str, cells: list[Any], count: int) -> RecordedColumn:
    """Make a column of values that came frame by frame; frames without one have NaN, or no text."""
    if any(isinstance(cell, str) for cell in cells):
        return recorded_data.column(
            header, np.array(["" if c is None else str(c) for c in cells]), count
        )
    whole = all(isinstance(cell, (int, np.integer)) for cell in cells)
    values = np.array([np.nan if cell is None else cell for cell in cells], None if whole else "f8")
    return recorded_data.column(header, values, count)


def _without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def nominal_times(plan: Plan) -> NDArray[np.float64]:
    """Return the time of each frame as the time loop has it, milliseconds; 0 where there is none."""
    times = np.zeros(plan.frame_count)
    within = times[: min(plan.layout.frame_count, plan.frame_count)]
    indices = plan.layout.grid.all_indices().values()
    for loop, index in zip(plan.loops, indices, strict=True):
        if isinstance(loop, TimeLoop):
            period = loop.parameters.periodDiff.avg or loop.parameters.periodMs
            steps = loop.parameters.startMs + period * np.arange(loop.count)
        elif isinstance(loop, NETimeLoop):
            periods = loop.parameters.periods
            gaps = np.concatenate(
                [np.full(p.count, p.periodDiff.avg or p.periodMs) for p in periods]
            )
            steps = np.concatenate([[0.0], np.cumsum(gaps)[:-1]])
        else:
            continue
        within += steps[index[: len(within)]]
    return times
