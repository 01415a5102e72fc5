"""The protocol of a byte source, the first of the package's three seams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

Span = tuple[int, int]
"""``(offset, nbytes)`` of a byte range in a file."""


class ByteSource(Protocol):
    """Random access to the bytes of one file; safe to use from several threads at once.

    A source pickles by what reopens it (a path; a URL with its options), never by an open handle, and reopens by
    itself on the first read after unpickling. All reads are exact: a range that the file does not have raises
    ``SourceError`` (an ``OSError``) instead of returning fewer bytes.
    """

    @property
    def url(self) -> str:
        """Path or URL, without credentials; empty for an anonymous file object."""

    @property
    def size(self) -> int:
        """Length of the file in bytes."""

    @property
    def identity(self) -> tuple[str, int, str]:
        """``(url, size, mtime or ETag)``: changes when the file does; no credentials."""

    @property
    def max_gap(self) -> int:
        """Distance in bytes up to which two reads are better done as one."""

    @property
    def concurrent(self) -> bool:
        """Whether ``read_many`` fetches its ranges at the same time, so that threads would add nothing."""

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""

    def read(self, offset: int, nbytes: int) -> bytes:
        """Read exactly ``nbytes`` bytes at ``offset``."""

    def read_many(self, spans: Sequence[Span]) -> list[bytes]:
        """Read several ranges, at once where the source can."""

    def read_into(self, targets: Sequence[tuple[int, memoryview]]) -> None:
        """Fill each buffer with the bytes at its offset; the buffers are contiguous and writable."""

    async def read_into_async(self, targets: Sequence[tuple[int, memoryview]]) -> None:
        """Do as `read_into` does, without blocking the event loop."""

    def start(self, nbytes: int) -> bytes:
        """Read the first bytes of the file, fewer if it is shorter, in the cheapest way."""

    def prefetch(self, spans: Sequence[Span]) -> None:
        """Take note that these (small) ranges are going to be read one by one; keeps them where reading is slow."""

    def keep(self, blocks: Sequence[tuple[int, bytes]]) -> None:
        """Take parts of the file, by offset, that are known from elsewhere; where reading is cheap they are ignored."""

    def release(self) -> None:
        """Give back the handle and what is kept in memory; the next read takes them again."""

    def close(self) -> None:
        """Release for good; may be called twice. Reading afterwards raises ``ValueError``."""

    def reopened(self) -> ByteSource:
        """Return an open source for the same bytes, independent of this one being closed."""
