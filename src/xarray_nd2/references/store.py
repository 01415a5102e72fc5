"""References as a store of zarr-python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zarr.storage import FsspecStore

from nd2._core import errors
from nd2._core.io.urls import redact

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype


class ReferenceStore(FsspecStore):
    """References that dask knows by the token of their file system.

    It would pickle them otherwise, and parse a million of them again, to name an array.
    """

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self.fs.__dask_tokenize__(), self.path

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read a key; say what to do if the ND2 file is not where the references lead."""
        from fsspec.implementations.reference import ReferenceNotReachable

        try:
            return await super().get(key, prototype, byte_range)
        except ReferenceNotReachable as error:
            target = error.target
            path = redact(str(target[0] if isinstance(target, (list, tuple)) else target))
            raise errors.source(
                "the ND2 file of the references cannot be reached; if it moved, open them with url=", path=path
            ) from error
