"""``imwrite``: a plain, lazy or labeled array as a file, written block by block."""

from __future__ import annotations

import io
import itertools
import math
import os
import pickle
from dataclasses import dataclass
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Unpack, cast

import numpy as np

from nd2._core import errors
from nd2._core.frames.array import PIXEL_DIMS
from nd2._core.io.destination import resolve
from nd2._core.io.urls import local_path
from nd2._core.write import coords
from nd2._core.write.writer import ND2Writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import xarray as xr
    from numpy.typing import ArrayLike, NDArray

    from nd2._core.write.plan import WriterOptions

_BLOCK = 16 << 20
"""Bytes that are taken at once from an array without chunks."""
_EXAMPLES = {3: "TYX", 4: "TCYX", 5: "TZCYX"}
"""Axes for arrays of some numbers of dimensions, for a message."""
_MAX_PATH = 4096


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
        The file to write.
    array : ndarray, dask array, xarray.DataArray, or xarray.Dataset
        Pixels of uint8, uint16 or float32. The image of a dataset is written, and its ``labels_...``
        become binary layers. Dask arrays are computed block by block.
    axes : str or sequence of str, optional
        Axis of each dimension: T, P, Z, U, C, Y, X, S, in any order. By default the names of the
        dimensions of a labeled array; ``YX`` for two dimensions.
    **options
        See `ND2Writer`. They override coordinates and attributes.

    Notes
    -----
    The coordinates of a labeled array give the names of channels and positions (C and P), the pixel
    size (steps of Y and X), the step of a stack (Z), and the times (T or ``time``), by their
    ``units``, or else in seconds (milliseconds in arrays of ``ND2File.to_xarray``). The attributes
    of the engine give start, software, objective and bit depth, its coordinates ``stage_x``,
    ``stage_y``, ``stage_z`` and ``channel_exposure`` stage and exposure. Further coordinates of the
    frames become recorded data. Color samples are red, green, blue, unless ``samples`` or labels on
    S differ. Frames whose coordinate ``frame_present`` is false are omitted.

    Raises
    ------
    TypeError
        If ND2 cannot store this dtype; the message suggests one that fits.
    ValueError
        If axes are missing or unknown, or labels contradict each other. No file is left.
    FileExistsError
        If ``path`` exists, and ``overwrite`` is not given or the array reads it.
    OSError
        If the file cannot be written. No file is left.

    Examples
    --------
    >>> imwrite("out.nd2", np.zeros((3, 2, 64, 64), "u2"), axes="TCYX", voxel_size=(0.1, 0.1))
    ... # doctest: +SKIP
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(
            f"the first argument must be the path of the file to write, not {type(path).__name__}; "
            "the second is the array"
        )
    overwrite = bool(options.get("overwrite"))
    sources = input_paths((array, options)) if overwrite and os.path.exists(local_path(path)) else ()
    resolve(path, "ND2", overwrite=overwrite, sources=sorted(sources), local=True)
    frames = ArrayFrames.from_array(array, axes, options)
    with ND2Writer(path, frames.sizes, frames.image.dtype, **frames.options) as writer:
        for block in frames.blocks():
            pixels = frames.load(block)
            first = [span.start for span in block]
            for place in np.ndindex(pixels.shape[: len(block)]):
                where = tuple(a + b for a, b in zip(first, place, strict=True))
                if frames.present is None or frames.present[where]:
                    writer.write_frame(where, pixels[place])


@dataclass(frozen=True, eq=False)
class ArrayFrames:
    """An array as the frames of a file.

    ``image`` is an array or an ``xarray.Variable``. ``sizes`` has the loops first, in the order of the array,
    then the axes of a frame; ``axes`` is the axis of ``image`` for each. ``options`` come from the labels and the
    user. ``present`` is which frames exist, shape of the loops; None for all.
    """

    image: Any
    sizes: dict[str, int]
    axes: list[int]
    options: WriterOptions
    present: NDArray[np.bool_] | None

    @classmethod
    def from_array(cls, array: Any, axes: Sequence[str] | None, options: WriterOptions) -> ArrayFrames:
        """Describe an array; see `imwrite`."""
        given: dict[str, Any] = dict(options)
        if hasattr(array, "data_vars"):
            array, given = _from_dataset(array, given)
        image: Any = array if hasattr(array, "shape") and hasattr(array, "dtype") else np.asarray(array)
        labels = image if hasattr(image, "coords") and hasattr(image, "dims") else None
        names = _axes(image, axes, labels)
        present = None
        if labels is not None:
            dims = {str(dim): name for dim, name in zip(labels.dims, names, strict=True)}
            stated = coords.options(labels, dims)
            if "custom" in stated and "custom" in given:
                given["custom"] = {**(stated["custom"] or {}), **(given["custom"] or {})}
            given = {**stated, **given}
            color_dim = next((dim for dim, name in dims.items() if name == "S"), None)
            order = coords.sample_order(labels, color_dim)
            if color_dim is not None and order is not None and "samples" not in options:
                image = image.isel({color_dim: [order.index(name) for name in "RGB"]})
            present = _present(labels, dims)
            image = image.variable
        loops = [name for name in names if name not in PIXEL_DIMS]
        ordered = [*loops, *(name for name in PIXEL_DIMS if name in names)]
        order_of_axes = [names.index(name) for name in ordered]
        sizes = {name: image.shape[axis] for name, axis in zip(ordered, order_of_axes, strict=True)}
        return cls(image, sizes, order_of_axes, cast("WriterOptions", given), present)

    @property
    def loops(self) -> list[int]:
        """Axis of ``image`` for each loop."""
        return [axis for name, axis in zip(self.sizes, self.axes, strict=True) if name not in PIXEL_DIMS]

    def blocks(self) -> Iterator[tuple[slice, ...]]:
        """Yield parts of whole frames that are computed or read at once, as slices of the loops."""
        image, loops = self.image, self.loops
        chunks = getattr(image, "chunks", None)
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
            edges.append([slice(*pair) for pair in itertools.pairwise(steps)])
        yield from itertools.product(*reversed(edges))

    def load(self, block: tuple[slice, ...]) -> NDArray[Any]:
        """Return a block on the axes of ``sizes``."""
        key = [slice(None)] * len(self.image.shape)
        for axis, span in zip(self.loops, block, strict=True):
            key[axis] = span
        part = self.image[tuple(key)]
        if hasattr(part, "compute"):
            part = part.compute()
        return np.asarray(part).transpose(self.axes)


