"""References to several files as one dataset: joined along an axis of the frames, without opening the files."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.frames.array import PIXEL_DIMS
from xarray_nd2.references import documents
from xarray_nd2.references.groups import SOURCE_SIZE, SOURCE_VERSION
from xarray_nd2.references.model import TEMPLATE, ChunkTable, References
from xarray_nd2.references.parts import Array, Part
from xarray_nd2.references.zarr_array import ChunkReferences

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

_PER_FILE = ("source", SOURCE_SIZE, SOURCE_VERSION)


def combine_references(
    refs: Iterable[str | os.PathLike[str] | Mapping[str, Any]],
    *,
    concat_dim: str = "T",
    storage_options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Join the references of several files along one axis.

    Parameters
    ----------
    refs : iterable of str, os.PathLike or Mapping
        References that `to_kerchunk` or `write_kerchunk` made, in the order in which they are joined: JSON files
        (paths or URLs), or dictionaries; all of one Zarr format, in one group.
    concat_dim : str
        The axis: ``T``, ``P`` or ``Z``. Where files do not have it, it is made, with one item for each file.
    storage_options : Mapping, optional
        Options for the file system of the JSON files.

    Returns
    -------
    dict
        Kerchunk references, version 1. Coordinates along the axis are joined as they are: times keep counting from
        each file's own start. Attributes are those of the first file; ``source`` and what tells whether a file
        changed are lists. Coordinates beside the axes that differ from file to file, and cannot be joined, are left
        out; their names stand in ``coordinates_left_out``.

    Raises
    ------
    OSError
        If references cannot be read.
    ValueError
        If there are none, they lead to several files already, or the files' images or axes do not fit together.
    """
    if concat_dim in PIXEL_DIMS:
        raise ValueError(f"frames are whole: files cannot be joined along {concat_dim}")
    parts = [Part.of(item, storage_options) for item in refs]
    if not parts:
        raise ValueError("there are no references to combine")
    first = parts[0]
    if any(part.zarr_format != first.zarr_format for part in parts):
        raise ValueError("references of Zarr formats 2 and 3 cannot be combined")
    new_axis = concat_dim not in first.image.dims
    image, origins = _joined_image(parts, concat_dim, new_axis)
    coords: dict[str, tuple[Array, NDArray[Any]]] = {}
    left_out = list(first.attrs.get("coordinates_left_out", []))
    for name, (array, _) in first.coords.items():
        same = [part.coords[name] for part in parts if name in part.coords]
        whole = None
        if len(same) == len(parts):
            whole = _joined_coord(name, same, concat_dim, new_axis)
        if whole is not None:
            coords[name] = whole
        elif array.dims == (name,):
            raise ValueError(f"the files differ on the axis {name}")
        else:
            left_out.append(name)
    attrs = dict(first.attrs)
    for key in _PER_FILE:
        attrs[key] = [part.attrs.get(key) for part in parts]
    if left_out:
        attrs["coordinates_left_out"] = left_out
    joined = _documents(image, coords, attrs).to_dict()
    prefix = documents.image_prefix("image", first.zarr_format)
    for i, (part, origin) in enumerate(zip(parts, origins, strict=True)):
        joined["refs"].update(
            ChunkTable(prefix, _placed(part.ranges, image), origin).entries(
                f"{{{{{TEMPLATE}{i}}}}}"
            )
        )
    return {**joined, "templates": {f"{TEMPLATE}{i}": part.url for i, part in enumerate(parts)}}


def _joined_image(
    parts: Sequence[Part], dim: str, new_axis: bool
) -> tuple[Array, list[tuple[int, ...]]]:
    """Join images: every byte range stays. Return the image, and the place of the first chunk of each file in it."""
    first = parts[0].image
    for i, image in enumerate(part.image for part in parts):
        if not first.like(image, dim) or (new_axis and first.shape != image.shape):
            raise ValueError(
                f"the image of file {i} does not fit to that of file 0: "
                f"{dict(zip(image.dims, image.shape, strict=True))} of {image.document.get('dtype', '')}"
                f"{image.document.get('data_type', '')}, not {dict(zip(first.dims, first.shape, strict=True))}"
            )
    axis = 0 if new_axis else first.dims.index(dim)
    sizes = [1 if new_axis else part.image.shape[axis] for part in parts]
    *starts, total = accumulate(sizes, initial=0)
    whole = _with_axis(first, dim) if new_axis else first
    shape = (*whole.shape[:axis], total, *whole.shape[axis + 1 :])
    origins = [tuple(start * (k == axis) for k in range(len(shape))) for start in starts]
    return replace(whole, document={**whole.document, "shape": list(shape)}), origins


