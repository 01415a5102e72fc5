"""URLs through fsspec: exact byte ranges, many at once, and the file's two ends kept in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nd2 import _errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fsspec.spec import AbstractFileSystem

    from nd2._io.source import Span

# In real files the experiment and the first picture metadata end within the first 40 to 220 KB; the chunk map and the
# other metadata lie within the last 82 to 172 KB.
_HEAD = 128 * 1024
_TAIL = 256 * 1024


class FsspecSource:
    """Bytes of a file that fsspec reaches.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
        The file system; its options (credentials among them) stay inside it.
    path : str
        Path of the file inside ``fs``, without the protocol.
    """

    max_gap = 64 * 1024
    concurrent = True

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        self._fs, self._path = fs, path
        info = fs.info(path)
        if info.get("type") == "directory":
            raise IsADirectoryError(f"a folder, not an ND2 file: {path!r}")
        if info.get("size") is None:
            raise _errors.source("the server does not tell the file's size", path=self.url)
        self._size = int(info["size"])
        self._version = _version(info)
        self._closed = False
        self._ends: dict[int, bytes] = {}

    @classmethod
    def from_url(cls, url: str, storage_options: Mapping[str, Any] | None = None) -> FsspecSource:
        """Make a source from a URL that fsspec knows, a chained one too."""
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(url, **(storage_options or {}))
        return cls(fs, path)

    @property
    def url(self) -> str:
        """The URL, with the protocol, without options."""
        return str(self._fs.unstrip_protocol(self._path))

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return self._size

    @property
    def identity(self) -> tuple[str, int, str]:
        """``(url, size, ETag or modification time)``."""
        return (self.url, self._size, self._version)

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def read(self, offset: int, nbytes: int) -> bytes:
        """Read exactly ``nbytes`` bytes at ``offset``."""
        return self.read_many([(offset, nbytes)])[0]

    def read_many(self, spans: Sequence[Span]) -> list[bytes]:
        """Read several ranges in one go, as many at once as the file system allows."""
        if self._closed:
            raise _errors.closed(self.url)
        for offset, nbytes in spans:
            if offset < 0 or nbytes < 0 or offset + nbytes > self._size:
                raise _errors.source(
                    f"{nbytes} bytes asked for beyond the file's end at {self._size}",
                    path=self.url,
                    offset=offset,
                )
        found = [self._from_ends(offset, nbytes) for offset, nbytes in spans]
        missing = [i for i, data in enumerate(found) if data is None]
        if missing:
            starts = [spans[i][0] for i in missing]
            stops = [spans[i][0] + spans[i][1] for i in missing]
            fetched = self._fs.cat_ranges([self._path] * len(missing), starts, stops)
            for i, data in zip(missing, fetched, strict=True):
                found[i] = self._checked(data, *spans[i])
        return [data for data in found if data is not None]

    def _from_ends(self, offset: int, nbytes: int) -> bytes | None:
        if nbytes == 0:
            return b""
        tail = max(self._size - _TAIL, 0)
        start = tail if offset >= tail else 0 if offset + nbytes <= _HEAD else None
        if start is None:
            return None
        if start not in self._ends:
            length = self._size - start if start else min(_HEAD if tail else self._size, self._size)
            data = self._fs.cat_file(self._path, start=start, end=start + length)
            self._ends[start] = self._checked(data, start, length)
        return self._ends[start][offset - start : offset - start + nbytes]

    def _checked(self, data: bytes, offset: int, nbytes: int) -> bytes:
        if len(data) != nbytes:
            raise _errors.source(
                f"asked for {nbytes} bytes, got {len(data)}; "
                "does the server serve byte ranges, and did the file change?",
                path=self.url,
                offset=offset,
            )
        return data

    def read_into(self, targets: Sequence[tuple[int, memoryview]]) -> None:
        """Fill each buffer with the bytes at its offset."""
        data = self.read_many([(offset, buffer.nbytes) for offset, buffer in targets])
        for (_, buffer), part in zip(targets, data, strict=True):
            buffer.cast("B")[:] = part

    def release(self) -> None:
        """Forget what was read; the file system itself is shared and stays."""
        self._ends.clear()

    def close(self) -> None:
        """Read nothing any more; may be called twice."""
        self._closed = True
        self.release()

    def reopened(self) -> FsspecSource:
        """Return an open source for the same URL."""
        new = object.__new__(FsspecSource)
        new.__dict__.update(self.__dict__, _closed=False, _ends=dict(self._ends))
        return new

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ends": {}}

    def __repr__(self) -> str:
        return f"FsspecSource({self.url!r})"


def _version(info: Mapping[str, Any]) -> str:
    for key in ("ETag", "etag", "mtime", "LastModified", "last_modified", "created"):
        if info.get(key) is not None:
            return str(info[key])
    return ""
