"""The chunks of a modern file by name: their checked headers, their data, their decoded content.

A chunk file reads the chunk map of the file. Subclasses have another map for files that cannot be trusted:
`readers.validation` checks the position of each chunk, `readers.rescue` scans the file for chunks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.chunks import attributes, experiment, picture_metadata, texts
from nd2._core.format import chunks, clx_lite
from nd2._core.values import cached_property, record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nd2._core.format.pixels import PixelLayout
    from nd2._core.frames.read import Frames
    from nd2._core.io import ByteSource

OPENING = (*attributes.NAMES, *experiment.NAMES, *picture_metadata.NAMES, *texts.NAMES)
"""Chunks that opening a file reads."""
_MAX_SINGLE_READ = 1 << 16
"""A chunk of up to this many bytes is read at once: header, padded name field and data."""
_MAP_REQUEST = 8 << 20
"""Minimum bytes of the chunk map that are read at once from a source with slow requests."""
RESCUE_HINT = "rescue=True or the command 'nd2 rescue' finds what is left of a damaged file"
_MAX_NAME_FIELD = 3 * chunks.PAGE
"""Longest name field: the name, the reserve, and the padding of up to two pages."""


def read_header(data: bytes, position: int, name: bytes, source: ByteSource) -> chunks.ChunkHeader:
    """Decode a header like `chunks.parse_named_header`, of a chunk that must end within the file."""
    header = chunks.parse_named_header(data, position, name, path=source.url)
    if header.end > source.size:
        raise errors.corrupt(
            f"the chunk's {header.data_length} bytes end beyond the file's end at {source.size}",
            path=source.url,
            chunk=name,
            offset=position,
        )
    return header


@record
class ChunkAddress:
    """Where one chunk is. It pickles small, and reads in other processes."""

    source: ByteSource
    name: bytes
    position: int
    size: int
    """Length of its data in bytes, according to the chunk map."""
    extent: int
    """Maximum bytes from its header to the next chunk, whatever the length of the name field."""

    @property
    def has_size(self) -> bool:
        """Whether the chunk map has the length; some maps repeat the position instead."""
        return self.size != self.position

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Read the data from byte ``start`` up to ``stop`` (by default all) of a chunk."""
        stop = self.size if stop is None else stop
        whole = self.extent <= _MAX_SINGLE_READ or 2 * (stop - start) > self.extent
        nbytes = min(self.extent, chunks.HEADER.size + len(self.name))
        data = self.source.read(self.position, self.extent if whole else nbytes)
        header = read_header(data, self.position, self.name, self.source)
        first = header.data_offset + start
        last = max(min(header.data_offset + stop, header.end), first)
        if whole and last <= self.position + len(data):
            return data[first - self.position : last - self.position]
        return self.source.read(first, last - first)


def read_map(source: ByteSource) -> chunks.ChunkMap:
    """Read the chunk map of a file, unchanged."""
    try:
        return read_map_chunk(source, read_map_position(source))
    except errors.CorruptFileError as error:
        raise errors.corrupt(
            f"{error.bare}; {RESCUE_HINT}", path=source.url, chunk=chunks.MAP_NAME, offset=error.offset
        ) from error


def read_map_position(source: ByteSource, slack: int = 0) -> int:
    """Read the position of the chunk map from the end of a file; see `parse_tail` for ``slack``."""
    size = min(chunks.TAIL.size, source.size)
    tail = source.read(source.size - size, size)
    return chunks.parse_tail(tail, source.size, path=source.url, slack=slack)


def read_map_chunk(source: ByteSource, position: int) -> chunks.ChunkMap:
    """Read the map whose chunk starts at a position."""
    source.prefetch([(position, source.size - position)])
    nbytes = min(chunks.HEADER.size + len(chunks.MAP_NAME), max(source.size - position, 0))
    header = read_header(source.read(position, nbytes), position, chunks.MAP_NAME, source)
    data = _Window(source, header.data_offset, header.data_length)
    return chunks.parse_map(data, position, path=source.url)


class _Window:
    """Bytes of a file by slices in ascending order, of which a part is in memory."""

    def __init__(self, source: ByteSource, offset: int, nbytes: int) -> None:
        self._source, self._offset, self._nbytes = source, offset, nbytes
        self._data, self._start = b"", 0
        self._least = _MAP_REQUEST if source.concurrent else 0

    def __len__(self) -> int:
        return self._nbytes

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._nbytes)
        if not self._start <= start <= stop <= self._start + len(self._data):
            self._start, nbytes = start, min(max(stop - start, self._least), self._nbytes - start)
            self._data = self._source.read(self._offset + start, nbytes)
        return self._data[start - self._start : stop - self._start]


