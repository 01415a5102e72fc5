"""Binary layers as sequences of masks, which are read frame by frame on access."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from nd2._core import errors

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from nd2._core.readers import Reader


_FACTS = ("name", "file_tag", "comp_name", "comp_order", "color", "color_mode", "state", "layer_id")


@dataclass(frozen=True, eq=False, slots=True)
class BinaryLayer(Sequence["NDArray[Any] | None"]):
    """One binary layer: a sequence of masks, one for each frame, or None for a frame without a mask.

    Attributes
    ----------
    data : sequence of (ndarray or None)
        The masks, each of shape (Y, X): the number of the object at each pixel, 0 for the background. A mask
        is read on access.
    name : str
        Name of the layer.
    file_tag : str
        Name under which the file keeps the masks.
    comp_name : str or None
        Name of the channel to which the layer belongs.
    comp_order : int or None
        Index of that channel.
    color : int or None
        Color of the layer, 0x00BBGGRR.
    color_mode : int or None
        How the software colors objects; 0 is by `color`.
    state : int or None
        Flags that the software keeps.
    layer_id : int or None
        Identifier of the layer.
    coordinate_shape : tuple of int
        Count of each loop, which `asarray` gives the masks.
    """

    data: Sequence[NDArray[Any] | None] = field(repr=False)
    name: str
    file_tag: str
    comp_name: str | None
    comp_order: int | None
    color: int | None
    color_mode: int | None
    state: int | None
    layer_id: int | None
    coordinate_shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.data)

    @overload
    def __getitem__(self, key: int) -> NDArray[Any] | None: ...

    @overload
    def __getitem__(self, key: slice) -> Sequence[NDArray[Any] | None]: ...

    def __getitem__(self, key: int | slice) -> NDArray[Any] | Sequence[NDArray[Any] | None] | None:
        return self.data[key]

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of the first mask, (Y, X); empty if there are no masks."""
        first = next(self._masks(), None)
        return () if first is None else first[1].shape

    def _masks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield each frame that has a mask, and the mask."""
        for frame in getattr(self.data, "present", range(len(self.data))):
            mask = self.data[frame]
            if mask is not None:
                yield frame, mask

    def asarray(self) -> NDArray[Any] | None:
        """Read all masks into one array.

        Returns
        -------
        ndarray, shape ``(*coordinate_shape, Y, X)``, or None
            Zeros for frames without a mask; None if no frame has one.
        """
        out: NDArray[Any] | None = None
        for frame, mask in self._masks():
            if out is None:
                out = np.zeros((len(self), *mask.shape), mask.dtype)
            elif mask.dtype.itemsize > out.dtype.itemsize:
                out = out.astype(mask.dtype)
            out[frame] = mask
        return None if out is None else out.reshape(*self.coordinate_shape, *out.shape[1:])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return _as_array(self.asarray(), self.coordinate_shape, dtype, copy)


@dataclass(frozen=True, eq=False)
class BinaryLayers(Sequence[BinaryLayer]):
    """The binary layers of a file: ``layers[0]``, or ``layers["cells"]`` for the first of that name.

    Attributes
    ----------
    data : list of BinaryLayer
        The layers.
    """

    data: list[BinaryLayer]

    def __repr__(self) -> str:
        return f"<BinaryLayers with {len(self)} layers>"

    def __len__(self) -> int:
        return len(self.data)

    @overload
    def __getitem__(self, key: int | str) -> BinaryLayer: ...

    @overload
    def __getitem__(self, key: slice) -> list[BinaryLayer]: ...

    def __getitem__(self, key: int | str | slice) -> BinaryLayer | list[BinaryLayer]:
        if isinstance(key, str):
            names = [layer.name for layer in self.data]
            if key not in names:
                raise errors.no_such("binary layer", key, names, kind=KeyError)
            key = names.index(key)
        return self.data[key]

    def asarray(self) -> NDArray[Any] | None:
        """Read all masks of all layers into one array.

        Returns
        -------
        ndarray, shape ``(layers, *coordinate_shape, Y, X)``, or None
            Zeros for frames and layers without a mask; None if there is no mask at all.
        """
        stacks = [layer.asarray() for layer in self.data]
        first = next((stack for stack in stacks if stack is not None), None)
        if first is None:
            return None
        return np.stack([np.zeros_like(first) if stack is None else stack for stack in stacks])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return _as_array(self.asarray(), (len(self),), dtype, copy)


def _as_array(
    array: NDArray[Any] | None, shape: tuple[int, ...], dtype: DTypeLike | None, copy: bool | None
) -> NDArray[Any]:
    if copy is False:
        raise ValueError("the masks are in a file: an array of them is always a copy")
    if array is None:
        array = np.zeros((*shape, 0, 0), np.uint16)
    return array if dtype is None else array.astype(dtype, copy=False)


def binary_layers(reader: Reader) -> BinaryLayers | None:
    """Return the binary layers of a file; None if it has none."""
    shape = reader.layout.grid.counts
    layers = [
        BinaryLayer(masks, coordinate_shape=shape, **{name: getattr(masks.info, name) for name in _FACTS})
        for masks in reader.binary_layers
    ]
    return BinaryLayers(layers) if layers else None
