"""Datasets of xarray out of the model of a file: lazy arrays, and the blocks into which dask cuts them.

Blocks of all variables must agree on the axes that they share, or ``Dataset.chunks`` and ``map_blocks`` fail. Only
pixels are cut: coordinates of a frame are small, and in dask each would be a task per frame.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from nd2._core.frames import pool
from nd2._core.frames.array import PIXEL_DIMS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.frames.array import FrameArray
    from xarray_nd2.dataset.coords import FrameValues
    from xarray_nd2.dataset.model import DatasetModel, VariableModel

    Blocks = dict[Hashable, tuple[int, ...]] | None
    """Blocks by axis, shared by the arrays of a dataset that must agree: those into which the first of them was cut."""

_OPENING = "open_dataset-"
"""Start of the names that xarray gives to arrays when it opens files."""
_BAND_BYTES = 64 << 20
_REMOTE_BYTES, _REMOTE_FRAMES = 32 << 20, 128
"""Most bytes and frames of a block of a remote file."""

# Zarr 3 has no standard for texts of fixed width, and appending needs those in the store to have the width of the new
# ones. Objects are written as texts of any length. Before xarray 2026.9, ``chunks="auto"`` fails for objects.
TEXT_AS_OBJECTS = tuple(int(part) for part in xr.__version__.split(".")[:2]) >= (2026, 9)


def to_dataset(
    model: DatasetModel, *, without_image: bool = False, decode_times: Any = True, use_cftime: bool | None = None
) -> xr.Dataset:
    """Make the dataset of a model; data in the file are read on access."""
    variables: dict[str, xr.Variable] = {}
    # Labels have the blocks of the image, whatever their dtype suggests.
    blocks: Blocks = {} if model.labels else None
    preferred = preferred_chunks(model.image)
    image = in_rgb_order(model.image)
    if not without_image:
        variables["image"] = FileVariable(
            image.dims,
            LazyIndex(ND2BackendArray(image, blocks)),
            model.image_attrs,
            encoding={"preferred_chunks": preferred, "source": model.attrs["source"]},
        )
    for name, layer in model.labels.items():
        variables[name] = to_variable(layer, blocks)
        variables[name].encoding["preferred_chunks"] = preferred
    coords = {
        name: decoded(name, to_variable(variable), decode_times, use_cftime) for name, variable in model.coords.items()
    }
    if "S" in coords and image is not model.image:
        coords["S"] = coords["S"][::-1]
    dataset = xr.Dataset(variables, coords, model.attrs)
    dataset.encoding["source"] = model.attrs["source"]
    return dataset


def in_rgb_order(image: FrameArray) -> FrameArray:
    """Return an image whose color samples, if it has any, are red, green, blue."""
    if "S" not in image.dims or image.frames.pixels.sample_order != "BGR":
        return image
    return image.narrow((*[slice(None)] * (image.ndim - 1), slice(None, None, -1)))


def to_variable(variable: VariableModel, blocks: Blocks = None) -> FileVariable:
    """Make a variable of xarray."""
    values: Any = variable.values
    if values.dtype.kind == "U" and TEXT_AS_OBJECTS:
        values = np.asarray(values).astype(object)
    elif not isinstance(values, np.ndarray):
        values = LazyIndex(ND2BackendArray(values, blocks))
    return FileVariable(variable.dims, values, dict(variable.attrs), fastpath=True)


def decoded(name: str, variable: xr.Variable, decode_times: Any = True, use_cftime: bool | None = None) -> xr.Variable:
    """Decode times since an instant; other variables need no decoding."""
    if " since " not in variable.attrs.get("units", ""):
        return variable
    if isinstance(decode_times, Mapping):
        decode_times = decode_times.get(name, True)
    if decode_times is False:
        return variable
    options = {} if use_cftime is None else {"use_cftime": use_cftime}
    return FileVariable.from_variable(
        xr.conventions.decode_cf_variable(name, variable, decode_times=decode_times, **options)
    )


class FileVariable(xr.Variable):
    """A variable of a file: labels have the blocks of the image, coordinates stay out of dask.

    Only opening is special; ``chunk`` does later what it does for every variable.
    """

    __slots__ = ()

    @classmethod
    def from_variable(cls, variable: xr.Variable) -> FileVariable:
        """Return a variable as one of a file."""
        data: Any = variable._data  # noqa: SLF001  # unread
        return cls(variable.dims, data, variable.attrs, variable.encoding, fastpath=True)

    def to_base_variable(self) -> FileVariable:
        """Return the same variable: coordinates keep their type."""
        return FileVariable.from_variable(self)

    @property
    def _in_memory(self) -> bool:
        return isinstance(_innermost(self._data), np.ndarray)

    def chunk(self, chunks: Any = {}, *args: Any, **options: Any) -> Any:  # noqa: B006
        """Cut the variable into blocks, as ``xarray.Variable.chunk`` does."""
        name = (options.get("from_array_kwargs") or {}).get("name", "")
        if not name.startswith(_OPENING):
            return super().chunk(chunks, *args, **options)
        if not {"Y", "X"}.issubset(self.dims):
            return self
        data = _innermost(self._data)
        blocks = data.blocks if isinstance(data, ND2BackendArray) else None
        if blocks:
            chunks = {dim: blocks[dim] for dim in self.dims}
        blocked = super().chunk(chunks, *args, **options)
        if blocks is not None:
            blocks.update(blocked.chunksizes)
        if isinstance(data, ND2BackendArray) and hasattr(blocked.data, "__dask_graph__"):
            from nd2._core.views.dask import WholeArray

            blocked.data = WholeArray.from_blocks(blocked.data, data.values)
        return blocked


def _innermost(data: Any) -> Any:
    """Return the array below xarray's wrappers."""
    while not isinstance(data, (np.ndarray, ND2BackendArray)) and hasattr(data, "array"):
        data = data.array
    return data