def empty_map() -> chunks.ChunkMap:
    """Return the chunk map of a file without chunks."""
    none = np.zeros(0, np.uint64)
    return chunks.ChunkMap(none.view(np.int64), none, none, {}, 0)


class ChunkFile:
    """Reads the chunks of one file on request; reads the chunk map on first use, unless it is given."""

    def __init__(self, source: ByteSource, chunk_map: chunks.ChunkMap | None = None) -> None:
        self.source = source
        if chunk_map is not None:
            self.chunk_map = chunk_map

    @cached_property
    def chunk_map(self) -> chunks.ChunkMap:
        """Where every chunk is."""
        return read_map(self.source)

    @property
    def names(self) -> list[bytes]:
        """Names of all chunks except the frames and the file's signature, sorted."""
        return sorted(self.chunk_map.others.keys() - {chunks.FILE_SIGNATURE})

    def locate_frames(self, count: int, pixels: PixelLayout) -> Frames:
        """Find the stored bytes of the first ``count`` frames."""
        from nd2._core.readers.frame_table import locate_frames

        return locate_frames(self.source, self.chunk_map, count, pixels)

    def chunk(self, name: bytes) -> bytes | None:
        """Return the data of a chunk, or None if the file does not have it."""
        return self.chunk_many([name])[0]

    def chunk_many(self, names: Iterable[bytes]) -> list[bytes | None]:
        """Return the data of several chunks with one call to the source; None for those it does not have."""
        names = list(names)
        data = self.read_spans(self.spans(names))
        return [data.get(name) for name in names]

    def spans(self, names: Iterable[bytes]) -> dict[bytes, tuple[int, int]]:
        """Return position and number of bytes to read for each chunk that the file has."""
        others = self.chunk_map.others
        return {name: (others[name][0], self._extent(name)) for name in names if name in others}

    def read_spans(self, spans: Mapping[bytes, tuple[int, int]]) -> dict[bytes, bytes]:
        """Return the data of chunks with one call to the source."""
        data = self.source.read_many(list(spans.values()))
        return {
            name: self._payload(name, position, part)
            for (name, (position, _)), part in zip(spans.items(), data, strict=True)
        }

    def _extent(self, name: bytes) -> int:
        """Return how much to read for a chunk, whose name field is of unknown length: to the next chunk at most."""
        position, size = self.chunk_map.others[name]
        left = self.source.size - position
        if left < chunks.HEADER.size:
            raise errors.corrupt(
                f"the chunk's stated position is beyond the file's end at {self.source.size}",
                path=self.source.url,
                chunk=name,
                offset=position,
            )
        return min(self.chunk_map.room(position), _MAX_NAME_FIELD + size, left)

    def _payload(self, name: bytes, position: int, data: bytes) -> bytes:
        header = read_header(data, position, name, self.source)
        start = header.data_offset - position
        if start + header.data_length > len(data):  # the map's size is wrong: the header's counts
            return self.source.read(header.data_offset, header.data_length)
        return data[start : start + header.data_length]

    def address(self, name: str) -> ChunkAddress | None:
        """Return the address of a chunk (without ``!``), which reads it without this object; None without the chunk."""
        key = f"{name}!".encode()
        if key not in self.chunk_map.others:
            return None
        position, size = self.chunk_map.others[key]
        return ChunkAddress(self.source, key, position, size, self._extent(key))

    def decode(
        self,
        name: bytes,
        data: bytes,
        *,
        strip_prefix: bool = False,
        partial: clx_lite.Parts | None = None,
        budget: clx_lite.Budget | None = None,
    ) -> dict[str, Any]:
        """Decode a metadata chunk, binary or XML; of the binary form only parts of some levels."""
        try:
            if clx_lite.is_xml(data):
                from nd2._core.format import clx_xml

                return clx_xml.decode(data, strip_prefix=strip_prefix)
            return clx_lite.decode(data, strip_prefix=strip_prefix, partial=partial, budget=budget)
        except ValueError as error:
            return self._damaged(name, error)

    def _damaged(self, name: bytes, error: ValueError) -> dict[str, Any]:
        """Return the content of a chunk that cannot be decoded."""
        raise errors.corrupt_in(error, path=self.source.url, chunk=name) from error

    def tree(self, name: bytes, *, strip_prefix: bool = False) -> dict[str, Any] | None:
        """Read and decode a metadata chunk; None if it is absent or empty."""
        data = self.chunk(name)
        return self.decode(name, data, strip_prefix=strip_prefix) if data else None
