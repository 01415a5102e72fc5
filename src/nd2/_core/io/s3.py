"""Requests to S3 and compatible stores, through the client of s3fs, which signs and repeats them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from s3fs.core import S3FileSystem, _error_wrapper

from nd2._core.io.transport import (
    IN_FLIGHT,
    Answer,
    RangeTransport,
    max_in_flight,
    normal_version,
    range_header,
    sent_range,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from nd2._core.io.transport import Request, Stat

_READ = 1 << 20


class S3Transport(RangeTransport):
    """Objects in a bucket; failed requests are repeated as often as ``s3fs`` repeats them."""

    def __init__(self, fs: S3FileSystem, path: str) -> None:
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
            if sent is None:
                size = int(response["ContentLength"])
                yield Answer(0, size, size, version, False, _chunks(body))
            else:
                yield Answer(*sent, version, True, _chunks(body))
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
        return await _error_wrapper(function, args=arguments, retries=self.fs.retries)


async def _chunks(body: Any) -> AsyncIterator[bytes]:
    while chunk := await body.read(_READ):
        yield chunk
