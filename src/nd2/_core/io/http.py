"""Requests over HTTP, through the session of fsspec's file system."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession
from yarl import URL

from nd2._core import errors
from nd2._core.io.transport import Answer, RangeTransport, normal_version, range_header, sent_range

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 10


class HttpTransport(RangeTransport):
    """Files behind HTTP or HTTPS; ``storage_options`` reach the session and every request as in fsspec."""

    @asynccontextmanager
    async def _request(self, start: int, stop: int) -> AsyncIterator[Answer]:
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
            raise errors.source("the server does not tell the file's size", path=self.url)
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
