"""Remote reads: which ranges become one request, and requests through any fsspec file system."""

from __future__ import annotations

import asyncio
import logging
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from nd2._core import errors
from nd2._core.io.faults import explain_faults
from nd2._core.io.urls import redact
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from fsspec.spec import AbstractFileSystem

_T = TypeVar("_T")
logger = logging.getLogger("nd2")

IN_FLIGHT = 128
"""Maximum number of parallel requests, unless fsspec's settings specify another."""
_MIN_IN_FLIGHT = 8
_BUSY = 64 << 20
"""Bytes requested in parallel: more are not faster, and on a slow line requests would time out."""
_PARALLEL = 8
"""Number of requests into which a large read is cut."""
_LEAST = 8 << 20
"""Minimum bytes of a request that is cut from a longer one."""


@record
class Tuning:
    """Settings of remote reads, in fsspec's configuration under ``"nd2"``.

    ``fsspec.config.conf["nd2"] = {"max_gap": 0}``, a file in ``~/.config/fsspec``, or the environment variable
    ``FSSPEC_ND2_MAX_GAP=0``. The values travel with pickled sources.
    """

    max_gap: int = 64 << 10
    """Ranges at most this many bytes apart are read with one request; the bytes between them are discarded.

    About the bandwidth times the latency of a connection, divided by the number of requests in flight.
    """
    max_request: int = 32 << 20
    """Maximum bytes of one request; longer ranges are read with several parallel requests."""

    @classmethod
    def current(cls) -> Tuning:
        """Return the settings that fsspec's configuration has now."""
        from fsspec.config import conf

        found = conf.get("nd2", {})
        values = {name: int(found[name]) for name in cls.__match_args__ if name in found}
        if any(value < (name == "max_request") for name, value in values.items()):
            raise ValueError(f"fsspec's configuration for nd2 is out of range: {values}")
        return cls(**values)


@record
class Request:
    """One range to request, and ``pieces``: offset in the file and buffer (1-D, of bytes) of parts of it, sorted."""

    start: int
    stop: int
    pieces: list[tuple[int, memoryview]]


