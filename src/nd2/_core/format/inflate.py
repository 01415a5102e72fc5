"""zlib streams: libdeflate for those of known size; it is two to five times as fast as the standard library."""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

from nd2._core import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_RATIO = 1032
"""Highest ratio that deflate reaches: a stream that claims more is damaged."""

_PIECE = 8 << 20


def inflate(data: bytes | memoryview, nbytes: int) -> bytes | bytearray:
    """Inflate one zlib stream to exactly ``nbytes`` bytes; bytes behind its end are ignored."""
    if nbytes:  # libdeflate accepts any stream if no bytes are expected
        import deflate

        try:
            inflated: bytearray = deflate.zlib_decompress(data, nbytes)
        except deflate.DeflateError:
            # Trailing bytes and padding make libdeflate give up where zlib does not; let zlib say what is wrong.
            return _inflate_with_zlib(data, nbytes)
        if len(inflated) == nbytes:
            return inflated
    return _inflate_with_zlib(data, nbytes)


def _inflate_with_zlib(data: bytes | memoryview, nbytes: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, nbytes + 1)
    except zlib.error as error:
        raise errors.corrupt(f"the zlib stream is damaged: {error}") from error
    if len(inflated) != nbytes:
        more = "more" if len(inflated) > nbytes else f"{len(inflated)}"
        raise errors.corrupt(f"the zlib stream inflates to {more} bytes instead of {nbytes}")
    return inflated


def inflate_bounded(data: bytes | memoryview, limit: int) -> bytes:
    """Inflate one whole zlib stream of unknown size, which may hold at most ``limit`` bytes."""
    return b"".join(_pieces(data, limit, limit + 1))


def inflated_size(data: bytes | memoryview, limit: int) -> int | None:
    """Return the size of a zlib stream when inflated; None if it is damaged, cut, or longer than ``limit``.

    Uses at most 8 MB of memory.
    """
    try:
        return sum(map(len, _pieces(data, limit, _PIECE)))
    except ValueError:
        return None


def inflate_start(data: bytes | memoryview, limit: int) -> bytes:
    """Inflate the beginning of a zlib stream, up to ``limit`` bytes or the first damaged byte."""
    parts: list[bytes] = []
    with suppress(ValueError):
        for part in _pieces(data, limit, 1 << 16):
            parts.append(part)  # noqa: PERF402 - keeps what comes before an error
    return b"".join(parts)


def _pieces(data: bytes | memoryview, limit: int, piece: int) -> Iterator[bytes]:
    """Inflate a stream piece by piece, up to ``limit`` bytes."""
    stream, total = zlib.decompressobj(), 0
    try:
        while not stream.eof:
            part = stream.decompress(data, min(piece, limit + 1 - total))
            total += len(part)
            if total > limit:
                raise errors.corrupt(f"the zlib stream inflates to more than {limit} bytes")
            if not (part or stream.eof):
                raise errors.corrupt(f"the zlib stream is cut after {total} bytes")
            yield part
            data = stream.unconsumed_tail
    except zlib.error as error:
        raise errors.corrupt(f"the zlib stream is damaged: {error}") from error


def is_zlib(data: bytes | memoryview) -> bool:
    """Return whether data start like a zlib stream: with its method and the check of its two bytes."""
    return len(data) > 1 and data[0] & 0x0F == 8 and (data[0] * 256 + data[1]) % 31 == 0


def deflate_zlib(data: bytes | memoryview, level: int = 6) -> bytes:
    """Compress into one zlib stream."""
    import deflate

    return bytes(deflate.zlib_compress(data, level))
