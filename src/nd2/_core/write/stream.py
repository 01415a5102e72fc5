"""A file that grows by chunks, from any number of threads, and becomes ND2 with its chunk map.

Space is reserved under a lock; bytes are written outside it, to their own place. Frames are compressed
in the background, on all cores, with bounded memory. Until `ChunkStream.finish`, the file has neither
a chunk map nor the signature at its end: no reader takes it for complete, and a scan finds all chunks.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nd2._core import errors
from nd2._core.format import chunks
from nd2._core.format.inflate import deflate_zlib
from nd2._core.frames import pool
from nd2._core.io.destination import explained, resolve
from nd2._core.io.part import write_at
from nd2._core.io.urls import local_path

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from nd2._core.io.part import Part

_ZEROS = memoryview(bytes(chunks.PAGE))
_LEVEL = 1
"""Compression level: higher ones are slower and do not make noise smaller."""


class ChunkStream:
    """Writes the chunks of a file.

    With ``compressed``, `write_frame` compresses frames, and calls ``release`` with the index of one that failed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        frame_count: int,
        *,
        in_place: bool = False,
        version: tuple[int, int] = (3, 0),
        overwrite: bool = False,
        sources: Sequence[str] = (),
        compressed: bool = False,
        release: Callable[[int], None] = lambda index: None,
    ) -> None:
        self._compression = BackgroundCompression(self.append_frame, release) if compressed else None
        self.path = Path(local_path(path))
        self._part: Part | None = None
        if not (in_place and self.path.is_char_device()):
            dest = resolve(path, "ND2", overwrite=overwrite, sources=sources, local=True)
            if in_place:
                dest.check_in_place()
            else:
                self._part = dest.part()
        replaces = self._part is not None or overwrite or self.path.is_char_device()
        try:
            with explained(str(self.path), self._part):
                target = self.path if self._part is None else self._part.create()
                self._file = FileIO(target, "w" if replaces else "x")
        except BaseException:
            if self._part is not None:
                self._part.discard()
            raise
        self._lock = threading.Lock()
        self._end = chunks.PAGE
        self._others: dict[bytes, tuple[int, int]] = {chunks.FILE_SIGNATURE: (0, 64)}
        self._frame_position = np.zeros(frame_count, np.uint64)
        self._frame_size = np.zeros(frame_count, np.uint64)
        try:
            self._write([chunks.encode_signature(version)], 0, "the file signature")
        except BaseException:
            self.abandon()
            raise

    @property
    def closed(self) -> bool:
        """Whether the file was finished or abandoned."""
        return self._file.closed

    def append(self, name: bytes, data: bytes) -> None:
        """Write a chunk; it replaces an earlier one of the same name."""
        chunk = chunks.encode_chunk(name, data)
        position, nbytes = self._others.get(name, (0, -1))
        if nbytes != len(data):
            position = self._reserve(len(chunk))
        self._put(position, name, [chunk])
        self._others[name] = (position, len(data))

    def write_frame(self, index: int, stamp: bytes, pixels: memoryview) -> None:
        """Write a frame, or compress and write it in the background; safe to call from several threads."""
        if self._compression is None:
            self.append_frame(index, stamp, pixels)
        else:
            self._compression.submit(index, stamp, pixels)

    def append_frame(self, index: int, stamp: bytes, pixels: memoryview | bytes) -> None:
        """Write the stored bytes of a frame as a chunk; safe to call from several threads."""
        # The header of a frame fills its first page, the timestamp included.
        position = self._reserve(chunks.PAGE + len(pixels))
        name = chunks.frame_name(index)
        self._put(position, name, [chunks.encode_chunk(name, stamp, len(pixels)), pixels])
        self._frame_position[index] = position
        self._frame_size[index] = len(stamp) + len(pixels)

    def check(self) -> None:
        """Raise the first error of a frame that was compressed in the background."""
        if self._compression is not None and self._compression.failure is not None:
            raise self._compression.failure

    def wait(self) -> None:
        """Wait until all frames are written, and raise their first error."""
        if self._compression is not None:
            self._compression.wait()
        self.check()

    def finish(self) -> None:
        """Write the chunk map, close the file, and give it its name."""
        index = np.flatnonzero(self._frame_size)
        frames = (index, self._frame_position[index], self._frame_size[index])
        others = [(name, *where) for name, where in self._others.items()]
        try:
            data = chunks.encode_map(others, self._end, frames)
            self._write([data], self._end, "the chunk map")
            self._file.close()
            if self._part is not None:
                with explained(str(self.path), self._part):
                    self._part.commit()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Close the file unfinished and remove it, unless it is in place. May be called twice."""
        if self._compression is not None:
            self._compression.wait()
        try:
            with suppress(OSError):  # a full disk is reported by the write that met it
                self._file.close()
        finally:
            if self._part is not None:
                self._part.discard()

    def _reserve(self, nbytes: int) -> int:
        with self._lock:
            position = self._end
            self._end += chunks.page_up(nbytes)
        return position

    def _put(self, position: int, name: bytes, parts: Sequence[bytes | memoryview]) -> None:
        padding = -sum(map(len, parts)) % chunks.PAGE
        self._write([*parts, _ZEROS[:padding]], position, name.decode("ascii", "replace"))

    def _write(self, parts: Sequence[bytes | memoryview], position: int, what: str) -> None:
        if self.closed:
            raise errors.closed(str(self.path))
        try:
            write_at(self._file.fileno(), parts, position)
        except OSError as error:
            raise errors.unwritten(error, what, path=str(self.path)) from error


class BackgroundCompression:
    """Compresses frames and writes them; `failure` is the first error."""

    def __init__(self, write: Callable[[int, bytes, bytes], None], release: Callable[[int], None]) -> None:
        self._write, self._release = write, release
        self._lock = threading.Lock()
        self._pending: set[Future[None]] = set()
        self._room = threading.BoundedSemaphore(pool.workers() + 1)
        self.failure: BaseException | None = None

    def submit(self, index: int, stamp: bytes, data: memoryview) -> None:
        """Compress and write a frame in the background; wait while enough frames are pending."""
        self._room.acquire()
        future = pool.submit(self._run, index, stamp, data)
        with self._lock:
            self._pending.add(future)
        future.add_done_callback(self._done)

    def _run(self, index: int, stamp: bytes, data: memoryview) -> None:
        try:
            self._write(index, stamp, deflate_zlib(data, _LEVEL))
        except BaseException as error:
            with self._lock:
                self.failure = self.failure or error
            self._release(index)

    def _done(self, future: Future[None]) -> None:
        self._room.release()
        with self._lock:
            self._pending.discard(future)

    def wait(self) -> None:
        """Wait until no frame is pending."""
        while self._pending:
            with self._lock:
                pending = list(self._pending)
            for future in pending:
                future.exception()
