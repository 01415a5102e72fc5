"""References as a store of zarr-python."""

from __future__ import annotations

from typing import Any

from zarr.storage import FsspecStore


class ReferenceStore(FsspecStore):
    """References that dask knows by the token of their file system.

    It would pickle them otherwise, and parse a million of them again, to name an array.
    """

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self.fs.__dask_tokenize__(), self.path
