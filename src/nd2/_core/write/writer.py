"""``ND2Writer``: a file from plain values, frame by frame, in any order and from any thread."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from math import isfinite
from struct import Struct
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from nd2._core import errors
from nd2._core.chunks import recorded_data
from nd2._core.format.pixels import copy_components
from nd2._core.views.facts import planned_times
from nd2._core.write.plan import WriterOptions, resolve_sizes
from nd2._core.write.stream import ChunkStream
from nd2._core.write.tables import FrameLog, NewTables

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from nd2._core.format.pixels import SampleOrder
    from nd2._core.write.copy import CopiedTables

_STAMP = Struct("<d").pack


class FileWriter:
    """An ND2 file that is being written; see `ND2Writer`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        tables: NewTables | CopiedTables,
        *,
        samples: SampleOrder,
        in_place: bool,
        overwrite: bool = False,
        sources: Sequence[str] = (),
    ) -> None:
        plan = tables.plan
        self._plan, self._tables = plan, tables
        self._log = FrameLog(tables.times.copy())
        self._nominal = np.zeros(plan.frame_count)
        within = np.arange(min(plan.layout.frame_count, plan.frame_count))
        self._nominal[within] = planned_times(plan.loops, plan.layout, within)
        self._swap = plan.pixels.samples == 3 and samples == "RGB"
        self._frame_shape = _without_ones(plan.pixels.shape)
        # Compression in the background needs a copy: the caller may reuse its memory.
        self._as_is = plan.pixels.contiguous and plan.pixels.codec == "raw" and not self._swap
        self._claimed = np.zeros(plan.frame_count, bool)
        self._lock = threading.Lock()
        self._local = threading.local()
        start = tables.start()
        self._stream = ChunkStream(
            path,
            plan.frame_count,
            in_place=in_place,
            version=tables.version,
            overwrite=overwrite,
            sources=sources,
            compressed=plan.pixels.codec == "zlib",
            release=self._release,
        )
        try:
            for name, data in start:
                self._stream.append(name, data)
        except BaseException:
            self._stream.abandon()
            raise

    @property
    def path(self) -> str:
        """Path of the finished file."""
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
        """Whether the file was finished or abandoned."""
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
        """Write one frame. Frames may come in any order and from any thread.

        Frames that are never written are missing. A frame that is not compressed is in the file when this returns.
        Compression works in the background, on a copy of the frame and on all cores; a compressed frame is in the file
        after a few more frames, or when the file is closed.

        Parameters
        ----------
        frame : ndarray, shape (C, Y, X, S)
            Pixels of the file's type; axes of size 1 may be left out.
        time : float, optional
            Time on the clock of the acquisition in milliseconds.
        stage : sequence of float, optional
            Position of the stage: x, y and optionally z in micrometers.
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
        for header in values:
            if header not in self._log.cells:
                recorded_data.split_header(header)  # refuses impossible titles
        data = self._stored(number, np.asarray(frame))
        self._claim(number)
        if time is not None:
            self._log.times[number] = time
        for header, value in values.items():
            with self._lock:
                cells = self._log.cells[header]
            cells[number] = value
        recorded = self._log.times[number]
        stamp = _STAMP(recorded if recorded == recorded else self._nominal[number])
        try:
            self._stream.write_frame(number, stamp, data)
        except BaseException:
            self._release(number)
            raise

    def _claim(self, number: int) -> None:
        """Reserve a frame for the caller; no other thread writes it."""
        with self._lock:
            if self.closed:
                raise errors.closed(self.path)
            self._stream.check()
            if self._claimed[number]:
                raise ValueError(f"frame {number} was written before (file {self.path!r})")
            self._claimed[number] = True

    def _release(self, number: int) -> None:
        self._claimed[number] = False

    def _number(self, index: int | Sequence[int] | Mapping[str, int]) -> int:
        """Return the sequence index."""
        layout = self._plan.layout
        if isinstance(index, Mapping):
            names = layout.grid.names
            for name in index:
                if name not in names:
                    raise errors.no_such("loop", name, names, path=self.path, kind=IndexError)
            lacking = [n for n, count in layout.loops if n not in index and count > 1]
            if lacking:
                raise IndexError(f"the index lacks the loops {lacking}")
            index = [index.get(name, 0) for name in names]
        if isinstance(index, str):
            raise errors.not_integer("frame index", index, "or a sequence or mapping of them")
        if isinstance(index, (int, np.integer)):
            number = int(index)
        else:
            number = layout.grid.frame(index)
        if not 0 <= number < self.frame_count:
            raise errors.frame_range(number, self.frame_count, path=self.path)
        return number

    def _stored(self, number: int, frame: NDArray[Any]) -> memoryview:
        """Return the stored bytes of a frame before compression, without a copy where possible."""
        pixels = self._plan.pixels
        if frame.dtype != pixels.dtype:
            if frame.dtype.newbyteorder("=") != pixels.dtype.newbyteorder("="):
                raise ValueError(f"frame {number} is {frame.dtype}, the file {pixels.dtype} (file {self.path!r})")
            frame = frame.astype(pixels.dtype)
        if frame.shape != self._frame_shape and _without_ones(frame.shape) != self._frame_shape:
            raise ValueError(
                f"frame {number} has shape {frame.shape}; expected {pixels.shape} as (C, Y, X, S), "
                f"or that without axes of size 1 (file {self.path!r})"
            )
        if self._as_is and frame.flags.c_contiguous:
            return frame.reshape(-1).view(np.uint8).data
        frame = frame.reshape(pixels.shape)
        if self._swap:
            frame = frame[..., ::-1]
        raw = self._buffer()
        copy_components(pixels.rows(raw.data, pixels.height), frame)
        return raw.data

    def _buffer(self) -> NDArray[np.uint8]:
        """Return zeroed memory for a frame: one per thread, or new where compression uses it."""
        if self._plan.pixels.codec == "zlib":
            return np.zeros(self._plan.pixels.frame_bytes, np.uint8)
        if not hasattr(self._local, "buffer"):
            self._local.buffer = np.zeros(self._plan.pixels.frame_bytes, np.uint8)
        buffer: NDArray[np.uint8] = self._local.buffer
        return buffer

    def close(self) -> None:
        """Finish the file: write its tables and its map, give it its name. May be called twice."""
        if self.closed:
            return
        try:
            self._stream.wait()
            if self.frame_count and not self._claimed.any():
                raise ValueError(f"no frame was written (file {self.path!r})")
            for name, data in self._tables.finish(self._log):
                self._stream.append(name, data)
            self._stream.finish()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Close and remove the file, or leave it unfinished if it is written in place. May be called twice."""
        self._stream.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def _without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


