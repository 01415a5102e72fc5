"""Where the pixels of every frame of a modern file are: by the chunk map, and as few headers as possible."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nd2._core import errors
from nd2._core.format import chunks
from nd2._core.frames.read import Frames
from nd2._core.frames.table import FrameTable
from nd2._core.readers.chunk_address import parse_named_header

if TYPE_CHECKING:
    from nd2._core.format.pixels import PixelLayout
    from nd2._core.io import ByteSource

HEADER_SAMPLE = 64
"""Bytes of a frame's chunk that hold its header and its name, but not the padding of the name field."""


def locate_frames(
    source: ByteSource, chunk_map: chunks.ChunkMap, count: int, pixels: PixelLayout
) -> Frames:
    """Find the stored bytes of the first ``count`` frames.

    The map gives the chunks' positions. The length of the name field is in each chunk's header only.
    NIS-Elements pads it so that pixels start 4096 bytes after the chunk: if this holds for the first
    frame, it holds for all. Otherwise every header is read.
    """
    position, size, index = (
        chunk_map.frame_position,
        chunk_map.frame_size,
        chunk_map.frame_index,
    )
    if not len(index):
        return Frames(source, FrameTable(*np.zeros((2, 0), np.uint64)), pixels)
    header = _read_sample_header(source, chunk_map)
    if (header.data_offset + chunks.TIMESTAMP) % chunks.PAGE:
        ask = np.ones(len(index), bool)
    elif pixels.codec == "raw":
        # Every raw frame is as long as the sample; where the map says otherwise, the chunk decides.
        ask = (size != header.data_length) & (size != position)
    else:
        ask = size == position
    data_start = position + np.uint64(header.data_offset - header.position)
    data_size = (
        np.full(len(size), header.data_length, np.uint64) if pixels.codec == "raw" else size.copy()
    )
    asked = np.flatnonzero(ask)
    headers = _frame_headers(source, position[asked].tolist(), index[asked].tolist())
    data_start[asked] = [header.data_offset for header in headers]
    data_size[asked] = [header.data_length for header in headers]
    if pixels.codec == "zlib" and is_raw(source, header, pixels):
        pixels = replace(pixels, codec="raw")
    stamp = np.uint64(chunks.TIMESTAMP)
    table = np.zeros((2, count), np.uint64)
    table[0, index] = data_start + stamp
    table[1, index] = np.maximum(data_size, stamp) - stamp
    return Frames(source, FrameTable(table[0], table[1]), pixels)


def is_raw(source: ByteSource, header: chunks.ChunkHeader, pixels: PixelLayout) -> bool:
    """Return whether frames declared as compressed are not, as happens in files that were edited."""
    if header.data_length != chunks.TIMESTAMP + pixels.frame_bytes:
        return False
    first, second = source.read(header.data_offset + chunks.TIMESTAMP, 2)
    return first & 0x0F != 8 or (first * 256 + second) % 31 != 0


def _read_sample_header(source: ByteSource, chunk_map: chunks.ChunkMap) -> chunks.ChunkHeader:
    """Return the header of the first frame in the file, or of another one if that is damaged."""
    position, index = chunk_map.frame_position, chunk_map.frame_index
    first = int(position.argmin())
    try:
        return _frame_headers(source, [int(position[first])], [int(index[first])])[0]
    except ValueError:
        order = np.argsort(position, kind="stable")
        others = order[np.unique(np.linspace(0, len(order) - 1, 5).astype(int))[1:]].tolist()
        for k in others:
            with suppress(ValueError):
                return _frame_headers(source, [int(position[k])], [int(index[k])])[0]
        raise


def _frame_headers(
    source: ByteSource, positions: list[int], frames: list[int]
) -> list[chunks.ChunkHeader]:
    """Read and check the headers of some frames' chunks."""
    for position, frame in zip(positions, frames, strict=True):
        if position + chunks.HEADER.size > source.size:
            raise errors.corrupt(
                f"the frame's chunk lies beyond the file's end at {source.size}",
                path=source.url,
                frame=frame,
                offset=position,
            )
    spans = [(position, min(HEADER_SAMPLE, source.size - position)) for position in positions]
    return [
        parse_named_header(data, position, chunks.frame_name(frame), source, frame=frame)
        for position, frame, data in zip(positions, frames, source.read_many(spans), strict=True)
    ]