def _axes(image: Any, axes: Sequence[str] | None, labels: Any) -> list[str]:
    """Return the axis of each dimension."""
    if axes is None and labels is not None:
        axes = [str(dim) for dim in labels.dims]
        upper = [name.upper() for name in axes]
        axes = upper if all(len(name) == 1 for name in axes) else axes
    if axes is None:
        if len(image.shape) < 2:
            raise ValueError(f"an image has at least the dimensions Y and X; the array has the shape {image.shape}")
        if len(image.shape) != 2:
            example = _EXAMPLES.get(len(image.shape), "TPZCYX")
            raise ValueError(
                f"an array of {errors.plural(len(image.shape), 'dimension')} needs axes, such as "
                f"axes={example!r}; its shape is {image.shape}"
            )
        axes = "YX"
    if isinstance(axes, str):
        axes = axes.upper()
    twice = next((name for name in axes if list(axes).count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"axis {twice!r} occurs twice in axes {axes!r}")
    if len(axes) != len(image.shape):
        raise ValueError(
            f"axes {axes!r} name {errors.plural(len(axes), 'dimension')}, but the array has "
            f"{len(image.shape)}: its shape is {image.shape}"
        )
    return list(axes)


def _from_dataset(dataset: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the image of a dataset with the attributes of the dataset, and the options."""
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
    """Return which frames to write, shape of the loops; None for all."""
    loops = [dim for dim in labels.dims if dims[str(dim)] not in PIXEL_DIMS]
    coordinate = labels.coords.get("frame_present")
    if coordinate is None or set(coordinate.dims) != set(loops):
        return None
    return coordinate.transpose(*loops).values.astype(bool)


def input_paths(array: Any) -> set[str]:
    """Return every text in an array's object that may be the path or URL of a file that it reads.

    Dask graphs, functions and their closures, xarray's wrappers, memory maps and open files are searched.
    """
    walk = _Walk()
    try:
        walk.dump(array)
    except Exception as error:
        raise ValueError(
            f"cannot determine the files that the {type(array).__name__} reads ({error}); write to a path that is free"
        ) from error
    return {path for path in walk.paths if 0 < len(path) <= _MAX_PATH and "\0" not in path}


class _Nowhere(io.RawIOBase):
    """A file that keeps nothing."""

    def write(self, data: Any, /) -> int:
        return len(data)


class _Walk(pickle.Pickler):
    """Goes through an object as pickling does, and notes the texts in it."""

    def __init__(self) -> None:
        super().__init__(_Nowhere(), pickle.HIGHEST_PROTOCOL)
        self.paths: set[str] = set()

    def persistent_id(self, obj: Any) -> bool | None:
        """Note the texts; return True for objects that need no search."""
        if isinstance(obj, (str, os.PathLike)):
            self.paths.add(os.fsdecode(os.fspath(obj)))
        elif isinstance(obj, np.ndarray) and not obj.dtype.hasobject:
            base: Any = obj
            while base is not None:
                self.paths.add(str(getattr(base, "filename", None) or ""))
                base = getattr(base, "base", None)
        elif isinstance(obj, io.IOBase):
            self.paths.add(str(getattr(obj, "name", "")))
        elif not isinstance(obj, (type, ModuleType, BuiltinFunctionType)):
            return None
        return True

    def reducer_override(self, obj: Any) -> Any:
        """Take apart functions, and objects that cannot be pickled, such as locks."""
        if isinstance(obj, FunctionType):
            cells = [cell.cell_contents for cell in obj.__closure__ or ()]
            names = [obj.__globals__.get(name) for name in obj.__code__.co_names]
            texts = [value for value in names if isinstance(value, (str, os.PathLike, np.ndarray))]
            return tuple, ([cells, obj.__defaults__, obj.__kwdefaults__, obj.__code__, texts],)
        if isinstance(obj, CodeType):
            return tuple, (obj.co_consts,)
        try:
            reduced = obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        except Exception:
            return tuple, (getattr(obj, "__dict__", ()),)
        return (tuple, ()) if isinstance(reduced, str) else reduced
