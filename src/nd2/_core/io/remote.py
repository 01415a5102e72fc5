"""URLs through fsspec: exact byte ranges, many at once, and the file's two ends kept in memory."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.io.ranges import TRANSPORTS
from nd2._core.io.source import ByteSource
from nd2._core.io.transport import AsyncTransport, Transport, Tuning, check_same, plan, protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fsspec.spec import AbstractFileSystem

    from nd2._core.io.source import Span
    from nd2._core.io.transport import Blocks, Stat

# In real files the experiment and the first picture metadata end within the first 40 to 220 KB; the chunk map and the
# other metadata lie within the last 82 to 172 KB.
_HEAD = 224 << 10
_TAIL = 256 << 10
_PAGE = 4096
_PREFETCH_LIMIT = 256 << 20
_KEPT = 1 << 20


class FsspecSource(ByteSource):
    """Bytes of a file that fsspec reaches.

    No request is made before the first read. That one fetches the file's two ends, and with them its
    length and its version (ETag or modification time), against which later reads are checked.
    """

    concurrent = True

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        self._transport = _transport(fs, path)
        self._tuning = Tuning.current()
        self.max_gap = self._tuning.max_gap
        self._stat: Stat | None = None
        self._verified = True
        self._blocks: Blocks = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The URL, with the protocol; without passwords, signatures and tokens."""
        return self._transport.url

    @property
    def identity(self) -> tuple[str, int, str]:
        """``(url, size, ETag or modification time)``."""
        stat = self._known()
        return (self.url, stat.size, stat.version)

    @property
    def storage_options(self) -> dict[str, Any]:
        return dict(self._transport.fs.storage_options)

    def read(self, offset: int, nbytes: int) -> bytes:
        return self.read_many([(offset, nbytes)])[0]

    def read_many(self, spans: Sequence[Span]) -> list[bytes]:
        """Read several ranges in one go, as many at once as the file system allows."""
        self._check(spans)
        if not self._blocks and any(offset == 0 and nbytes for offset, nbytes in spans):
            self._open()  # the signature is read: the file is opened again
        return self._read(spans)

    def read_into(self, targets: Sequence[tuple[int, memoryview]]) -> None:
        flat = [(offset, view.cast("B")) for offset, view in targets]
        self._check([(offset, len(view)) for offset, view in flat])
        self._fill(flat)

    def read_start(self, nbytes: int) -> bytes:
        if self._closed:
            raise errors.closed(self.url)
        if self._stat is not None:
            return self.read(0, min(nbytes, self._stat.size))
        return self._transport.run(self._transport.read_start, nbytes)

    def prefetch(self, spans: Sequence[Span]) -> None:
        size = self.size
        wanted = sorted(
            (offset, min(offset + nbytes, size)) for offset, nbytes in spans if 0 <= offset < size and nbytes > 0
        )
        merged: list[tuple[int, int]] = []
        for start, stop in wanted:
            if self._in_memory(start, stop - start) is not None:
                continue
            if merged and start - merged[-1][1] <= self.max_gap:
                merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
            else:
                merged.append((start, stop))
        if sum(stop - start for start, stop in merged) > _PREFETCH_LIMIT:
            return
        parts = [self._to_kept_block(*span) for span in merged]
        data = self._read([(start, stop - start) for start, stop, _ in parts])
        self.keep([(start, head + rest) for (start, _, rest), head in zip(parts, data, strict=True)])

    def keep(self, blocks: Sequence[tuple[int, bytes]]) -> None:
        self._blocks = [*self._blocks, *blocks]

    def _to_kept_block(self, start: int, stop: int) -> tuple[int, int, bytes]:
        """Return the part of a range that still has to be read, and its end as far as it is in memory."""
        for begin, data in self._blocks:
            if start < begin < stop <= begin + len(data):
                return start, begin, data[: stop - begin]
        return start, stop, b""

    def _read(self, spans: Sequence[Span]) -> list[bytes]:
        buffers = [bytearray(nbytes) for _, nbytes in spans]
        self._fill([(offset, memoryview(b)) for (offset, _), b in zip(spans, buffers, strict=True)])
        return [bytes(buffer) for buffer in buffers]

    def _known(self) -> Stat:
        """Return length and version; the first time, the file's two ends are read with them."""
        if self._stat is None:
            with self._lock:
                if self._stat is None:
                    # If the metadata is known, one page shows whether the end of the file changed.
                    return self._read_ends(*((0, _PAGE) if self._blocks else (_HEAD, _TAIL)))
        return self._stat

    def _open(self) -> None:
        """Read the file's two ends, for the metadata in them or because the server sends only the whole file."""
        with self._lock:
            if not self._blocks:
                self._read_ends(_HEAD, _TAIL)

    def _read_ends(self, head: int, tail: int) -> Stat:
        if self._closed:
            raise errors.closed(self.url)
        stat, blocks = self._transport.run(self._transport.ends, head, tail)
        if self._stat is not None:
            check_same(self._stat, stat, self.url)
        self._blocks = [*self._blocks, *blocks]
        self._stat, self._verified = stat, True
        return stat

    def _in_memory(self, offset: int, nbytes: int) -> bytes | None:
        for start, data in self._blocks:
            if start <= offset and offset + nbytes <= start + len(data):
                return data[offset - start : offset - start + nbytes]
        return None

    def _fill(self, targets: Sequence[tuple[int, memoryview]]) -> None:
        """Fill buffers of bytes from memory, or by requests."""
        if not self._known().ranges and not self._blocks:
            self._open()
        absent = []
        for offset, view in targets:
            data = self._in_memory(offset, len(view)) if self._blocks else None
            if data is None:
                absent.append((offset, view))
            else:
                view[:] = data
        requests = plan(absent, self._tuning)
        if requests:
            self._transport.run(self._transport.fetch, requests, self._checked_stat())

    def _check(self, spans: Sequence[Span]) -> None:
        if self._closed:
            raise errors.closed(self.url)
        size = self.size  # once: there may be a million ranges
        for offset, nbytes in spans:
            if offset < 0 or nbytes < 0 or offset + nbytes > size:
                raise errors.beyond_end(offset, nbytes, size, path=self.url)

    def _checked_stat(self) -> Stat:
        """Return length and version; after unpickling, check them once if responses do not include them."""
        stat = self._known()
        if not self._verified and not self._transport.verifies:
            check_same(stat, self._transport.run(self._transport.stat), self.url)
        self._verified = True
        return stat

    def release(self) -> None:
        self._blocks = []

    def settle(self) -> None:
        # Coordinates are in the parts that are kept.
        whole = self._stat is not None and not self._stat.ranges
        self._blocks = [block for block in self._blocks if whole or len(block[1]) <= _KEPT]

    def reopen(self) -> FsspecSource:
        new = object.__new__(FsspecSource)
        new.__dict__.update(self.__dict__, _closed=False, _lock=threading.Lock())
        new.settle()
        return new

    def __getstate__(self) -> dict[str, Any]:
        fs, path = self._transport.fs, self._transport.path
        return {"fs": fs, "path": path, "stat": self._stat, "tuning": self._tuning}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._transport = _transport(state["fs"], state["path"])
        self._stat, self._tuning = state["stat"], state["tuning"]
        self.max_gap = self._tuning.max_gap
        self._verified, self._blocks = False, []
        self._lock = threading.Lock()


def _transport(fs: AbstractFileSystem, path: str) -> Transport:
    """Choose how requests are made."""
    own: Callable[[Any, str], Transport | None] | None = getattr(type(fs), "nd2_transport", None)
    if own is not None and (transport := own(fs, path)) is not None:
        return transport
    special = TRANSPORTS.get(f"{type(fs).__module__}.{type(fs).__name__}")
    if special is not None:
        with suppress(ImportError):  # another version of s3fs
            return special(fs, path)
    concurrent = fs.async_impl and protocol(fs) != "simplecache"  # which downloads the file once
    return AsyncTransport(fs, path) if concurrent else Transport(fs, path)
