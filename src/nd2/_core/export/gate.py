"""A Zarr store that can be shut: zarr keeps writing in the background after a write fails."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from zarr.storage import WrapperStore

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer

_MAX_WAIT = 60.0
"""Longest time to wait for writes, in seconds."""


class GatedStore(WrapperStore[Any]):
    """A store that refuses writes after `shut`."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self._changed = threading.Condition()
        self._writes, self._shut = 0, False

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object, or raise an error after `shut`."""
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
        """Refuse further writes, and wait for those that have started."""
        with self._changed:
            self._shut = True
            self._changed.wait_for(lambda: not self._writes, _MAX_WAIT)
