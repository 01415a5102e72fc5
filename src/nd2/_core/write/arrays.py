"""``imwrite``: an array, plain, lazy or labelled, as a file; it is gone through in blocks, never held whole."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from nd2._core.frames.array import PIXEL_DIMS
from nd2._core.write import labelled
from nd2._core.write.writer import ND2Writer

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    import xarray as xr
    from numpy.typing import ArrayLike

    from nd2._core.write.plan import WriterOptions

_BLOCK = 16 << 20
"""Bytes that are asked for at once from an array that is neither in memory nor cut into chunks."""


def imwrite(
    path: str | os.PathLike[str],
    array: ArrayLike | xr.DataArray | xr.Dataset,
    *,
    axes: Sequence[str] | None = None,
    **options: Unpack[WriterOptions],
) -> None:
    """Write an array as an ND2 file.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write; one that exists is replaced when the new one is complete.
    array : ndarray, dask array, xarray.DataArray, or xarray.Dataset
        Pixels of uint8, uint16 or float32. Of a dataset of the engine the image, and ``labels_...`` as binary layers.
        Dask arrays are computed block by block.
    axes : str or sequence of str, optional
        Axis that each dimension is, of T, P, Z, U, C, Y, X, S, in any order. By default the dimensions of a labelled
        array, by their names; ``YX`` for two dimensions.
    **options
        See `ND2Writer`. What is given here comes before what the labels say.

    Notes
    -----
    Of a labelled array are taken: names from C and P; the pixel size from the steps of Y and X; the step of a stack
    from Z; times from T or from a coordinate ``time``, by the ``units`` of the coordinate, or milliseconds; further
    coordinates of the frames as recorded data. Colour samples are red, green, blue, unless ``samples`` or labels on S
    say otherwise. A coordinate ``frame_present`` that is false leaves the frame out.

    Raises
    ------
    TypeError
        If the type of the pixels is none that a file holds; it says what to convert to.
    ValueError
        If axes are missing or unknown, or labels contradict each other. No file is left.
    OSError
        If the file cannot be written. No file is left.

    Examples
    --------
    >>> imwrite("out.nd2", np.zeros((3, 2, 64, 64), "u2"), axes="TCYX", voxel_size=(0.1, 0.1))
    ... # doctest: +SKIP
    """
    given: dict[str, Any] = dict(options)
    if hasattr(array, "data_vars"):
        array, given = _of_dataset(array, given)
    image: Any = array if hasattr(array, "shape") and hasattr(array, "dtype") else np.asarray(array)
    labels = image if hasattr(image, "coords") and hasattr(image, "dims") else None
    names = _axes(image, axes, labels)
    present = None
    if labels is not None:
        dims = {str(dim): name for dim, name in zip(labels.dims, names, strict=True)}
        found = labelled.options(labels, dims)
        given = {**found, **given}
        colour = next((dim for dim, name in dims.items() if name == "S"), None)
        order = labelled.sample_order(labels, colour)
        if colour is not None and order is not None and "samples" not in options:
            image = image.isel({colour: [order.index(name) for name in "RGB"]})
        present = _present(labels, dims)
        lazy = getattr(image, "chunks", None) is not None
        image = image.data if lazy or _in_memory(image) else _Variable(image)
    sizes = dict(zip(names, image.shape, strict=True))
    # Loops first, in the order of the array; then the frame.
    loops = [name for name in names if name not in PIXEL_DIMS]
    frame = [name for name in PIXEL_DIMS if name in names]
    order_of_axes = [names.index(name) for name in (*loops, *frame)]
    ordered = {name: sizes[name] for name in (*loops, *frame)}
    with ND2Writer(path, ordered, image.dtype, **given) as writer:
        for first, block in _blocks(image, [names.index(name) for name in loops]):
            pixels = np.asarray(block).transpose(order_of_axes)
            for place in np.ndindex(pixels.shape[: len(loops)]):
                where = tuple(a + b for a, b in zip(first, place, strict=True))
                if present is None or present[where]:
                    writer.write_frame(where, pixels[place])


def _axes(image: Any, axes: Sequence[str] | None, labels: Any) -> list[str]:
    """Return the axis of each dimension."""
    if axes is None and labels is not None:
        axes = [str(dim) for dim in labels.dims]
        upper = [name.upper() for name in axes]
        axes = upper if all(len(name) == 1 for name in axes) else axes
    if axes is None:
        if len(image.shape) != 2:
            raise ValueError(
                f"an array of {len(image.shape)} dimensions needs axes, as axes='TCYX'; its shape is {image.shape}"
            )
        axes = "YX"
    if len(axes) != len(image.shape) or len(set(axes)) != len(axes):
        raise ValueError(f"axes {axes!r} do not name the axes of an array of shape {image.shape}")
    return list(axes)


def _of_dataset(dataset: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the image of a dataset, with the dataset's attributes, and its binary layers among the options."""
    images = [n for n, v in dataset.data_vars.items() if not str(n).startswith("labels_")]
    name = "image" if "image" in images else images[0] if len(images) == 1 else None
    if name is None:
        raise ValueError(f"the dataset holds {images}: choose one, as dataset[{images[:1]}]")
    image = dataset[name]
    image = image.assign_attrs({**dataset.attrs, **image.attrs})
    if "labels" not in given:
        loops = [dim for dim in image.dims if str(dim).upper() not in PIXEL_DIMS]
        order = [*loops, *(dim for dim in image.dims if str(dim).upper() in ("Y", "X"))]
        layers = {
            str(key).removeprefix("labels_"): layer.transpose(*order).values
            for key, layer in dataset.data_vars.items()
            if str(key).startswith("labels_") and set(layer.dims) == set(order)
        }
        if layers:
            given = {**given, "labels": layers}
    return image, given


