"""Where the pixels of every frame of a modern file are: by the chunk map, and as few headers as possible."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nd2._core import errors
from nd2._core.format import chunks
from nd2._core.format.inflate import inflated_size, is_zlib
from nd2._core.frames.plan import FrameTable
from nd2._core.frames.read import Frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nd2._core.format.pixels import Codec, PixelLayout
    from nd2._core.io import ByteSource

_MAX_STARTS = 1024
"""Frames of different lengths whose first bytes are read to find zlib streams."""
_MAX_STREAMS = 16
"""Frames that look like zlib streams and are inflated to see whether they are."""
_PADDED_START = chunks.PAGE - chunks.TIMESTAMP
"""Bytes from a frame's chunk to its data in files of NIS-Elements, so that pixels start on a page."""


def locate_frames(source: ByteSource, chunk_map: chunks.ChunkMap, count: int, pixels: PixelLayout) -> Frames:
    """Find the stored bytes of the first ``count`` frames.

    The map gives the chunks' positions. The length of the name field is in each chunk's header only.
    NIS-Elements pads it so that pixels start 4096 bytes after the chunk: if this holds for one frame,
    it holds for all. A header is believed only if it agrees with the map and with the start of the
    next chunk. Without such a header, every header is read.
    """
    position, size, index = chunk_map.frame_position, chunk_map.frame_size, chunk_map.frame_index
    if not len(index):
        return Frames(source, FrameTable(*np.zeros((2, 0), np.uint64)), pixels)
    raw, stamp = pixels.codec == "raw", np.uint64(chunks.TIMESTAMP)
    sample = _read_sample_header(source, chunk_map)
    # Of millions of frames, each column takes many megabytes: equal values take none.
    start = np.broadcast_to(np.uint64(_PADDED_START), len(size))
    if sample is None:
        ask = np.ones(len(size), bool)
    elif raw:
        # Every raw frame is as long as the sample; if the map differs, the chunk decides.
        ask = (size != sample.data_length) & (size != position)
        ask |= _any_overlap_next(chunk_map, sample.end - sample.position)
        size = np.broadcast_to(np.uint64(sample.data_length), len(size))
    else:
        ask = (size == position) | (size <= stamp) | _overlap_next(chunk_map, start + size)
    asked = np.flatnonzero(ask)
    if len(asked):
        headers = _frame_headers(source, position[asked].tolist(), index[asked].tolist())
        map_size, start, size = chunk_map.frame_size[asked], start.copy(), size.copy()
        start[asked], size[asked] = _reconcile(source, chunk_map, headers, map_size)
    offsets, lengths = np.zeros((2, count), np.uint64)
    place = position + start
    place += stamp
    offsets[index] = place
    # A chunk that is too short is an error when it is read, not a missing frame.
    np.maximum(size, stamp + np.uint64(1), out=place)
    place -= stamp
    lengths[index] = place
    codec = frame_codec(source, offsets, lengths, pixels)
    return Frames(source, FrameTable(offsets, lengths), replace(pixels, codec=codec))


def frame_codec(
    source: ByteSource, offsets: NDArray[np.uint64], lengths: NDArray[np.uint64], pixels: PixelLayout
) -> Codec:
    """Return how frames are stored, which the attributes of an edited or damaged file may misstate."""
    exact = (lengths == pixels.frame_bytes) | (lengths == 0)  # frames without data are missing
    if pixels.codec == "zlib":
        raw = exact.all() and lengths.any() and not is_zlib(source.read(int(offsets[lengths > 0].min()), 2))
        return "raw" if raw else "zlib"
    if exact.all():
        return pixels.codec
    zlib = _any_zlib(source, offsets[~exact], lengths[~exact], pixels.frame_bytes)
    return "zlib" if zlib else pixels.codec


def _any_zlib(source: ByteSource, offsets: NDArray[np.uint64], lengths: NDArray[np.uint64], nbytes: int) -> bool:
    """Return whether a frame is a zlib stream of ``nbytes`` bytes; reads one frame per length."""
    size = np.uint64(source.size)
    inside = lengths <= size - np.minimum(offsets, size)
    lengths, first = np.unique(lengths[inside], return_index=True)
    step = len(lengths) // _MAX_STARTS + 1  # millions of compressed frames have many lengths
    lengths, offsets = lengths[::step], offsets[inside][first[::step]]
    starts = source.read_many([(offset, 2) for offset in offsets.tolist()])
    similar = np.flatnonzero([is_zlib(start) for start in starts])[:_MAX_STREAMS]
    # A stream is at most a little longer than its data.
    stored = np.minimum(lengths[similar], 2 * nbytes + chunks.HEADER_SAMPLE)
    return any(
        inflated_size(source.read(offset, length), nbytes) == nbytes
        for offset, length in zip(offsets[similar].tolist(), stored.tolist(), strict=True)
    )


def _any_overlap_next(chunk_map: chunks.ChunkMap, nbytes: int) -> NDArray[np.bool_]:
    """Return which frames overlap the next chunk if all have chunks of ``nbytes`` bytes."""
    starts = chunk_map.starts
    gaps = np.diff(starts)
    # In a sound file, only the few chunks that are not frames are so short.
    short = starts[:-1][(gaps < nbytes) & (gaps > 0)]
    # Not setdiff1d: it imports numpy.ma, which takes longer than opening a file.
    others = np.sort(np.array([0, *(at for at, _ in chunk_map.others.values())], np.uint64))
    short = short[others[others.searchsorted(short, "right") - 1] != short]
    if not len(short):
        return np.zeros(len(chunk_map.frame_position), bool)
    return np.isin(chunk_map.frame_position, short)


