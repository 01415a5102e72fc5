"""A file in an obstore object store, as a file system of which the package reads like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsspec.asyn import AsyncFileSystem

from nd2._core.io import open_source
from nd2._core.io.remote import FsspecSource

if TYPE_CHECKING:
    from nd2._core.io import ByteSource


class ObstoreFile(AsyncFileSystem):  # type: ignore[misc]
    """A file system of one file."""

    cachable = False
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

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        size = (await self._info(path))["size"] if end is None else end
        first = start or 0
        return bytes(await self.store.get_range_async(path, start=first, end=max(size, first)))


def open_from_registry(url: str, registry: Any) -> ByteSource:
    """Open the file that a URL names, by the store that a VirtualiZarr registry has for it."""
    store, path = registry.resolve(url)
    if type(store).__name__ == "LocalStore":
        from urllib.parse import unquote, urlparse

        return open_source(unquote(urlparse(url).path))
    return FsspecSource(ObstoreFile(store, url), path)
