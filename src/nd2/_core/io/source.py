"""The first bytes of ND2 files, and the abstract base of byte sources, the first of the package's three seams."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from nd2._core import errors

if TYPE_CHECKING:
    from collections.abc import Sequence


MAGIC = 0x0ABECEDA
MAGIC_BYTES = MAGIC.to_bytes(4, "little")
"""First bytes of every chunk of a modern file, the signature at its start included."""
LEGACY_MAGIC_BYTES = b"\x00\x00\x00\x0c"
"""First bytes of a legacy file: the length of a JPEG 2000 signature box."""


def is_magic(head: bytes) -> bool:
    """Return whether bytes start as an ND2 file does."""
    return head[:4] in (MAGIC_BYTES, LEGACY_MAGIC_BYTES)


Span = tuple[int, int]
"""``(offset, nbytes)`` of a byte range in a file."""


class ByteSource(ABC):
    """Random access to the bytes of one file; safe to use from several threads at once.

    A new kind of source needs `identity`, `read` and `reopen`. The other methods have defaults
    that suit cheap reads: nothing is fetched ahead, nothing is kept.

    A source is pickled as the data that reopen it (a path; a URL with its options), never as an open handle, and
    reopens automatically on the first read after unpickling. All reads are exact: a range that the file
    does not have raises ``SourceError`` (an ``OSError``) instead of returning fewer bytes.
    """

    owns_handle = False
    """Whether a source that is not closed keeps a file open."""
    max_gap = 16 << 10
    """Maximum gap in bytes between two reads that are merged into one."""
    concurrent = False
    """Whether ``read_many`` fetches its ranges at the same time, so that threads add nothing."""

    _closed = False

    @property
    @abstractmethod
    def identity(self) -> tuple[str, int, str]:
        """``(url, size, mtime or ETag)``: changes when the file does; no credentials."""

    @abstractmethod
    def read(self, offset: int, nbytes: int) -> bytes:
        """Read exactly ``nbytes`` bytes at ``offset``."""

    @abstractmethod
    def reopen(self) -> ByteSource:
        """Return an open source for the same bytes, independent of this one being closed."""

    @property
    def url(self) -> str:
        """Path or URL, without credentials; empty for an anonymous file object."""
        return self.identity[0]

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return self.identity[1]

    def check(self, offset: int, nbytes: int) -> None:
        """Refuse bytes that the file does not have, before they are allocated: a damaged file may ask for exabytes."""
        if offset < 0 or nbytes < 0 or offset + nbytes > self.size:
            raise errors.beyond_end(offset, nbytes, self.size, path=self.url)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @property
    def storage_options(self) -> dict[str, Any] | None:
        """Options of the fsspec file system; None without one."""
        return None

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def read_many(self, spans: Sequence[Span]) -> list[bytes]:
        """Read several ranges, in parallel if the source can."""
        return [self.read(offset, nbytes) for offset, nbytes in spans]

    def read_into(self, targets: Sequence[tuple[int, memoryview]]) -> None:
        """Fill each buffer with the bytes at its offset; buffers are contiguous and writable."""
        for offset, buffer in targets:
            view = buffer.cast("B")
            view[:] = self.read(offset, view.nbytes)

    def read_start(self, nbytes: int) -> bytes:
        """Read the first bytes of the file, fewer if it is shorter, in the cheapest way."""
        return self.read(0, min(nbytes, self.size))

    def prefetch(self, spans: Sequence[Span]) -> None:
        """Announce (small) ranges that will be read one by one; a slow source fetches them now."""

    def keep(self, blocks: Sequence[tuple[int, bytes]]) -> None:
        """Take parts of the file, by offset, that are known from elsewhere; a cheap source ignores them."""

    def release(self) -> None:
        """Release the handle and the memory; the next read opens the file again."""

    def settle(self) -> None:
        """Release what is not needed between opening a file and reading its pixels."""
        self.release()

    def close(self) -> None:
        """Release for good; may be called twice. Reading afterwards raises ``ValueError``."""
        self._closed = True
        self.release()
