"""The lazy array that xarray indexes: no handle, no lock, only what finds the frames again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._array import FrameArray


class ND2BackendArray(BackendArray):
    """The image of a file; samples of colour run red, green, blue.

    Parameters
    ----------
    image : FrameArray
        The pixels, samples in stored order (blue, green, red).
    """

    def __init__(self, image: FrameArray) -> None:
        self.image = image
        self.shape = image.shape
        self.dtype = image.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        part: NDArray[Any] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return part

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        """Read while other variables are read, too: what ``Dataset.load_async`` calls."""
        part: NDArray[Any] = await indexing.async_explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read_async
        )
        return part

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return self.image.read(self._stored(key))

    async def _read_async(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return await self.image.read_async(self._stored(key))

    def _stored(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the key for samples in stored order."""
        if "S" in self.image.dims:
            axis = self.image.dims.index("S")
            stored = np.arange(self.shape[axis])[::-1][key[axis]]
            key = (*key[:axis], stored, *key[axis + 1 :])
        return key

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xarray_nd2", *self.image.__dask_tokenize__())