class ND2Writer(FileWriter):
    """Write an ND2 file frame by frame, in constant memory.

    The file grows next to its destination, under the same name with ``.part`` appended, and takes its name when it is
    closed. If that fails, or the ``with`` block ends with an error, nothing is left. If the process is killed, the
    ``.part`` file holds every frame that was written, for ``nd2 rescue``.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write.
    sizes : mapping of str to int
        Name and size of each axis: loops ``T``, ``P``, ``Z``, ``U``, outermost first, and of the frame ``C``, ``Y``,
        ``X`` and ``S`` (3 samples, color). Nested loops of one kind are numbered: ``T``, ``T2``.
    dtype : dtype
        uint8, uint16 or float32: readers, including Nikon's, read 16 bits as unsigned integers and
        32 bits as floating point.
    shape, axes : sequence
        The same as ``sizes``, in two parts: ``shape=(10, 512, 512), axes="TYX"``.
    channels : sequence of str, ChannelMeta or Channel, optional
        Name of each channel; or name, color and wavelengths; or complete channels, as in ``ND2File.metadata.channels``.
    microscope : Microscope or sequence of Microscope, optional
        Objective, zoom and modality: one for all channels without their own, or one per channel.
        Files store one objective.
    exposure : sequence of float, optional
        Exposure of each channel in milliseconds, None where unknown.
    voxel_size : sequence of float, optional
        x, y and optionally z in micrometers. Pixels are square. Without it the file is not calibrated.
    positions : sequence, optional
        Each point of the axis P: its name, or ``(x, y)`` or ``(x, y, z)`` in micrometers, or a `Position`.
    times : array-like, optional
        In milliseconds, for each step of the axis T or for each frame; NaN where unknown.
    period : float, optional
        Planned time between steps of the axis T in milliseconds; by default the mean of ``times``.
    z : array-like, optional
        For each plane of the axis Z in micrometers: their mean step is the step of the stack, the plane at 0 its home.
    stage : sequence of float, optional
        Position of the stage, unless a loop sets it: x, y and optionally z (of the home plane
        of a stack) in micrometers.
    start : datetime or float, optional
        Time of the first frame; or its Julian day number, UTC.
    significant_bits : int, optional
        Bits of a sample that carry information, by default all: 1 to 8 of uint8, 9 to 16 of uint16.
    compression : {None, "zlib"}
        Compression of frames; zlib uses all cores.
    text_info : TextInfo, optional
        Free text; unknown keys raise an error.
    custom : mapping, optional
        Trees of custom data by their tag, as ``ND2File.custom_data`` gives them.
    columns : mapping, optional
        Recorded data: title, followed by the unit in brackets, to one value per frame.
    rois : sequence or mapping of ROI, optional
        Regions of interest.
    events : sequence of ExperimentEvent, optional
        Events of the experiment.
    labels : mapping, optional
        Name of a binary layer to its masks: integers of shape ``(loops..., Y, X)`` or
        ``(n, Y, X)``, 0 for the background.
    samples : {"RGB", "BGR"}
        Order of the axis S of the frames that are written. Files store blue, green, red, and `imread` returns that.
    version : tuple of int
        Format version: ``(3, 0)``, or ``(2, 1)`` with XML metadata, as old software wrote it.
    in_place : bool
        Write to ``path`` itself: an unfinished file stays there. The content of an existing file
        is lost at once; an existing ND2 file is refused, even with ``overwrite=True``.
    overwrite : bool
        Whether to replace a file that exists, when the new one is complete.

    Raises
    ------
    TypeError
        If ND2 cannot store this dtype; the message suggests one that fits.
    ValueError
        If the values contradict each other.
    OSError
        If the file cannot be created.
    FileExistsError
        If ``path`` exists and is not to be overwritten.

    Examples
    --------
    >>> sizes = {"T": 100, "C": 2, "Y": 512, "X": 512}
    >>> with ND2Writer("out.nd2", sizes, "uint16", channels=["DAPI", "GFP"]) as writer:  # doctest: +SKIP
    ...     for t in range(100):
    ...         writer.write_frame(t, camera.grab(), time=camera.milliseconds())
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sizes: Mapping[str, int] | None = None,
        dtype: DTypeLike = np.uint16,
        *,
        shape: Sequence[int] | None = None,
        axes: Sequence[str] | None = None,
        **options: Unpack[WriterOptions],
    ) -> None:
        if sizes is not None and not isinstance(sizes, Mapping):
            raise TypeError(f"sizes must map axes to sizes, as {{'T': 3, 'Y': 512, 'X': 512}}, not {sizes!r}")
        sizes = resolve_sizes(sizes, shape, axes)
        tables = NewTables.from_options(sizes, dtype, options, path=str(path))
        samples = options.get("samples", "RGB")
        in_place, overwrite = options.get("in_place", False), options.get("overwrite", False)
        super().__init__(path, tables, samples=samples, in_place=in_place, overwrite=overwrite)
