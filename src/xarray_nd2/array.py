"""The lazy array that xarray indexes: no handle, no lock, only what finds the values again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from nd2._array import FrameArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xarray_nd2._lazy import Lazy


class ND2BackendArray(BackendArray):
    """An array that lies in a file: the image, a column of recorded values, a layer of labels.

    Parameters
    ----------
    values : Lazy
        What reads. Samples of colour in stored order (blue, green, red) are given as red, green, blue.
    """

    def __init__(self, values: Lazy | FrameArray) -> None:
        self.values = values
        self.shape = values.shape
        self.dtype = values.dtype

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
        return self.values.read(self._stored(key))

    async def _read_async(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return await self.values.read_async(self._stored(key))

    def _stored(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the key for samples in stored order."""
        if isinstance(self.values, FrameArray) and samples_are_reversed(self.values):
            axis = self.values.dims.index("S")
            stored = np.arange(self.shape[axis])[::-1][key[axis]]
            key = (*key[:axis], stored, *key[axis + 1 :])
        return key

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xarray_nd2", *self.values.__dask_tokenize__())


def samples_are_reversed(image: FrameArray) -> bool:
    """Return whether an image has samples of colour that are stored blue first."""
    return "S" in image.dims and image.frames.pixels.sample_order == "BGR"