def _with_axis(image: Array, dim: str) -> Array:
    """Return an image with a further axis of one item in front."""
    document = {**image.document, "shape": [1, *image.shape]}
    sizes = [1, *image.chunk_shape]
    if image.zarr_format == 2:
        document["chunks"] = sizes
    else:
        document["chunk_grid"] = {"name": "regular", "configuration": {"chunk_shape": sizes}}
        document["codecs"] = [_prepend_axis(codec) for codec in document["codecs"]]
    return Array(image.zarr_format, document, image.attrs, (dim, *image.dims))


def _prepend_axis(codec: dict[str, Any]) -> dict[str, Any]:
    """Return a codec for chunks with a further axis in front."""
    if codec["name"] != "transpose":
        return codec
    order = [0, *(place + 1 for place in codec["configuration"]["order"])]
    return {"name": "transpose", "configuration": {"order": order}}


def _placed(ranges: ChunkReferences, image: Array) -> ChunkReferences:
    """Return byte ranges with as many axes as an image has."""
    if ranges.lengths.ndim == len(image.dims):
        return ranges
    return ChunkReferences(ranges.offsets[None], ranges.lengths[None])


def _joined_coord(
    name: str, coords: Sequence[tuple[Array, NDArray[Any]]], dim: str, new_axis: bool
) -> tuple[Array, NDArray[Any]] | None:
    """Join a coordinate of all files; None where they differ and have no place on the axis."""
    first = coords[0][0]
    if any(array.dims != first.dims for array, _ in coords):
        return None
    values = [one for _, one in coords]
    if dim in first.dims:
        axis = first.dims.index(dim)
        shapes = {(*v.shape[:axis], *v.shape[axis + 1 :]) for v in values}
        return (first, np.concatenate(values, axis)) if len(shapes) == 1 else None
    same = all(np.array_equal(v, values[0], equal_nan=v.dtype.kind == "f") for v in values)
    if new_axis and (name == dim or not same) and len({v.shape for v in values}) == 1:
        # An axis of the image that differs cannot become a coordinate on two axes.
        if first.dims == (name,):
            return None
        return replace(first, dims=(dim, *first.dims)), np.stack(values)
    return (first, values[0]) if same else None


def _documents(
    image: Array, coords: Mapping[str, tuple[Array, NDArray[Any]]], attrs: dict[str, Any]
) -> References:
    """Write down all but the byte ranges."""
    others = " ".join(name for name in coords if name not in image.dims)
    image_attrs = {key: value for key, value in image.attrs.items() if key != "coordinates"}
    image_attrs |= {"coordinates": others} if others else {}
    values = {name: documents.as_stored(one) for name, (_, one) in coords.items()}
    if image.zarr_format == 2:
        metadata = {".zgroup": {"zarr_format": 2}, ".zattrs": attrs}
        metadata |= documents.array_v2("image", image.document, image_attrs, image.dims)
        for name, (array, _) in coords.items():
            document = documents.values_v2(values[name])
            metadata |= documents.array_v2(name, document, array.attrs, array.dims)
        chunks = {name: documents.chunk_v2(one) for name, one in values.items()}
    else:
        nodes = {
            "image": {
                **image.document,
                "attributes": image_attrs,
                "dimension_names": list(image.dims),
            },
            **{
                name: documents.values_v3(values[name], array.attrs, array.dims)
                for name, (array, _) in coords.items()
            },
        }
        metadata = documents.hierarchy_v3(attrs, nodes)
        chunks = {name: documents.chunk_v3(one) for name, one in values.items()}
    inlined = {
        documents.only_chunk(name, values[name].ndim, image.zarr_format): data
        for name, data in chunks.items()
    }
    return References(image.zarr_format, "", metadata, inlined, ())
