"""Writing a file frame by frame: frames in any order and from any thread."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from math import isfinite
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.chunks import recorded_data
from nd2._core.format.pixels import copy_components
from nd2._core.write.compression import BackgroundCompression
from nd2._core.write.stream import ChunkStream
from nd2._core.write.tables import FrameLog, nominal_times

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from nd2._core.format.pixels import SampleOrder
    from nd2._core.write.tables import Tables

_STAMP = Struct("<d").pack


class FileWriter:
    """An ND2 file that is being written; see `ND2Writer`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        tables: Tables,
        *,
        samples: SampleOrder,
        in_place: bool,
        overwrite: bool = False,
        sources: Sequence[str] = (),
    ) -> None:
        plan = tables.plan
        self._plan, self._tables = plan, tables
        self._log = FrameLog(tables.times.copy())
        self._nominal = nominal_times(plan)
        self._swap = plan.pixels.samples == 3 and samples == "RGB"
        self._frame_shape = _without_ones(plan.pixels.shape)
        # Compression in the background needs a copy: the caller may reuse its memory.
        self._as_is = plan.pixels.contiguous and plan.pixels.codec == "raw" and not self._swap
        self._claimed = np.zeros(plan.frame_count, bool)
        self._lock = threading.Lock()
        self._local = threading.local()
        start = tables.start()
        self._stream = ChunkStream(
            path, plan.frame_count, in_place=in_place, version=tables.version, overwrite=overwrite, sources=sources
        )
        self._compression: BackgroundCompression | None = None
        if plan.pixels.codec == "zlib":
            self._compression = BackgroundCompression(self._stream.append_frame, self._release)
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

        Frames that are never written are missing. A frame that is not compressed is in the file
        when this returns. Compression works in the background, on a copy of the frame and on all
        cores; a compressed frame is in the file after a few more frames, or when the file is
        closed.

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
            self._cells(header)[number] = value
        recorded = self._log.times[number]
        stamp = _STAMP(recorded if recorded == recorded else self._nominal[number])
        if self._compression is not None:
            self._compression.submit(number, stamp, data)
            return
        try:
            self._stream.append_frame(number, stamp, data)
        except BaseException:
            self._release(number)
            raise

    def _claim(self, number: int) -> None:
        """Reserve a frame for the caller; no other thread writes it."""
        with self._lock:
            if self.closed:
                raise errors.closed(self.path)
            self._check()
            if self._claimed[number]:
                raise ValueError(f"frame {number} was written before (file {self.path!r})")
            self._claimed[number] = True

    def _release(self, number: int) -> None:
        self._claimed[number] = False

    def _check(self) -> None:
        """Raise the first error of a frame that was compressed in the background."""
        if self._compression is not None and self._compression.failure is not None:
            raise self._compression.failure

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
        if self._compression is not None:
            return np.zeros(self._plan.pixels.frame_bytes, np.uint8)
        if not hasattr(self._local, "buffer"):
            self._local.buffer = np.zeros(self._plan.pixels.frame_bytes, np.uint8)
        buffer: NDArray[np.uint8] = self._local.buffer
        return buffer

    def _cells(self, header: str) -> list[Any]:
        """Return the cells of a column of recorded data."""
        with self._lock:
            if header not in self._log.cells:
                self._log.cells[header] = [None] * self.frame_count
            return self._log.cells[header]

    def close(self) -> None:
        """Finish the file: write its tables and its map, give it its name. May be called twice."""
        if self.closed:
            return
        try:
            self._wait()
            self._check()
            if self.frame_count and not self._claimed.any():
                raise ValueError(f"no frame was written (file {self.path!r})")
            for name, data in self._tables.finish(self._log):
                self._stream.append(name, data)
            self._stream.finish()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Close without finishing. May be called twice.

        The file is removed, unless it is written in place.
        """
        self._wait()
        self._stream.abandon()

    def _wait(self) -> None:
        if self._compression is not None:
            self._compression.wait()

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
