"""A file that grows by chunks, from any number of threads, and becomes ND2 with its chunk map.

Space is reserved under a lock; bytes are written outside it, to their own place. Until
`ChunkStream.finish`, the file has neither a chunk map nor the signature at its end: no reader takes
it for complete, and a scan finds all chunks.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nd2._core import errors
from nd2._core.format import chunks
from nd2._core.io.destination import explained, resolve
from nd2._core.io.urls import local_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from nd2._core.io.part import Part

    Parts = Sequence[bytes | memoryview]

_ZEROS = memoryview(bytes(chunks.PAGE))


class ChunkStream:
    """Writes the chunks of a file."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        frame_count: int,
        *,
        in_place: bool = False,
        version: tuple[int, int] = (3, 0),
        overwrite: bool = False,
        sources: Sequence[str] = (),
    ) -> None:
        self.path = Path(local_path(path))
        self._part: Part | None = None
        if not (in_place and self.path.is_char_device()):
            dest = resolve(path, "ND2", overwrite=overwrite, sources=sources, local=True)
            if in_place:
                dest.check_in_place()
            else:
                self._part = dest.part()
        try:
            with self._explained():
                if self._part is None:
                    replaces = overwrite or self.path.is_char_device()
                    self._file = FileIO(self.path, "w" if replaces else "x")
                else:
                    self._file = FileIO(self._part.create(), "w")
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
        earlier = self._others.get(name)
        if earlier is not None and earlier[1] == len(data):
            position = earlier[0]
        else:
            position = self._reserve(len(chunks.encode_chunk(name, data)))
        self._put(position, name, data, b"")
        self._others[name] = (position, len(data))

    def append_frame(self, index: int, stamp: bytes, pixels: memoryview | bytes) -> None:
        """Write the chunk of a frame; safe to call from several threads.

        Parameters
        ----------
        pixels : bytes
            Stored pixels, contiguous.
        """
        name = chunks.frame_name(index)
        nbytes = pixels.nbytes if isinstance(pixels, memoryview) else len(pixels)
        # The header of a frame fills its first page, the timestamp included.
        position = self._reserve(chunks.PAGE + nbytes)
        self._put(position, name, stamp, pixels)
        self._frame_position[index] = position
        self._frame_size[index] = len(stamp) + nbytes

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
                with self._explained():
                    self._part.commit()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Close the file unfinished and remove it, unless it is in place. May be called twice."""
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

    def _put(self, position: int, name: bytes, head: bytes, tail: memoryview | bytes) -> None:
        nbytes = tail.nbytes if isinstance(tail, memoryview) else len(tail)
        start = chunks.encode_chunk(name, head, nbytes)
        padding = -(len(start) + nbytes) % chunks.PAGE
        self._write([start, tail, _ZEROS[:padding]], position, name.decode("ascii", "replace"))

    def _write(self, parts: Parts, position: int, what: str) -> None:
        if self.closed:
            raise errors.closed(str(self.path))
        try:
            _write_at(self._file.fileno(), parts, position)
        except OSError as error:
            raise errors.unwritten(error, what, path=str(self.path)) from error

    def _explained(self) -> AbstractContextManager[None]:
        return explained(str(self.path), self._part)


if hasattr(os, "pwritev"):

    def _write_some(fd: int, parts: Parts, position: int) -> int:
        return os.pwritev(fd, parts, position)

else:  # Windows: the file has one position, and one thread at a time
    _position_lock = threading.Lock()

    def _write_some(fd: int, parts: Parts, position: int) -> int:
        with _position_lock:
            os.lseek(fd, position, os.SEEK_SET)
            return os.write(fd, parts[0])


def _write_at(fd: int, parts: Parts, position: int) -> None:
    """Write all parts, with one system call as a rule."""
    while (written := _write_some(fd, parts, position)) < sum(map(len, parts)):
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        position += written
        parts = _rest(parts, written)


def _rest(parts: Parts, count: int) -> Parts:
    """Return the parts without their first bytes."""
    left = []
    for part in parts:
        if count < len(part):
            left.append(memoryview(part)[count:])
        count = max(count - len(part), 0)
    return left
