"""Open binary file objects: the only source that needs a lock, because a file object has one position."""

from __future__ import annotations

import io
import os
import threading
from typing import Any, BinaryIO

from nd2._core import errors
from nd2._core.io.source import ByteSource


class FileObjectSource(ByteSource):
    """Bytes of an open, seekable, binary file object.

    The object stays the caller's: closing the source does not close it.
    """

    def __init__(self, handle: BinaryIO) -> None:
        if isinstance(handle, io.TextIOBase):
            raise TypeError("the file must be opened in binary mode ('rb')")
        if not (hasattr(handle, "read") and hasattr(handle, "seek")):
            raise TypeError(f"expected a path or a binary file object, got {type(handle).__name__}")
        self._handle = handle
        self._lock = threading.Lock()
        # Not id(): another object may have the address of one that is gone.
        self._key = os.urandom(8).hex()
        name = getattr(handle, "name", "")
        self._url = name if isinstance(name, str) else ""
        with self._lock:
            self._size = handle.seek(0, io.SEEK_END)

    @property
    def url(self) -> str:
        """Name of the file object, if it has one, else an empty string."""
        return self._url

    @property
    def identity(self) -> tuple[str, int, str]:
        """``(name, size, identity of the object)``."""
        return (self._url, self._size, f"object {self._key}")

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called here, or on the file object itself."""
        return self._closed or bool(getattr(self._handle, "closed", False))

    def read(self, offset: int, nbytes: int) -> bytes:
        if self.closed:
            raise errors.closed(self._url)
        if offset < 0 or nbytes < 0 or offset + nbytes > self._size:
            raise errors.beyond_end(offset, nbytes, self._size, path=self.url)
        parts: list[bytes] = []
        left = nbytes
        with self._lock:
            self._handle.seek(offset)
            while left:
                part = self._handle.read(left)
                if not part:
                    raise errors.source(f"file ends {left} bytes too early", path=self._url, offset=offset)
                parts.append(part)
                left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def reopen(self) -> FileObjectSource:
        new = object.__new__(FileObjectSource)
        new.__dict__.update(self.__dict__, _closed=False)
        return new

    def __getstate__(self) -> dict[str, object]:
        if isinstance(self._handle, io.BytesIO):
            return {"data": self._handle.getvalue(), "key": self._key}
        raise TypeError(f"a {type(self._handle).__name__} cannot be sent to another process; open the file by its path")

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(io.BytesIO(state["data"]))  # type: ignore[misc]
        self._key = state["key"]

    def __repr__(self) -> str:
        return f"FileObjectSource({self._url!r})"
