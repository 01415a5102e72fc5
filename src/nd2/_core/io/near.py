"""What sources have in common whose reads cost little: nothing is fetched ahead, nothing is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nd2._core.io.source import Span


class CheapReads:
    """Bytes that are at hand."""

    max_gap = 16 * 1024
    concurrent = False

    if TYPE_CHECKING:
        # what the source that this is part of has

        @property
        def size(self) -> int: ...

        def read(self, offset: int, nbytes: int) -> bytes: ...

        def read_into(self, targets: Sequence[tuple[int, memoryview]]) -> None: ...

    def read_many(self, spans: Sequence[Span]) -> list[bytes]:
        """Read several ranges, one after the other."""
        return [self.read(offset, nbytes) for offset, nbytes in spans]

    async def read_into_async(self, targets: Sequence[tuple[int, memoryview]]) -> None:
        """Fill the buffers in another thread."""
        import asyncio

        await asyncio.to_thread(self.read_into, targets)

    def start(self, nbytes: int) -> bytes:
        """Read the first bytes, fewer if the file is shorter."""
        return self.read(0, min(nbytes, self.size))

    def prefetch(self, spans: Sequence[Span]) -> None:
        """Do nothing: a read costs little here."""

    def keep(self, blocks: Sequence[tuple[int, bytes]]) -> None:
        """Do nothing: the file itself is at hand."""
