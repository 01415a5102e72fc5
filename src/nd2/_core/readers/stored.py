"""Chunks where they are stored: their heads, checked; and those that are read later, when the reader is gone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nd2._core import errors
from nd2._core.format import chunks

if TYPE_CHECKING:
    from nd2._core.io import ByteSource

_AT_ONCE = 1 << 16
"""Up to this many bytes a chunk is read in one go: its head, its padded name field, and all of its data."""


def parse_named_header(
    data: bytes, position: int, name: bytes, source: ByteSource, *, frame: int | None = None
) -> chunks.ChunkHeader:
    """Decode the head of a chunk whose name is known.

    Parameters
    ----------
    data : bytes
        The first bytes of the chunk, its name included.
    position : int
        Where they stand in the file.
    name : bytes
        Name that the chunk must have, with its ``!``.
    source : ByteSource
        The file, for errors.
    frame : int, optional
        Sequence index, if it is a frame, for errors.

    Raises
    ------
    ValueError
        If no chunk starts here, or another one; the message names file, chunk, frame and offset.
    """
    try:
        head = chunks.parse_header(data, position)
    except ValueError as error:
        raise errors.corrupt_in(error, path=source.url, chunk=name, frame=frame) from error
    if head.name != name:
        raise errors.corrupt(
            f"another chunk stands here: {head.name!r}",
            path=source.url,
            chunk=name,
            frame=frame,
            offset=position,
        )
    return head


def read_header(data: bytes, position: int, name: bytes, source: ByteSource) -> chunks.ChunkHeader:
    """Decode a head as `parse_named_header` does, of a chunk that must end within the file."""
    head = parse_named_header(data, position, name, source)
    if head.end > source.size:
        raise errors.corrupt(
            f"the chunk's {head.data_length} bytes end beyond the file's end at {source.size}",
            path=source.url,
            chunk=name,
            offset=position,
        )
    return head


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """Address of one chunk; it pickles small and reads when it is asked to, in another process too.

    Attributes
    ----------
    source : ByteSource
        The file.
    name : bytes
        Name of the chunk, with its ``!``.
    position : int
        Where its head starts.
    size : int
        Length of its data in bytes, as the chunk map has it.
    extent : int
        Bytes from its head to the next chunk at most: what holds the data, whatever the length of the name field.
    """

    source: ByteSource
    name: bytes
    position: int
    size: int
    extent: int

    def with_source(self, source: ByteSource) -> StoredChunk:
        """Return the same chunk of another source of the same bytes."""
        return replace(self, source=source)

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Read the data from byte ``start`` up to ``stop`` (by default all), as far as the chunk has them.

        Raises
        ------
        ValueError
            If another chunk stands there, or the file ends within this one.
        """
        stop = self.size if stop is None else stop
        whole = self.extent <= _AT_ONCE or 2 * (stop - start) > self.extent
        nbytes = min(self.extent, chunks.HEADER.size + len(self.name))
        data = self.source.read(self.position, self.extent if whole else nbytes)
        head = read_header(data, self.position, self.name, self.source)
        first = head.data_offset + start
        last = max(min(head.data_offset + stop, head.end), first)
        if whole and last <= self.position + len(data):
            return data[first - self.position : last - self.position]
        return self.source.read(first, last - first)