class ND2BackendArray(BackendArray):
    """An array in a file: the image, recorded values or a binary layer. It does not keep a handle or a lock."""

    def __init__(self, values: FrameArray | FrameValues, blocks: Blocks = None) -> None:
        self.values = values
        self.blocks = blocks
        self.shape: tuple[int, ...] = values.shape
        self.dtype: np.dtype[Any] = values.dtype

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "blocks": None}

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        # Outer keys are passed on unchanged: xarray would first turn negative steps into positive
        # ones, and fails where such a slice is empty.
        if not isinstance(key, indexing.VectorizedIndexer):
            return self.values.read(key.tuple)
        part: NDArray[Any] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self.values.read
        )
        return part

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        """Read while other variables are read; ``Dataset.load_async`` calls this."""
        return await pool.run_async(self.__getitem__, key)

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


class BlockSizes(dict[str, int]):
    """Sizes of the stored chunks by axis; with a default, sizes of blocks of several chunks.

    xarray takes ``get(axis, length)`` for axes without a requested size, and ``get(axis)`` to warn
    about requests that divide stored chunks.
    """

    def __init__(self, chunks: Mapping[str, int], blocks: Mapping[str, int]) -> None:
        super().__init__(chunks)
        self.blocks: dict[str, int] = dict(blocks)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the size of a stored chunk, or with a default the size of a block."""
        return super().get(key) if default is None else self.blocks.get(key, default)


def preferred_chunks(image: FrameArray) -> dict[str, int]:
    """Return the chunks that suit the file: a frame, or bands of rows if a frame is larger than 64 MiB.

    dask reads one block per core at a time. Blocks of remote files hold several frames, because each
    block waits for an answer.
    """
    pixels = image.frames.pixels
    sizes = image.sizes
    chunks = {dim: size if dim in PIXEL_DIMS else 1 for dim, size in sizes.items()}
    frame_bytes = pixels.packed_frame_bytes
    if pixels.codec == "raw" and frame_bytes > _BAND_BYTES:
        chunks["Y"] = max(min(_BAND_BYTES // max(pixels.row_bytes, 1), pixels.height), 1)
    if not image.frames.source.concurrent:
        return chunks
    blocks = dict(chunks)
    count = min(_REMOTE_BYTES // max(frame_bytes, 1), _REMOTE_FRAMES)
    for dim in reversed(image.grid.dims):
        blocks[dim] = max(min(sizes[dim], count), 1)
        count //= blocks[dim]
    return BlockSizes(chunks, blocks)
