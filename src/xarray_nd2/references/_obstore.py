"""A file in an obstore object store, as a file system."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from fsspec.asyn import AsyncFileSystem

from nd2._core.io import open_source
from nd2._core.io.remote import FsspecSource
from nd2._core.io.transport import Answer, RangeTransport, normal_version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nd2._core.io import ByteSource

_READ = 1 << 20


class ObstoreFile(AsyncFileSystem):  # type: ignore[misc]
    """A file system of one file."""

    cachable = False
    nd2_transport: ClassVar[type[RangeTransport]]
    protocol = "obstore"

    def __init__(self, store: Any, url: str, **options: Any) -> None:
        super().__init__(**options)
        self.store, self.url = store, url

    def unstrip_protocol(self, name: str) -> str:
        """Return the file's URL."""
        return self.url

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        meta = await self.store.head_async(path)
        modified = meta["last_modified"]
        return {
            "name": path,
            "type": "file",
            "size": meta["size"],
            "ETag": meta["e_tag"],
            "mtime": None if modified is None else modified.isoformat(),
        }

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        size = (await self._info(path))["size"] if end is None else end
        first = start or 0
        return bytes(await self.store.get_range_async(path, start=first, end=max(size, first)))


class ObstoreTransport(RangeTransport):
    """Requests to stores of obstore, whose answers contain the length and the version of the file."""

    file_system = ObstoreFile

    @classmethod
    def serves(cls, fs: Any) -> bool:
        return type(fs.store).__module__.partition(".")[0] == "obstore"

    @asynccontextmanager
    async def _request(self, byte_range: str) -> AsyncIterator[Answer]:
        first, _, last = byte_range.removeprefix("bytes=").partition("-")
        wanted = (int(first), int(last) + 1) if first else {"suffix": int(last)}
        result = await self.fs.store.get_async(self.path, options={"range": wanted})
        start, stop = result.range
        meta = result.meta
        version = normal_version(meta["e_tag"] or meta["last_modified"].isoformat())
        yield Answer(start, stop, meta["size"], version, True, _chunks(result))


async def _chunks(result: Any) -> AsyncIterator[bytes]:
    async for chunk in result.stream(min_chunk_size=_READ):
        yield bytes(chunk)


ObstoreFile.nd2_transport = ObstoreTransport


def open_from_registry(url: str, registry: Any) -> ByteSource:
    """Open the file that a URL names, by the store that a VirtualiZarr registry has for it."""
    store, path = registry.resolve(url)
    if type(store).__name__ == "LocalStore":
        from urllib.parse import unquote, urlparse

        return open_source(unquote(urlparse(url).path))
    return FsspecSource(ObstoreFile(store, url), path)
