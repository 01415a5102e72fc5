"""Frames out of bytes: where each frame lies, and the one plan by which any part of any frames is read.

The plan: the frames asked for, in file order; their rows merged into byte ranges of a few megabytes; each range read
and decoded straight into its place in one preallocated output, several at a time. Every view of the pixels goes
through it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.format.inflate import MAX_RATIO, inflate
from nd2._core.frames.cache import FrameCache
from nd2._core.frames.plan import DIRECT, Job, Picks, length, scratch, simplify

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.format.pixels import PixelLayout
    from nd2._core.io import ByteSource

WHOLE_FRAME: Picks = (slice(None),) * 4


@dataclass(frozen=True, slots=True)
class FrameTable:
    """Where the stored bytes of each frame are.

    Attributes
    ----------
    offsets : ndarray of uint64, shape (n * pieces,)
        Position in the file of the first stored byte of each piece's pixels.
    lengths : ndarray of uint64, shape (n * pieces,)
        Number of stored bytes; 0 where the piece is missing. Those from the end on are missing, too.
    pieces : int
        In how many pieces a frame is stored, one behind the other in this table: 1, or one for each channel.
    """

    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint64]
    pieces: int = 1

    def __len__(self) -> int:
        return len(self.lengths) // self.pieces

    def present(self, count: int) -> NDArray[np.bool_]:
        """Return which of the frames 0 to ``count - 1`` the file holds (wholly), shape (count,)."""
        known = np.zeros(count, bool)
        shortest = self.lengths.reshape(-1, self.pieces).min(axis=1)
        known[: len(self)] = shortest[:count] > 0
        return known

    def at(self, index: int) -> tuple[int, int]:
        """Return offset and length of one frame that is stored in one piece; both are 0 where it is missing."""
        if index >= len(self.lengths):
            return 0, 0
        return int(self.offsets[index]), int(self.lengths[index])

    def lookup(self, index: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return offsets and lengths of some frames (or pieces, if there are several); both are 0 where it is missing."""
        offsets, lengths = np.zeros((2, len(index)), np.int64)
        known = np.flatnonzero(index < len(self.lengths))
        offsets[known] = self.offsets[index[known]]
        lengths[known] = self.lengths[index[known]]
        return offsets, lengths


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of a file, readable from any thread or process; holds no handle that cannot be reopened."""

    source: ByteSource
    table: FrameTable
    pixels: PixelLayout
    cache: FrameCache = field(default_factory=FrameCache, compare=False, repr=False)

    def check_codec(self) -> None:
        """Check that frames can be decoded here, before anything is read.

        Raises
        ------
        ImportError
            If the codec needs a package that is not installed.
        """
        if self.pixels.codec == "jpeg2k":
            from nd2._core.format import jpeg2k

            jpeg2k.decoder()

    def frame(self, index: int) -> NDArray[Any]:
        """Read one whole frame.

        The usual case of `read`, without what many frames and parts of frames need.

        Parameters
        ----------
        index : int
            Sequence index of the frame.

        Returns
        -------
        ndarray, shape (C, Y, X, S)
            C-contiguous; zero if the frame is missing.
        """
        pixels, size = self.pixels, self.pixels.frame_bytes
        offset, length = self.table.at(index)
        raw = pixels.codec == "raw"
        stored = size if raw else length
        sound = length >= (size if raw else self._least) and offset + stored <= self.source.size
        if not sound or stored > DIRECT or pixels.codec == "jpeg2k":
            whole: NDArray[Any] = self.read(np.array([index]))[0]
            return whole
        if raw and pixels.contiguous:
            data = np.empty(size, np.uint8)
            self.source.read_into([(offset, data.data)])
            return data.view(pixels.dtype).reshape(pixels.shape)
        buffer = scratch(stored)
        self.source.read_into([(offset, buffer)])
        if raw:
            return pixels.rows(buffer, pixels.height).copy()  # the buffer is used again
        rows = self.decode(buffer, index, offset)
        owned = rows.flags.c_contiguous and rows.flags.writeable
        return rows if owned else rows.copy()

    def read(
        self,
        index: NDArray[np.intp],
        picks: Picks = WHOLE_FRAME,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Read some frames, or the same part of each.

        Parameters
        ----------
        index : ndarray of int, shape (n,)
            Sequence indices of the frames, in any order, each at most once.
        picks : tuple of four slices or index arrays
            What to take of C, Y, X and S. Of frames that are not compressed, only the rows taken are read.
        out : ndarray, shape (n, C', Y', X', S'), optional
            Where to put the result; C-contiguous where a frame is stored in pieces.

        Returns
        -------
        ndarray, shape (n, C', Y', X', S')
            Missing frames are zero.

        Raises
        ------
        ValueError
            If a frame is damaged, or its bytes lie beyond the end of the file.
        OSError
            If bytes could not be read.
        ImportError
            If the codec needs a package that is not installed.
        """
        out, job = self._job(index, picks, out)
        if job is not None and job.cached:
            job.run_cached()
        elif job is not None:
            job.run(*job.blocks())
        return out

    async def read_async(self, index: NDArray[np.intp], picks: Picks = WHOLE_FRAME) -> NDArray[Any]:
        """Read as `read` does; other coroutines run while bytes are on their way and while they are decoded."""
        out, job = self._job(index, picks, None)
        if job is not None:
            await job.run_async(*job.blocks())
        return out

    def _job(
        self, index: NDArray[np.intp], picks: Picks, out: NDArray[Any] | None
    ) -> tuple[NDArray[Any], Job | None]:
        """Make the output and what fills it, or None where nothing has to be read."""
        picks = tuple(
            simplify(np.arange(size)[pick])
            for pick, size in zip(picks, self.pixels.shape, strict=True)
        )
        shape = [
            len(index),
            *(length(p, s) for p, s in zip(picks, self.pixels.shape, strict=True)),
        ]
        if self.table.pieces > 1:  # each piece is read as a frame of one channel
            channels = np.arange(self.table.pieces)[picks[0]]
            index = np.add.outer(index * self.table.pieces, channels).reshape(-1)
            picks = (slice(0, 1, 1), *picks[1:])
        offsets, lengths = self.table.lookup(index)
        order = np.argsort(offsets, kind="stable")
        order = order[
            np.count_nonzero(lengths == 0) :
        ]  # missing frames have offset 0, so they sort first
        self._check(index, offsets, lengths, order)
        missing = math.prod(shape) // max(len(index), 1) * (len(index) - len(order))
        if out is None and missing * self.pixels.dtype.itemsize > _missing_limit(self.source.size):
            raise errors.corrupt(
                f"{len(index) - len(order)} of the {len(index)} frames asked for are missing from the file: as zeros they "
                f"take {missing * self.pixels.dtype.itemsize} bytes; read fewer at once, or into an array of your own",
                path=self.source.url,
            )
        if out is None:
            out = np.empty(shape, self.pixels.dtype)
        target = out if self.table.pieces == 1 else out.reshape(len(index), 1, *shape[2:])
        if len(order) < len(index):
            target[np.flatnonzero(lengths == 0)] = 0
        if not out.size or not len(order):
            return out, None
        return out, Job(self, index, picks, target, offsets[order], lengths[order], order)

    def _check(
        self,
        index: NDArray[np.intp],
        offsets: NDArray[np.int64],
        lengths: NDArray[np.int64],
        order: NDArray[np.intp],
    ) -> None:
        """Refuse what the table cannot mean, before anything is allocated or read."""
        least = self._least
        stored = least if self.pixels.codec == "raw" else lengths[order]
        beyond = offsets[order] + stored > self.source.size
        for wrong, message in (
            (
                lengths[order] < least,
                f"the frame's data is too short for {self.pixels.frame_bytes} bytes",
            ),
            (beyond, f"the frame's data lies beyond the file's end at {self.source.size}"),
        ):
            if wrong.any():
                first = order[np.argmax(wrong)]
                raise self.error(message, int(index[first]), int(offsets[first]))

    @property
    def _least(self) -> int:
        """The fewest bytes in which a frame (or piece) can be stored."""
        if self.pixels.codec == "jpeg2k":
            return 1
        ratio = 1 if self.pixels.codec == "raw" else MAX_RATIO
        return -(-self.pixels.frame_bytes // ratio)

    def error(self, message: str, index: int, offset: int) -> Exception:
        """Build the error for a damaged frame (or piece of one)."""
        frame, channel = divmod(index, self.table.pieces)
        chunk = f"ImageDataSeq|{frame}!"
        if self.pixels.codec == "jpeg2k":
            chunk = f"codestream of channel {channel}"
        return errors.corrupt(
            message, path=self.source.url, chunk=chunk, frame=frame, offset=offset
        )

    def decode(self, data: Any, index: int, offset: int) -> NDArray[Any]:
        """Decode the bytes of one compressed frame (or piece), shape (C, Y, X, S); an error names it."""
        try:
            if self.pixels.codec == "jpeg2k":
                from nd2._core.format import jpeg2k

                return jpeg2k.decode(data, self.pixels)
            return self.pixels.rows(inflate(data, self.pixels.frame_bytes), self.pixels.height)
        except ValueError as error:
            message = error.bare if isinstance(error, errors.CorruptFileError) else str(error)
            raise self.error(message, index, offset) from error


def _missing_limit(file_size: int) -> int:
    """Return how many bytes of zeros a read may make for frames that a file does not have: some of its own size."""
    return (32 << 20) + 256 * file_size
