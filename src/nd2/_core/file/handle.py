"""The open file behind ``ND2File``: opening, closing, opening again, and travelling to other processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from nd2._core import errors
from nd2._core.io import open_source
from nd2._core.open import is_supported_file, open_reader

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from types import TracebackType
    from typing import BinaryIO, Self

    from nd2._core.io import ByteSource
    from nd2._core.readers import Reader
    from nd2._core.sidecar import Index


class FileHandle:
    """A file that is open, or was; see `nd2.ND2File` for the parameters."""

    def __init__(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        *,
        validate_frames: bool = False,
        search_window: int = 100,
        storage_options: Mapping[str, Any] | None = None,
        index: str | os.PathLike[str] | Literal[True] | None = None,
        flat_frames: bool = False,
        rescue: bool = False,
    ) -> None:
        window = search_window if validate_frames else None
        self._options: dict[str, Any] = {
            "flat_frames": flat_frames,
            "search_window": window,
            "rescue": rescue,
        }
        source = open_source(path, storage_options)
        try:
            found = None
            if index is not None:
                from nd2._core.sidecar import load_index

                found = load_index(index, path, storage_options)
            self._begin(source, found)
        except BaseException:
            source.close()
            raise

    def _begin(self, source: ByteSource, index: Index | None) -> None:
        self._index = index
        start = open_reader if index is None else index.open
        self._reader: Reader = start(source, **self._options)

    @staticmethod
    def is_supported_file(
        path: str | os.PathLike[str] | BinaryIO,
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> bool:
        """Return whether a file is ND2, by its first bytes; `storage_options` are for the file system of a URL."""
        return is_supported_file(path, storage_options=storage_options)

    @property
    def path(self) -> str:
        """Path or URL of the file; empty for a file object without a name."""
        return self._reader.source.url

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._reader.source.closed

    def open(self) -> None:
        """Open the file again after ``close``; does nothing if it is open."""
        if self.closed:
            source, index, options = self._reader.source.reopen(), self._index, self._options
            self.__dict__.clear()
            self._options = options
            self._begin(source, index)

    def close(self) -> None:
        """Close the file; may be called twice. What was read before stays available."""
        self._reader.source.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        source = self._reader.source.reopen()
        options = self._options
        return {"source": source, "closed": self.closed, "index": self._index, "options": options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._options = state["options"]
        self._begin(state["source"], state["index"])
        if state["closed"]:
            self.close()

    def _check_open(self) -> None:
        if self.closed:
            raise errors.closed(self.path)
