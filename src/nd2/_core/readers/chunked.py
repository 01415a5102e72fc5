"""Access to the chunks of a modern file by their names: where they are, their data, their decoded content."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.format import chunks, clx_lite, clx_xml
from nd2._core.readers.base import BaseReader
from nd2._core.readers.stored import StoredChunk, read_header

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

_NAME_FIELD = 3 * chunks.PAGE
"""The most that a name field takes: the name, the reserve, and the padding of up to two pages."""


class ChunkedReader(BaseReader):
    """Reads the chunks of one file when they are asked for."""

    @cached_property
    def chunk_map(self) -> chunks.ChunkMap:
        """Where every chunk is."""
        source, path = self.source, self.source.url
        size = min(chunks.TAIL.size, source.size)
        position = chunks.parse_tail(source.read(source.size - size, size), source.size, path=path)
        source.prefetch([(position, source.size - position)])
        return self._map_at(position)

    def _map_at(self, position: int) -> chunks.ChunkMap:
        """Read the map whose chunk starts at a position."""
        source, name = self.source, chunks.MAP_NAME
        nbytes = min(chunks.HEADER.size + len(name), max(source.size - position, 0))
        head = read_header(source.read(position, nbytes), position, name, source)
        data = source.read(head.data_offset, head.data_length)
        return chunks.parse_map(data, position, path=source.url)

    def chunk(self, name: bytes) -> bytes | None:
        """Return the data of a chunk, or None if the file does not have it.

        Raises
        ------
        ValueError
            If the chunk is not where the map says.
        """
        return self.chunk_many([name])[0]

    def chunk_many(self, names: Sequence[bytes]) -> list[bytes | None]:
        """Return the data of several chunks with one call to the source; None for those that are not there."""
        payloads = self._payloads(self._spans(names))
        return [payloads.get(name) for name in names]

    def _spans(self, names: Iterable[bytes]) -> dict[bytes, tuple[int, int]]:
        """Return where to read those chunks that the file has: position, and number of bytes."""
        others = self.chunk_map.others
        return {name: (others[name][0], self._extent(name)) for name in names if name in others}

    def _payloads(self, spans: Mapping[bytes, tuple[int, int]]) -> dict[bytes, bytes]:
        """Return the data of chunks with one call to the source."""
        data = self.source.read_many(list(spans.values()))
        return {
            name: self._payload(name, position, part)
            for (name, (position, _)), part in zip(spans.items(), data, strict=True)
        }

    def _extent(self, name: bytes) -> int:
        """Return how much to read for a chunk, whose name field is of unknown length: up to the next chunk at most."""
        position, size = self.chunk_map.others[name]
        left = self.source.size - position
        if left < chunks.HEADER.size:
            raise errors.corrupt(
                f"the chunk is said to lie beyond the file's end at {self.source.size}",
                path=self.source.url,
                chunk=name,
                offset=position,
            )
        return min(self.chunk_map.room(position), _NAME_FIELD + size, left)

    def _payload(self, name: bytes, position: int, data: bytes) -> bytes:
        head = read_header(data, position, name, self.source)
        start = head.data_offset - position
        if start + head.data_length > len(data):  # the map's size was wrong: the head's counts
            return self.source.read(head.data_offset, head.data_length)
        return data[start : start + head.data_length]

    def stored(self, name: str) -> StoredChunk | None:
        """Return the address of a chunk, which reads it later, without this reader; None if the file does not have it."""
        key = f"{name}!".encode()
        if key not in self.chunk_map.others:
            return None
        position, size = self.chunk_map.others[key]
        return StoredChunk(self.source, key, position, size, self._extent(key))

    def decode(
        self,
        name: bytes,
        data: bytes,
        *,
        strip_prefix: bool = False,
        without: Collection[str] = (),
    ) -> dict[str, Any]:
        """Decode a metadata chunk, binary or XML; the binary form without the levels of some names.

        Raises
        ------
        ValueError
            If it is neither, or damaged; the message names file and chunk.
        """
        try:
            if clx_xml.is_xml(data):
                return clx_xml.decode(data, strip_prefix=strip_prefix)
            return clx_lite.decode(data, strip_prefix=strip_prefix, without=without)
        except ValueError as error:
            raise errors.corrupt_in(error, path=self.source.url, chunk=name) from error
