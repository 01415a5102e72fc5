"""Chunks that are read later: by what was made from a reader, when the reader is gone, in another process too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nd2 import _errors
from nd2._format import chunks

if TYPE_CHECKING:
    from nd2._io import ByteSource

_AT_ONCE = 1 << 16
"""Up to this many bytes a chunk is read in one go: its head, its padded name field, and all of its data."""


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """Address of one chunk; it pickles small and reads when it is asked to.

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

    def over(self, source: ByteSource) -> StoredChunk:
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
        head = min(self.extent, chunks.HEADER.size + len(self.name))
        data = self.source.read(self.position, self.extent if whole else head)
        try:
            header = chunks.parse_header(data, self.position)
        except ValueError as error:
            raise _errors.corrupt_in(error, path=self.source.url, chunk=self._text) from error
        if header.name != self.name:
            raise self._error(f"another chunk stands here: {header.name!r}")
        if header.end > self.source.size:
            raise self._error(
                f"the chunk's {header.data_length} bytes end beyond the file's end at {self.source.size}"
            )
        first = header.data_offset + start
        last = max(min(header.data_offset + stop, header.end), first)
        if whole and last <= self.position + len(data):
            return data[first - self.position : last - self.position]
        return self.source.read(first, last - first)

    @property
    def _text(self) -> str:
        return self.name.decode("ascii", "replace")

    def _error(self, message: str) -> _errors.CorruptFileError:
        return _errors.corrupt(
            message, path=self.source.url, chunk=self._text, offset=self.position
        )
