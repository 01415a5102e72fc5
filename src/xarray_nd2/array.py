"""The lazy array that xarray indexes. It does not keep a handle or a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xarray.backends import BackendArray
from xarray.core import indexing

from nd2._core.frames.array import FrameArray

if TYPE_CHECKING:
    from collections.abc import Hashable

    import numpy as np
    from numpy.typing import NDArray

    from xarray_nd2.dataset.model import FrameValues


class ND2BackendArray(BackendArray):
    """An array in a file: the image, recorded values or a binary layer.

    Color samples that are stored blue, green, red are returned red, green, blue.

    ``blocks`` is shared by the arrays of a dataset whose blocks must agree: those that the first of
    them was cut into, by axis.
    """

    def __init__(self, values: FrameArray | FrameValues, blocks: dict[Hashable, tuple[int, ...]] | None = None) -> None:
        if isinstance(values, FrameArray) and samples_are_reversed(values):
            values = values.narrow((*[slice(None)] * (values.ndim - 1), slice(None, None, -1)))
        self.values = values
        self.blocks = blocks
        self.shape: tuple[int, ...] = values.shape
        self.dtype: np.dtype[Any] = values.dtype

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "blocks": None}

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        # Outer keys are read as they are: xarray would first turn negative steps into positive
        # ones, and fails where such a slice is empty.
        if not isinstance(key, indexing.VectorizedIndexer):
            return self._read(key.tuple)
        part: NDArray[Any] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return part

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        """Read while other variables are read; ``Dataset.load_async`` calls this."""
        if not isinstance(key, indexing.VectorizedIndexer):
            return await self._read_async(key.tuple)
        part: NDArray[Any] = await indexing.async_explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read_async
        )
        return part

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return self.values.read(key)

    async def _read_async(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return await self.values.read_async(key)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xarray_nd2", *self.values.__dask_tokenize__())


class LazyIndex(indexing.LazilyIndexedArray):
    """A lazy index in which empty slices stay empty.

    xarray's own turns an empty slice of negative step that starts before the array (``[-9::-1]``)
    into the whole axis.
    """

    __slots__ = ()

    def _updated_key(self, new_key: indexing.ExplicitIndexer) -> Any:
        key = tuple(
            slice(0, 0) if isinstance(item, slice) and not range(size)[item] else item
            for item, size in zip(new_key.tuple, self.shape, strict=True)
        )
        return super()._updated_key(type(new_key)(key))


def lazy(values: FrameArray | FrameValues, blocks: dict[Hashable, tuple[int, ...]] | None = None) -> LazyIndex:
    """Return an array for a variable of xarray that reads on access."""
    return LazyIndex(ND2BackendArray(values, blocks))


def samples_are_reversed(image: FrameArray) -> bool:
    """Return whether an image has color samples that are stored blue first."""
    return "S" in image.dims and image.frames.pixels.sample_order == "BGR"
