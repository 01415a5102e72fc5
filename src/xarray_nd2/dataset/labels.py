"""Binary layers as arrays of object numbers, decoded when they are asked for."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.frames.selection import as_index, select
from xarray_nd2.dataset.model import VariableModel

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from nd2._core.frames.array import FrameArray
    from nd2._core.frames.grid import FrameGrid
    from nd2._core.io import ByteSource
    from nd2._core.readers import Reader
    from nd2._core.readers.layer_chunks import LayerChunks


@dataclass(frozen=True, slots=True)
class LabelArray:
    """One binary layer on the frame axes of an array and Y, X; frames without a mask are zero.

    Attributes
    ----------
    layer : LayerChunks
        What reads the mask of a frame.
    source : ByteSource
        The file.
    grid : FrameGrid
        Which frames, on which axes; Y and X follow.
    dtype : numpy.dtype
        Type of an object's number.
    """

    layer: LayerChunks
    source: ByteSource
    grid: FrameGrid
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return (*self.grid.shape, *self.layer.shape)

    @property
    def dims(self) -> tuple[str, ...]:
        """Axes: those of the frames, Y, X."""
        return (*self.grid.dims, "Y", "X")

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read a part by outer indexing; of each frame that it touches, the mask is decoded whole."""
        selection = select(key, self.dims, self.shape)
        *loops, rows, columns = selection.picks
        frames = self.grid.frames(loops).reshape(-1).tolist()
        part = np.zeros((len(frames), len(rows), len(columns)), self.dtype)
        if part.size:
            for place, frame in enumerate(frames):
                mask = self.layer.read_fitted(frame)
                if mask is not None:
                    part[place] = mask[as_index(rows)][:, as_index(columns)]
        return part.reshape(selection.shape)

    async def read_async(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read in a thread, so that other coroutines run."""
        return await asyncio.to_thread(self.read, key)

    def with_source(self, source: ByteSource) -> LabelArray:
        """Return the same array over another source of the same bytes."""
        return replace(self, layer=self.layer.with_source(source), source=source)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("the labels are in a file: an array of them is always a copy")
        labels = self.read((slice(None),) * len(self.dims))
        return labels if dtype is None else labels.astype(dtype, copy=False)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        info = self.layer.info
        return ("labels", *self.source.identity, info.file_tag, repr(self.grid))


def label_layers(
    reader: Reader, image: FrameArray, dropped: Collection[str] = ()
) -> dict[str, VariableModel]:
    """Return the binary layers of a file as variables ``labels_<name>``.

    Parameters
    ----------
    reader : Reader
        The file.
    image : FrameArray
        Its image, or that of one position.
    dropped : collection of str
        Names of variables that are not wanted.
    """
    found: dict[str, VariableModel] = {}
    for layer in reader.binary_layers:
        info = layer.info
        plain = "labels_" + (re.sub(r"\W+", "_", info.name).strip("_") or "layer")
        name = next(n for n in chain([plain], (f"{plain}_{i}" for i in count(2))) if n not in found)
        attrs: dict[str, Any] = {"long_name": info.name or name, "nd2_file_tag": info.file_tag}
        if info.comp_name:
            attrs["channel"] = info.comp_name
        if info.color is not None:
            red, green, blue = info.color & 255, info.color >> 8 & 255, info.color >> 16 & 255
            attrs["color"] = f"#{red:02X}{green:02X}{blue:02X}"
        # How large the numbers are is known when all masks were read; run-length encoded ones may be 32 bits wide.
        dtype = np.dtype("u4") if info.tiles is None else np.dtype(f"u{info.tiles.bits // 8}")
        labels = LabelArray(layer, reader.source, image.grid, dtype)
        found[name] = VariableModel(labels.dims, labels, attrs)
    return {name: variable for name, variable in found.items() if name not in dropped}
