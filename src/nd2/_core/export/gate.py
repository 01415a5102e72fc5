"""A Zarr store that can be closed: zarr goes on writing in the background after one of its writes has failed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from zarr.storage import WrapperStore

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer

_PATIENCE = 60.0
"""Seconds to wait for writes at most."""


class GatedStore(WrapperStore[Any]):
    """A store that after `shut` is written to no more."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self._changed = threading.Condition()
        self._writes, self._shut = 0, False

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object."""
        with self._changed:
            if self._shut:
                raise OSError(f"{key} is not written: an earlier write failed")
            self._writes += 1
        try:
            await self._store.set(key, value)
        finally:
            with self._changed:
                self._writes -= 1
                self._changed.notify_all()

    def shut(self) -> None:
        """Let no write begin any more, and wait for those that have begun."""
        with self._changed:
            self._shut = True
            self._changed.wait_for(lambda: not self._writes, _PATIENCE)