def plan(targets: Sequence[tuple[int, memoryview]], tuning: Tuning) -> list[Request]:
    """Merge near ranges, given in any order, and cut long ones."""
    total = sum(len(view) for _, view in targets)
    # Large reads are spread over several connections, small ones are not worth cutting.
    block = min(max(total // _PARALLEL, _LEAST), tuning.max_request)
    requests: list[Request] = []
    start = stop = -1
    pieces: list[tuple[int, memoryview]] = []
    for offset, view in _cut(sorted(targets, key=itemgetter(0)), block):
        end = offset + len(view)
        if pieces and 0 <= offset - stop <= tuning.max_gap and end - start <= block:
            pieces.append((offset, view))
        else:
            if pieces:
                requests.append(Request(start, stop, pieces))
            start, pieces = offset, [(offset, view)]
        stop = end
    if pieces:
        requests.append(Request(start, stop, pieces))
    return requests


def _cut(targets: Sequence[tuple[int, memoryview]], block: int) -> Sequence[tuple[int, memoryview]]:
    """Cut buffers that are longer than a block into equal parts."""
    if all(len(view) <= block for _, view in targets):
        return [(offset, view) for offset, view in targets if len(view)]
    parts: list[tuple[int, memoryview]] = []
    for offset, view in targets:
        step = -(-len(view) // (-(-len(view) // block) or 1)) or 1
        parts.extend((offset + k, view[k : k + step]) for k in range(0, len(view), step))
    return parts


class Scatter:
    """Copies the bytes of one response into the buffers of the request, as they arrive."""

    def __init__(self, request: Request, url: str) -> None:
        self._request, self._url = request, url
        self._position = request.start
        self._next = 0

    def feed(self, chunk: bytes) -> None:
        """Copy the next bytes."""
        start = self._position
        end = start + len(chunk)
        if end > self._request.stop:
            raise self._wrong(end - self._request.start, "at least ")
        source, pieces = memoryview(chunk), self._request.pieces
        while self._next < len(pieces):
            offset, view = pieces[self._next]
            stop = offset + len(view)
            first, last = max(offset, start), min(stop, end)
            if first < last:
                view[first - offset : last - offset] = source[first - start : last - start]
            if stop > end:
                break
            self._next += 1
        self._position = end

    def finish(self) -> None:
        """Check that all bytes have arrived."""
        if self._position != self._request.stop:
            raise self._wrong(self._position - self._request.start, "")

    def _wrong(self, got: int, about: str) -> OSError:
        return errors.source(
            f"asked for {self._request.stop - self._request.start} bytes, got {about}{got}; "
            "does the server serve byte ranges, and did the file change?",
            path=self._url,
            offset=self._request.start,
        )


@record
class Stat:
    """Properties of a remote file: its length, its ETag or modification time, whether it serves parts of it."""

    size: int
    version: str
    ranges: bool = True


Blocks = list[tuple[int, bytes]]
"""Parts of a file in memory: offset and bytes."""


class Transport:
    """File systems without coroutines (memory, archives, caches, SFTP ...): one request after the other.

    The coroutines of this class never wait, so that they run without an event loop.
    """

    verifies = False
    """Whether each response has the file's version."""

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        self.fs, self.path = fs, path
        self.raw_url = str(fs.unstrip_protocol(path))
        self.url = redact(self.raw_url)
        self._stat_is_free = protocol(fs) in ("memory", "file", "local")

    def run(self, function: Callable[..., Coroutine[Any, Any, _T]], *arguments: Any) -> _T:
        """Run one of the coroutines below; errors do not show secrets of the URL."""
        with explain_faults(self.raw_url):
            try:
                function(*arguments).send(None)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            raise RuntimeError("the coroutine waits")

    async def stat(self) -> Stat:
        """Ask for length and version."""
        return parse_info(self.fs.info(self.path), self.url)

    async def ends(self, head: int, tail: int) -> tuple[Stat, Blocks]:
        """Read length, version, and the file's two ends."""
        stat = await self.stat()
        parts = [(start, bytearray(stop - start)) for start, stop in end_spans(stat.size, head, tail)]
        requests = [Request(at, at + len(part), [(at, memoryview(part))]) for at, part in parts]
        await self.fetch(requests, stat)
        return stat, [(at, bytes(part)) for at, part in parts]

    async def read_start(self, nbytes: int) -> bytes:
        """Read the first bytes of the file, fewer if it is shorter."""
        return await self._cat(0, nbytes)

    async def fetch(self, requests: Sequence[Request], expected: Stat) -> None:
        """Make requests, which fill the buffers of their pieces."""
        for request in requests:
            await self._fetch_one(request, expected)
        if self._stat_is_free:
            check_same(expected, await self.stat(), self.url)

    async def _fetch_one(self, request: Request, expected: Stat) -> None:
        scatter = Scatter(request, self.url)
        scatter.feed(await self._cat(request.start, request.stop))
        scatter.finish()

    async def _cat(self, start: int, stop: int) -> bytes:
        data: bytes = self.fs.cat_file(self.path, start=start, end=stop)
        self.log(start, stop, len(data))
        return data

    def log(self, start: int, stop: int, nbytes: int) -> None:
        """Note a request at debug level."""
        logger.debug("read %d bytes at %d:%d of %s", nbytes, start, stop, self.url)


class AsyncTransport(Transport):
    """File systems with coroutines: requests are made at the same time, on fsspec's own event loop."""

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        if fs.asynchronous:
            # One that belongs to the caller's event loop cannot be used from threads; an equal one can.
            options = {k: v for k, v in fs.storage_options.items() if k not in ("asynchronous", "loop")}
            fs = type(fs)(*fs.storage_args, **options)
        super().__init__(fs, path)

    def run(self, function: Callable[..., Coroutine[Any, Any, _T]], *arguments: Any) -> _T:
        from fsspec.asyn import sync

        with explain_faults(self.raw_url):
            result: _T = sync(self.fs.loop, function, *arguments)
        return result

    async def stat(self) -> Stat:
        return parse_info(await self.fs._info(self.path), self.url)  # noqa: SLF001 - fsspec's way to name coroutines

    async def fetch(self, requests: Sequence[Request], expected: Stat) -> None:
        """Make requests, as many at once as fsspec's settings allow; an error cancels the others."""
        total = sum(request.stop - request.start for request in requests)
        limit = min(max_in_flight(self.fs), max(_BUSY * len(requests) // max(total, 1), _MIN_IN_FLIGHT))
        remaining = iter(requests)

        async def work() -> None:
            for request in remaining:
                await self._fetch_one(request, expected)

        tasks = [asyncio.ensure_future(work()) for _ in range(min(limit, len(requests)))]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _cat(self, start: int, stop: int) -> bytes:
        data: bytes = await self.fs._cat_file(self.path, start=start, end=stop)  # noqa: SLF001 - see above
        self.log(start, stop, len(data))
        return data


def protocol(fs: AbstractFileSystem) -> str:
    """Return the first protocol of a file system, from its class: instances of caches have that of the cached one."""
    protocol = type(fs).protocol
    return protocol if isinstance(protocol, str) else str(protocol[0])


def max_in_flight(fs: AbstractFileSystem) -> int:
    """Return the maximum number of parallel requests, from the file system or fsspec's configuration."""
    from fsspec.config import conf

    limit = int(fs.batch_size or conf.get("nofiles_gather_batch_size", IN_FLIGHT))
    return limit if limit > 0 else 1 << 30


def end_spans(size: int, head: int, tail: int) -> list[tuple[int, int]]:
    """Return start and stop of a file's two ends, or of the whole file if they meet."""
    if size <= head + tail:
        return [(0, size)] if size else []
    return [(0, head), (size - tail, size)] if head else [(size - tail, size)]


def parse_info(info: Mapping[str, Any], url: str) -> Stat:
    """Return length and version from the result of ``fs.info``."""
    if info.get("type") == "directory":
        raise IsADirectoryError(f"a folder, not an ND2 file: {url!r}")
    if info.get("size") is None:
        raise errors.source("the server does not report the file's size", path=url)
    return Stat(int(info["size"]), info_version(info), info.get("partial", True))


def info_version(info: Mapping[str, Any]) -> str:
    """Return the ETag or the modification time from the result of ``fs.info``; empty without either."""
    keys = ("ETag", "etag", "mtime", "Last-Modified", "LastModified", "last_modified", "created")
    return normal_version(next((str(info[key]) for key in keys if info.get(key)), ""))


def normal_version(text: str) -> str:
    """Return an ETag without the mark of a weak one: servers are not consistent in it."""
    return text.strip().removeprefix("W/")


def check_same(expected: Stat, found: Stat, url: str) -> None:
    """Refuse bytes of a file that is not the one that was opened."""
    versions = {expected.version, found.version} - {""}
    if expected.size != found.size or len(versions) > 1:
        raise errors.source(
            "the file changed since it was opened: "
            f"it had {expected.size} bytes and version {expected.version!r}, "
            f"now {found.size} and {found.version!r}",
            path=url,
        )
