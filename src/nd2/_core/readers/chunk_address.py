"""Headers of chunks, checked; and addresses, which read a chunk later, when the reader is gone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nd2._core import errors
from nd2._core.format import chunks
from nd2._core.values import record

if TYPE_CHECKING:
    from nd2._core.io import ByteSource

HEADER_SAMPLE = 64
"""Bytes of a frame's chunk that hold its header and its name, but not the padding of the name field."""
_MAX_SINGLE_READ = 1 << 16
"""A chunk of up to this many bytes is read at once: header, padded name field and data."""


RESCUE_HINT = "rescue=True or the command 'nd2 rescue' finds what is left of a damaged file"
_SEARCH_HINT = "validate_frames=True searches for moved chunks, rescue=True scans a damaged file"


def parse_named_header(
    data: bytes, position: int, name: bytes, source: ByteSource, *, frame: int | None = None
) -> chunks.ChunkHeader:
    """Decode the header of a chunk that must have a certain name (with ``!``); errors name the place."""
    try:
        header = chunks.parse_header(data, position)
    except ValueError as error:
        bare = error.bare if isinstance(error, errors.CorruptFileError) else str(error)
        raise errors.corrupt(
            f"{bare}; {_SEARCH_HINT}", path=source.url, chunk=name, frame=frame, offset=position
        ) from error
    if header.name != name:
        raise errors.corrupt(
            f"another chunk is here: {header.name!r}; {_SEARCH_HINT}",
            path=source.url,
            chunk=name,
            frame=frame,
            offset=position,
        )
    return header


def read_header(data: bytes, position: int, name: bytes, source: ByteSource) -> chunks.ChunkHeader:
    """Decode a header like `parse_named_header`, of a chunk that must end within the file."""
    header = parse_named_header(data, position, name, source)
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
    """Where one chunk is. It pickles small, and reads in other processes.

    Attributes
    ----------
    size : int
        Length of its data in bytes, according to the chunk map.
    extent : int
        Maximum bytes from its header to the next chunk. They include the data, whatever the length of the name field.
    """

    source: ByteSource
    name: bytes
    position: int
    size: int
    extent: int

    def with_source(self, source: ByteSource) -> ChunkAddress:
        """Return the same address in another source of the same bytes."""
        return replace(self, source=source)

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
