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

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        if "S" in self.image.dims:
            axis = self.image.dims.index("S")
            stored = np.arange(self.shape[axis])[::-1][key[axis]]
            key = (*key[:axis], stored, *key[axis + 1 :])
        return self.image.read(key)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xarray_nd2", *self.image.__dask_tokenize__())
