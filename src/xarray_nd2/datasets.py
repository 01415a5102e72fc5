"""Datasets of xarray out of the model of a file."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xarray_nd2.array import lazy, samples_are_reversed
from xarray_nd2.chunking import FileVariable

if TYPE_CHECKING:
    from xarray_nd2.dataset.model import DatasetModel, VariableModel

_BAND_BYTES = 64 << 20
_REMOTE_BYTES, _REMOTE_FRAMES = 32 << 20, 128
"""Most bytes and frames of a block of a remote file."""

# Zarr 3 has no standard for texts of fixed width, and appending needs those in the store to have
# the width of the new ones. Objects are written as texts of any length. Before xarray 2026.9,
# ``chunks="auto"`` fails for objects.
TEXT_AS_OBJECTS = tuple(int(part) for part in xr.__version__.split(".")[:2]) >= (2026, 9)


def to_dataset(
    model: DatasetModel, *, without_image: bool = False, decode_times: Any = True, use_cftime: bool | None = None
) -> xr.Dataset:
    """Make the dataset of a model; data in the file are read on access."""
    variables: dict[str, xr.Variable] = {}
    # Labels have the blocks of the image, whatever their dtype suggests.
    blocks: dict[Hashable, tuple[int, ...]] | None = {} if model.labels else None
    preferred = preferred_chunks(model)
    if not without_image:
        variables["image"] = FileVariable(
            model.image.dims,
            lazy(model.image, blocks),
            model.image_attrs,
            encoding={"preferred_chunks": preferred, "source": model.attrs["source"]},
        )
    for name, layer in model.labels.items():
        variables[name] = to_variable(layer, blocks)
        variables[name].encoding["preferred_chunks"] = preferred
    coords = {
        name: decoded(name, to_variable(variable), decode_times, use_cftime) for name, variable in model.coords.items()
    }
    if "S" in coords and samples_are_reversed(model.image):
        coords["S"] = coords["S"][::-1]
    dataset = xr.Dataset(variables, coords, model.attrs)
    dataset.encoding["source"] = model.attrs["source"]
    return dataset


def to_variable(variable: VariableModel, blocks: dict[Hashable, tuple[int, ...]] | None = None) -> FileVariable:
    """Make a variable of xarray; see `lazy` for ``blocks``."""
    values: Any = variable.values
    if values.dtype.kind == "U" and TEXT_AS_OBJECTS:
        values = np.asarray(values).astype(object)
    elif not variable.in_memory:
        values = lazy(values, blocks)
    return FileVariable(variable.dims, values, dict(variable.attrs), fastpath=True)


def decoded(name: str, variable: xr.Variable, decode_times: Any = True, use_cftime: bool | None = None) -> xr.Variable:
    """Decode times since an instant; everything else is as it should be."""
    if isinstance(decode_times, Mapping):
        decode_times = decode_times.get(name, True)
    if " since " not in variable.attrs.get("units", "") or decode_times is False:
        return variable
    options = {} if use_cftime is None else {"use_cftime": use_cftime}
    result: xr.Variable = xr.conventions.decode_cf_variable(
        name,
        variable,
        concat_characters=False,
        mask_and_scale=False,
        decode_times=decode_times,
        decode_endianness=False,
        decode_timedelta=False,
        **options,
    )
    return FileVariable.from_variable(result)


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


def preferred_chunks(model: DatasetModel) -> dict[str, int]:
    """Return the chunks that suit the file: a frame, or bands of rows if a frame is larger than 64 MiB.

    dask reads one block per core at a time. Blocks of remote files hold several frames, because each
    block waits for an answer.
    """
    pixels = model.image.frames.pixels
    rows = max(min(_BAND_BYTES // max(pixels.row_bytes, 1), pixels.height), 1)
    sizes = dict(zip(model.image.dims, model.image.shape, strict=True))
    whole = {"C", "X", "S"}
    chunks = {dim: size if dim in whole else 1 for dim, size in sizes.items()}
    frame_bytes = math.prod(pixels.shape) * pixels.dtype.itemsize
    banded = pixels.codec == "raw" and frame_bytes > _BAND_BYTES
    chunks["Y"] = rows if banded else pixels.height
    if not model.image.frames.source.concurrent:
        return chunks
    blocks = dict(chunks)
    count = min(_REMOTE_BYTES // max(frame_bytes, 1), _REMOTE_FRAMES)
    for dim in reversed(model.image.grid.dims):
        blocks[dim] = max(min(sizes[dim], count), 1)
        count //= blocks[dim]
    return BlockSizes(chunks, blocks)
