"""Requests to servers whose responses have the length and the version of the file: HTTP, and S3 through s3fs."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.io.transport import IN_FLIGHT, AsyncTransport, Scatter, Stat, check_same, max_in_flight, normal_version
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from fsspec.spec import AbstractFileSystem

    from nd2._core.io.transport import Blocks, Request

WHOLE = 32 << 20
"""Files up to this length are read whole from servers that do not serve byte ranges."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 10
_READ = 1 << 20


@record
class Answer:
    """A response whose body has not been read yet."""

    start: int
    stop: int
    size: int
    version: str
    partial: bool
    chunks: AsyncIterator[bytes]


class RangeTransport(AsyncTransport):
    """File systems whose responses can be inspected: each has the length and the version of the file.

    So a file's length needs no separate request, and a change of the file between two reads is detected.
    """

    verifies = True

    def _request(self, start: int, stop: int) -> AbstractAsyncContextManager[Answer]:
        """Request a range; if ``start`` is negative (and ``stop`` zero), as many bytes at the end."""
        raise NotImplementedError

    async def ends(self, head: int, tail: int) -> tuple[Stat, Blocks]:
        ranges = [(0, head), (-tail, 0)] if head else [(-tail, 0)]
        *first, last = await asyncio.gather(*(self._full_response(*span) for span in ranges), return_exceptions=True)
        if first and isinstance(first[0], BaseException):
            raise first[0]
        answers = [answer for answer in (*first, last) if not isinstance(answer, BaseException)]
        # Not every server knows ranges that count from the end: a response for the start has the length as well.
        stat = answers[0][0] if answers else await self.stat()
        for other, _ in answers:
            check_same(stat, other, self.url)
        blocks = [block for _, block in answers]
        if not stat.ranges:
            return stat, blocks[:1]
        if isinstance(last, BaseException) and stat.size:
            found, block = await self._full_response(max(stat.size - tail, 0), stat.size)
            check_same(stat, found, self.url)
            if not found.ranges:
                return found, [block]
            blocks.append(block)
        return stat, blocks

    async def _full_response(self, start: int, stop: int) -> tuple[Stat, tuple[int, bytes]]:
        """Read one range whose length is not known before."""
        async with self._request(start, stop) as answer:
            if not answer.partial and (start < 0 or answer.size > WHOLE):
                raise no_ranges(answer.size, self.url)
            nbytes = answer.stop - answer.start
            if answer.partial and nbytes > stop - start:
                raise errors.source(
                    f"asked for {range_header(start, stop)}, the server announced {nbytes} bytes",
                    path=self.url,
                    offset=answer.start,
                )
            stat = Stat(answer.size, answer.version, answer.partial)
            data = await _read_body(answer.chunks, nbytes + 1)  # a body may have no end
            self.log(answer.start, answer.stop, len(data))
            if len(data) != nbytes:
                sent = f"{len(data)}" if len(data) < nbytes else "more"
                raise errors.source(
                    f"the server announced {nbytes} bytes and sent {sent}", path=self.url, offset=answer.start
                )
            return stat, (answer.start, data)

    async def read_start(self, nbytes: int) -> bytes:
        async with self._request(0, nbytes) as answer:
            data = await _read_body(answer.chunks, nbytes)
        self.log(0, nbytes, len(data))
        return data

    async def _fetch_one(self, request: Request, expected: Stat) -> None:
        scatter = Scatter(request, self.url)
        async with self._request(request.start, request.stop) as answer:
            check_same(expected, Stat(answer.size, answer.version), self.url)
            if (answer.start, answer.stop) != (request.start, request.stop):
                if not answer.partial:
                    raise no_ranges(answer.size, self.url)
                raise errors.source(
                    f"asked for bytes {request.start} to {request.stop}, "
                    f"the server answered with {answer.start} to {answer.stop}",
                    path=self.url,
                )
            async for chunk in answer.chunks:
                scatter.feed(chunk)
        scatter.finish()
        self.log(request.start, request.stop, request.stop - request.start)