def _present(labels: Any, dims: Mapping[str, str]) -> Any:
    """Return which frames are to be written, shape of the loops; None for all."""
    loops = [dim for dim in labels.dims if dims[str(dim)] not in PIXEL_DIMS]
    coordinate = labels.coords.get("frame_present")
    if coordinate is None or set(coordinate.dims) != set(loops):
        return None
    return coordinate.transpose(*loops).values.astype(bool)


def _in_memory(image: Any) -> bool:
    return bool(getattr(image.variable, "_in_memory", True))


class _Variable:
    """A labelled array that is neither in memory nor made of chunks, as the engine opens it: parts are read one by one."""

    def __init__(self, array: Any) -> None:
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> Any:
        return self._array[key].values


def _blocks(image: Any, loops: list[int]) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Give parts of an array, whole frames in each, with the place of their first frame on the loops."""
    chunks = getattr(image, "chunks", None)
    if isinstance(image, np.ndarray):
        yield (0,) * len(loops), image
        return
    edges = []
    frame = math.prod(image.shape) // max(math.prod(image.shape[axis] for axis in loops), 1)
    fit = max(_BLOCK // max(frame * image.dtype.itemsize, 1), 1)
    for axis in reversed(loops):
        size = image.shape[axis]
        if isinstance(chunks, tuple) and isinstance(chunks[axis], tuple):
            steps = [0, *np.cumsum(chunks[axis]).tolist()]
        else:
            step = min(fit, size)
            fit = max(fit // max(size, 1), 1) if step == size else 1
            steps = [*range(0, size, step), size]
        edges.append(list(itertools.pairwise(steps)))
    for spans in itertools.product(*reversed(edges)):
        key = [slice(None)] * len(image.shape)
        for axis, (start, stop) in zip(loops, spans, strict=True):
            key[axis] = slice(start, stop)
        block = image[tuple(key)]
        yield (
            tuple(start for start, _ in spans),
            block.compute(scheduler="threads") if hasattr(block, "compute") else block,
        )
