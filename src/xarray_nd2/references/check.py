"""Verify references against chunk headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.format import chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.readers import Reader

_BATCH = 1 << 16


def check_frames(reader: Reader, index: NDArray[np.intp]) -> None:
    """Compare the places of frames with the headers of their chunks: magic number, name, place, length.

    Headers are read some ten thousand at a time. A remote file needs one small request per frame;
    one request reads several if frames are small.

    Parameters
    ----------
    index : ndarray of int, shape (n,)
        Sequence indices of the frames; those that the file does not contain are skipped.
    """
    positions = reader.frame_positions
    offsets, lengths = reader.frames.table.locations(index)
    present = np.flatnonzero((lengths > 0) & (index < len(positions)))
    raw = reader.frames.pixels.codec == "raw"
    needed = np.full(len(index), reader.frames.pixels.frame_bytes) if raw else lengths
    beyond = present[(offsets + needed)[present] > reader.source.size]
    if len(beyond):
        first = beyond[0]
        raise _wrong(
            reader,
            int(index[first]),
            f"the frame's data are beyond the file's end at {reader.source.size}",
            int(offsets[first]),
        )
    digits = np.searchsorted(10 ** np.arange(1, 19), index, side="right") + 1
    for count in np.flatnonzero(np.bincount(digits[present])).tolist():
        alike = present[digits[present] == count]
        for start in range(0, len(alike), _BATCH):
            part = alike[start : start + _BATCH]
            _check_batch(reader, index[part], positions[index[part]], offsets[part], needed[part], count)


def _check_batch(
    reader: Reader,
    index: NDArray[np.intp],
    positions: NDArray[np.uint64],
    offsets: NDArray[Any],
    needed: NDArray[Any],
    digits: int,
) -> None:
    """Check frames whose indices have the same number of digits, so that their headers are equally long."""
    width = chunks.HEADER.size + len(chunks.FRAME_PREFIX) + digits + 1
    data = reader.source.read_many([(position, width) for position in positions.tolist()])
    headers = np.frombuffer(b"".join(data), np.uint8).reshape(len(index), width)
    fields = np.ascontiguousarray(headers[:, : chunks.HEADER.size])
    magic, name_length = fields[:, :8].copy().view("<u4").T
    data_length = fields[:, 8:].copy().view("<u8")[:, 0]
    start = positions + np.uint64(chunks.HEADER.size + chunks.TIMESTAMP) + name_length
    checks = {
        "no chunk starts here": magic != chunks.MAGIC,
        "another chunk is here": (headers[:, chunks.HEADER.size :] != _names(index, digits)).any(axis=1),
        "the frame's data does not start where its chunk says": start != offsets.astype(np.uint64),
        "the frame's chunk is shorter than its pixels": data_length
        < needed.astype(np.uint64) + np.uint64(chunks.TIMESTAMP),
    }
    for message, wrong in checks.items():
        if wrong.any():
            first = int(np.argmax(wrong))
            raise _wrong(reader, int(index[first]), message, int(positions[first]))


def _names(index: NDArray[np.intp], digits: int) -> NDArray[np.uint8]:
    """Return the names of frames' chunks as rows of characters."""
    start = len(chunks.FRAME_PREFIX)
    names = np.empty((len(index), start + digits + 1), np.uint8)
    names[:, :start] = np.frombuffer(chunks.FRAME_PREFIX, np.uint8)
    rest = np.asarray(index, np.int64)
    for column in range(start + digits - 1, start - 1, -1):
        rest, digit = np.divmod(rest, 10)
        names[:, column] = digit + ord("0")
    names[:, -1] = ord("!")
    return names


def _wrong(reader: Reader, frame: int, message: str, offset: int) -> ValueError:
    return errors.corrupt(
        message, path=reader.source.url, chunk=chunks.frame_name(frame).decode(), frame=frame, offset=offset
    )