async def _read_body(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """Read a body up to a number of bytes."""
    parts, total = [], 0
    async for chunk in chunks:
        parts.append(chunk)
        total += len(chunk)
        if total >= limit:
            break
    return b"".join(parts)[:limit]


def range_header(start: int, stop: int) -> str:
    """Return the header ``Range`` of a range, or of the last bytes."""
    return f"bytes={start}" if start < 0 else f"bytes={start}-{stop - 1}"


def sent_range(content_range: str | None) -> tuple[int, int, int] | None:
    """Return start, stop and size of the file from a response's ``Content-Range``; None if it does not have them."""
    found = _CONTENT_RANGE.fullmatch(content_range or "")
    if found is None:
        return None
    first, last, size = map(int, found.groups())
    return first, last + 1, size


def no_ranges(size: int, url: str) -> OSError:
    """Build the error for a server that sends the whole file instead of the requested part."""
    return errors.source(
        f"the server does not serve byte ranges, and the file ({size} bytes) is too long to be read whole; "
        "to download it first, put 'simplecache::' before the URL",
        path=url,
    )


class HttpTransport(RangeTransport):
    """Files behind HTTP or HTTPS; ``storage_options`` reach the session and every request as in fsspec."""

    @asynccontextmanager
    async def _request(self, start: int, stop: int) -> AsyncIterator[Answer]:
        from aiohttp import ClientSession
        from yarl import URL

        options = dict(self.fs.kwargs)
        own = options.pop("headers", None) or {}
        # Compressed on its way, a range would not be that of the file.
        headers = {"Range": range_header(start, stop), "Accept-Encoding": "identity"}
        session = await self.fs.set_session()
        target = self.fs.encode_url(self.path)
        if own or self.fs.client_kwargs.get("headers"):
            options["allow_redirects"] = False
        async with AsyncExitStack() as stack:
            for _ in range(_MAX_REDIRECTS):
                request = session.get(target, headers={**own, **headers}, **options)
                response = await stack.enter_async_context(request)
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or location is None:
                    yield self._answer(response)
                    return
                target = response.url.join(URL(location))
                if target.origin() != response.url.origin():
                    # The user's headers, keys among them, are for the server that was named.
                    own, options = {}, {"allow_redirects": False}
                    session = await stack.enter_async_context(ClientSession())
            raise errors.source("the server redirects too often", path=self.url)

    def _answer(self, response: Any) -> Answer:
        self._check_status(response)
        headers, chunks = response.headers, response.content.iter_any()
        version = normal_version(headers.get("ETag") or headers.get("Last-Modified") or "")
        if headers.get("Content-Encoding", "identity") != "identity":
            raise errors.source("the server compresses what it sends", path=self.url)
        if response.status == 206:
            text = headers.get("Content-Range")
            sent = sent_range(text)
            if sent is None:
                raise errors.source(f"the response has no valid Content-Range: {text!r}", path=self.url)
            return Answer(*sent, version, True, chunks)
        if "Content-Length" not in headers:
            raise errors.source("the server does not report the file's size", path=self.url)
        size = int(headers["Content-Length"])
        return Answer(0, size, size, version, False, chunks)

    def _check_status(self, response: Any) -> None:
        status, reason = response.status, response.reason
        if status in (404, 410):
            raise FileNotFoundError(f"the server answered {status} {reason}")
        if status in (401, 403):
            raise PermissionError(f"the server answered {status} {reason}")
        if status == 416:
            if response.headers.get("Content-Range", "") == "bytes */0":
                raise errors.not_nd2("the file is empty", path=self.url)
            raise errors.source("the server does not have the requested bytes; did the file change?", path=self.url)
        if status not in (200, 206):
            raise errors.source(f"the server answered {status} {reason}", path=self.url)


class S3Transport(RangeTransport):
    """Objects in a bucket; failed requests are repeated as often as ``s3fs`` repeats them."""

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        from s3fs.core import _error_wrapper

        self._repeat = _error_wrapper
        # The pool holds 10 connections by default, for which other requests would wait. It is made with
        # the first request.
        pool = {"max_pool_connections": min(max_in_flight(fs), IN_FLIGHT)}
        fs.config_kwargs = {**pool, **fs.config_kwargs}
        super().__init__(fs, path)

    @asynccontextmanager
    async def _request(self, start: int, stop: int) -> AsyncIterator[Answer]:
        bucket, key, version_id = self.fs.split_path(self.path)
        pinned = {"VersionId": version_id} if version_id else {}
        response = await self.fs._call_s3(  # noqa: SLF001 - fsspec's way to name coroutines
            "get_object", Bucket=bucket, Key=key, Range=range_header(start, stop), **pinned, **self.fs.req_kw
        )
        body = response["Body"]
        try:
            version = normal_version(response.get("ETag") or str(response.get("LastModified", "")))
            sent = sent_range(response.get("ContentRange"))
            size = int(response["ContentLength"]) if sent is None else 0
            yield Answer(*(sent or (0, size, size)), version, sent is not None, body.iter_chunks(_READ))
        finally:
            body.close()

    async def _full_response(self, start: int, stop: int) -> tuple[Stat, tuple[int, bytes]]:
        answer: tuple[Stat, tuple[int, bytes]] = await self._retry(super()._full_response, start, stop)
        return answer

    async def read_start(self, nbytes: int) -> bytes:
        data: bytes = await self._retry(super().read_start, nbytes)
        return data

    async def _fetch_one(self, request: Request, expected: Stat) -> None:
        # A body that breaks off is read again from its start.
        await self._retry(super()._fetch_one, request, expected)

    async def _retry(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await self._repeat(function, args=arguments, retries=self.fs.retries)


TRANSPORTS: dict[str, type[RangeTransport]] = {
    "fsspec.implementations.http.HTTPFileSystem": HttpTransport,
    "s3fs.core.S3FileSystem": S3Transport,
}
"""How requests are made, by the class of a file system; a subclass may do things in its own way."""