def _overlap_next(chunk_map: chunks.ChunkMap, nbytes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which frames overlap the next chunk, given the length of each chunk."""
    position, starts = chunk_map.frame_position, chunk_map.starts
    order = np.argsort(position, kind="stable")  # quick: the map has them in long runs
    place = position[order]
    following = starts[np.minimum(starts.searchsorted(place, "right"), len(starts) - 1)]
    overlap = np.empty(len(position), bool)
    overlap[order] = (following > place) & (following - place < nbytes[order])
    return overlap


def _reconcile(
    source: ByteSource, chunk_map: chunks.ChunkMap, headers: list[chunks.ChunkHeader], map_size: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return start and length of the data of frames by their headers, which may be damaged.

    A header is wrong if the next chunk starts before its data end, or if its data start off the page and
    those of most frames start on one. It is doubtful if no other header has the same start or the same
    padding of the name. Then the usual start and the length in the map count, if they lead to the next
    chunk and, for a doubtful header, its bytes agree. Otherwise the next chunk ends the frame.
    """
    position = np.array([header.position for header in headers], np.uint64)
    start = np.array([header.data_offset - header.position for header in headers], np.uint64)
    length = np.array([header.data_length for header in headers], np.uint64)
    names = np.array([len(header.name) for header in headers], np.uint64)
    room = _room(source, chunk_map, position)
    fits = (start <= room) & (length <= room - np.minimum(start, room))
    starts, counts = np.unique(start[fits], return_counts=True)
    common = starts[counts == counts.max(initial=0)]
    alone = len(headers) == 1 or not len(common)
    usual = _PADDED_START if alone or _PADDED_START in common else int(common[0])
    padded = 2 * int(counts[starts == _PADDED_START].sum()) > len(headers)
    doubtful = ~(_repeated(start) | _repeated(start - names))
    wrong = ~fits | ((start != usual) & (padded | doubtful))
    size = np.where(map_size == position, length, map_size)
    for k in np.flatnonzero(wrong).tolist():
        header, space, nbytes = headers[k], int(room[k]), int(size[k])
        if space - chunks.PAGE < usual + nbytes <= space:
            beyond = int(start[k]) + nbytes > space
            if padded or beyond or _starts_at(source, header, usual, nbytes):
                start[k], length[k] = usual, nbytes
            elif not fits[k]:
                length[k] = nbytes
        elif not fits[k] and source.read(header.position + space, 4) == chunks.MAGIC_BYTES:
            start[k] = min(int(start[k]), space)
            length[k] = space - int(start[k])
    return start, length


def _repeated(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which values occur more than once."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return counts[group] > 1


def _starts_at(source: ByteSource, header: chunks.ChunkHeader, start: int, nbytes: int) -> bool:
    """Return whether data start elsewhere than the header states, as the padding before and after them is zero."""
    if start < chunks.HEADER.size + len(header.name):
        return False
    place = header.position + start
    first, last = sorted((header.data_offset, place))
    spans = [(at, last - first) for at in (first, first + nbytes)]
    before, after = map(any, source.read_many(spans))
    return place == first if before else place == last or not after


def _room(source: ByteSource, chunk_map: chunks.ChunkMap, position: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the number of bytes from each chunk to the next one, or to the end of the file."""
    edges = np.append(chunk_map.starts, np.uint64(source.size))
    following = edges[np.minimum(edges.searchsorted(position, "right"), len(edges) - 1)]
    return np.maximum(following, position) - position


def _read_sample_header(source: ByteSource, chunk_map: chunks.ChunkMap) -> chunks.ChunkHeader | None:
    """Return the header of a frame, by preference the first, whose lengths are those of all frames.

    It agrees with the map and with the next chunk, and its pixels start on a page. None without such a frame.
    """
    position = chunk_map.frame_position
    for k in _sample_order(position):
        place, size = int(position[k]), int(chunk_map.frame_size[k])
        with suppress(ValueError):
            [header] = _frame_headers(source, [place], [int(chunk_map.frame_index[k])])
            used, room = header.end - place, int(_room(source, chunk_map, position[k : k + 1])[0])
            agrees = size in (header.data_length, place) and room - chunks.PAGE < used <= room
            if (header.data_offset + chunks.TIMESTAMP) % chunks.PAGE:
                if agrees:
                    return None
            elif agrees:
                return header
    return None


def _sample_order(position: NDArray[np.uint64]) -> Iterator[int]:
    """Yield the first frame in the file, then four others, spread over the file."""
    yield int(position.argmin())
    order = np.argsort(position, kind="stable")
    yield from order[np.unique(np.linspace(0, len(order) - 1, 5).astype(int))[1:]].tolist()


def _frame_headers(source: ByteSource, positions: list[int], frames: list[int]) -> list[chunks.ChunkHeader]:
    """Read and check the headers of some frames' chunks."""
    for position, frame in zip(positions, frames, strict=True):
        if position + chunks.HEADER.size > source.size:
            raise errors.corrupt(
                f"the frame's chunk is beyond the file's end at {source.size}",
                path=source.url,
                frame=frame,
                offset=position,
            )
    spans = [(position, min(chunks.HEADER_SAMPLE, source.size - position)) for position in positions]
    return [
        chunks.parse_named_header(data, position, chunks.frame_name(frame), path=source.url, frame=frame)
        for position, frame, data in zip(positions, frames, source.read_many(spans), strict=True)
    ]
