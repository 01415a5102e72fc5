"""References to several files as one dataset: joined along an axis of the frames, without opening the files."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_nd2 import _zarr_metadata as documents
from xarray_nd2._hierarchy import SOURCE_SIZE, SOURCE_VERSION
from xarray_nd2._references import TEMPLATE
from xarray_nd2.opening import load

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

_PER_FILE = ("source", SOURCE_SIZE, SOURCE_VERSION)
_PIXEL_DIMS = ("Y", "X", "C", "S")


@dataclass(frozen=True)
class _Array:
    """One array of one file's references."""

    name: str
    zarr_format: int
    document: dict[str, Any]
    attrs: dict[str, Any]
    dims: tuple[str, ...]
    chunks: dict[tuple[int, ...], Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.document["shape"])

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        grid = self.document.get("chunk_grid")
        return tuple(grid["configuration"]["chunk_shape"] if grid else self.document["chunks"])

    @property
    def values(self) -> NDArray[Any]:
        """Values of a coordinate, whose only chunk stands in the references."""
        (text,) = self.chunks.values()
        data = base64.b64decode(text.removeprefix("base64:"))
        return documents.decode_values(self.document, data)

    def like(self, other: _Array, free: str) -> bool:
        """Return whether another array fits to this one on all axes but one."""

        def fixed(array: _Array) -> Any:
            document = {
                key: value
                for key, value in array.document.items()
                if key not in ("shape", "attributes")
            }
            sizes = [
                (dim, size)
                for dim, size in zip(array.dims, array.shape, strict=True)
                if dim != free
            ]
            return document, sizes, array.dims

        return bool(fixed(self) == fixed(other))


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
        If there are none, or the files' images or axes do not fit together.
    """
    if concat_dim in _PIXEL_DIMS:
        raise ValueError(f"frames are whole: files cannot be joined along {concat_dim}")
    parts = [_Part.of(item, storage_options) for item in refs]
    if not parts:
        raise ValueError("there are no references to combine")
    first = parts[0]
    if any(part.zarr_format != first.zarr_format for part in parts):
        raise ValueError("references of Zarr formats 2 and 3 cannot be combined")
    joined: list[_Array] = []
    left_out = list(first.attrs.get("coordinates_left_out", []))
    new_axis = concat_dim not in first.arrays["image"].dims
    for name, array in first.arrays.items():
        same = [part.arrays.get(name) for part in parts]
        others = [other for other in same if other is not None]
        if name == "image":
            joined.append(_joined_image(others, concat_dim, new_axis))
        elif len(others) == len(parts) and (whole := _joined_coord(others, concat_dim, new_axis)):
            joined.append(whole)
        elif array.dims == (name,):
            raise ValueError(f"the files differ on the axis {name}")
        else:
            left_out.append(name)
    attrs = dict(first.attrs)
    for key in _PER_FILE:
        attrs[key] = [part.attrs.get(key) for part in parts]
    if left_out:
        attrs["coordinates_left_out"] = left_out
    templates = {f"{TEMPLATE}{i}": part.url for i, part in enumerate(parts)}
    return {
        "version": 1,
        "templates": templates,
        "refs": _written(joined, attrs, first.zarr_format),
    }


@dataclass(frozen=True)
class _Part:
    """The references of one file."""

    zarr_format: int
    attrs: dict[str, Any]
    arrays: dict[str, _Array]
    url: str

    @classmethod
    def of(cls, item: Any, storage_options: Mapping[str, Any] | None) -> _Part:
        content, attrs, zarr_format = load(item, storage_options)
        if isinstance(content, str):
            raise ValueError("references in Parquet cannot be combined; write them as JSON")
        refs = content["refs"]
        found: dict[str, dict[tuple[int, ...], Any]] = {}
        for key, value in refs.items():
            name, _, chunk = key.partition("/")
            if not chunk or chunk.startswith(".z") or chunk == "zarr.json":
                continue
            if "/" in chunk:
                raise ValueError("references with groups cannot be combined")
            place = chunk.removeprefix("c").lstrip(".") if zarr_format == 3 else chunk
            index = tuple(map(int, place.split("."))) if place else ()
            found.setdefault(name, {})[index] = value
        names = [
            key.split("/")[0]
            for key in refs
            if key.count("/") == 1
            and (key.endswith("/.zarray") or (key.endswith("/zarr.json") and zarr_format == 3))
        ]
        arrays = {name: _array(refs, name, zarr_format, found.get(name, {})) for name in names}
        if "image" not in arrays:
            raise ValueError("these references hold no image of one group; use layout='flat'")
        url = content.get("templates", {}).get(TEMPLATE) or next(
            (value[0] for value in found.get("image", {}).values()), str(attrs.get("source", ""))
        )
        return cls(zarr_format, attrs, arrays, url)


def _array(
    refs: Mapping[str, Any], name: str, zarr_format: int, chunks: dict[tuple[int, ...], Any]
) -> _Array:
    if zarr_format == 3:
        document = json.loads(refs[f"{name}/zarr.json"])
        dims = tuple(document["dimension_names"])
        return _Array(name, 3, document, document["attributes"], dims, chunks)
    document = json.loads(refs[f"{name}/.zarray"])
    attrs = json.loads(refs[f"{name}/.zattrs"])
    dims = tuple(attrs.pop("_ARRAY_DIMENSIONS"))
    if not dims:
        chunks = dict.fromkeys([()], next(iter(chunks.values())))
    return _Array(name, 2, document, attrs, dims, chunks)


def _joined_image(images: Sequence[_Array], dim: str, new_axis: bool) -> _Array:
    """Join images: every byte range stays, under a key that is shifted."""
    first = images[0]
    for i, image in enumerate(images):
        if not first.like(image, dim) or (new_axis and first.shape != image.shape):
            raise ValueError(
                f"the image of file {i} does not fit to that of file 0: "
                f"{dict(zip(image.dims, image.shape, strict=True))} of {image.document.get('dtype', '')}"
                f"{image.document.get('data_type', '')}, not {dict(zip(first.dims, first.shape, strict=True))}"
            )
    chunks: dict[tuple[int, ...], Any] = {}
    axis = 0 if new_axis else first.dims.index(dim)
    start = 0
    for i, image in enumerate(images):
        place = f"{{{{{TEMPLATE}{i}}}}}"
        for index, (_, offset, length) in image.chunks.items():
            key = (
                (i, *index)
                if new_axis
                else (*index[:axis], index[axis] + start, *index[axis + 1 :])
            )
            chunks[key] = [place, offset, length]
        start += 1 if new_axis else image.shape[axis]
    if new_axis:
        return _resized(first, (dim, *first.dims), (start, *first.shape), chunks, (1,))
    return _resized(
        first, first.dims, (*first.shape[:axis], start, *first.shape[axis + 1 :]), chunks
    )


def _resized(
    image: _Array,
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    chunks: dict[tuple[int, ...], Any],
    more: tuple[int, ...] = (),
) -> _Array:
    """Return an image of another shape, with further axes of one item in front of its chunks."""
    document = {**image.document, "shape": list(shape)}
    sizes = [*more, *image.chunk_shape]
    if image.zarr_format == 2:
        document["chunks"] = sizes
    else:
        document["chunk_grid"] = {"name": "regular", "configuration": {"chunk_shape": sizes}}
        document["codecs"] = [_further(codec, len(more)) for codec in document["codecs"]]
    return _Array(image.name, image.zarr_format, document, image.attrs, dims, chunks)


def _further(codec: dict[str, Any], more: int) -> dict[str, Any]:
    """Return a codec for chunks with further axes in front."""
    if codec["name"] != "transpose":
        return codec
    order = [*range(more), *(place + more for place in codec["configuration"]["order"])]
    return {"name": "transpose", "configuration": {"order": order}}


def _joined_coord(coords: Sequence[_Array], dim: str, new_axis: bool) -> _Array | None:
    """Join a coordinate of all files; None where they differ and have no place on the axis."""
    first = coords[0]
    if any(coord.dims != first.dims for coord in coords):
        return None
    values = [coord.values for coord in coords]
    if dim in first.dims:
        axis = first.dims.index(dim)
        shapes = {(*v.shape[:axis], *v.shape[axis + 1 :]) for v in values}
        return _coord(first, first.dims, np.concatenate(values, axis)) if len(shapes) == 1 else None
    same = all(np.array_equal(v, values[0], equal_nan=v.dtype.kind == "f") for v in values)
    if new_axis and (first.name == dim or not same) and len({v.shape for v in values}) == 1:
        # An axis of the image that differs cannot become a coordinate on two axes.
        return (
            None
            if first.dims == (first.name,)
            else _coord(first, (dim, *first.dims), np.stack(values))
        )
    return _coord(first, first.dims, values[0]) if same else None


def _coord(array: _Array, dims: tuple[str, ...], values: NDArray[Any]) -> _Array:
    values = documents.as_stored(values)
    if array.zarr_format == 2:
        document, data = documents.values_v2(values), documents.chunk_v2(values)
    else:
        document = documents.values_v3(values, array.attrs, dims)
        data = documents.chunk_v3(values)
    text = "base64:" + base64.b64encode(data).decode("ascii")
    chunks = {(0,) * len(dims): text}
    return _Array(array.name, array.zarr_format, document, array.attrs, dims, chunks)


def _written(arrays: Sequence[_Array], attrs: dict[str, Any], zarr_format: int) -> dict[str, Any]:
    """Write arrays down as the members of kerchunk references."""
    names = {array.name for array in arrays}
    image = next(array for array in arrays if array.name == "image")
    others = " ".join(
        name for name in (a.name for a in arrays) if name in names - {"image", *image.dims}
    )
    metadata: dict[str, Any] = {}
    nodes: dict[str, Any] = {}
    for array in arrays:
        own = {**array.attrs}
        if array.name == "image":
            own.pop("coordinates", None)
            own.update({"coordinates": others} if others else {})
        if zarr_format == 2:
            metadata[f"{array.name}/.zarray"] = array.document
            metadata[f"{array.name}/.zattrs"] = {**own, "_ARRAY_DIMENSIONS": list(array.dims)}
        else:
            nodes[array.name] = {
                **array.document,
                "attributes": own,
                "dimension_names": list(array.dims),
            }
    if zarr_format == 2:
        metadata = {".zgroup": {"zarr_format": 2}, ".zattrs": attrs, **metadata}
        metadata[".zmetadata"] = {"metadata": dict(metadata), "zarr_consolidated_format": 1}
    else:
        metadata = {"zarr.json": documents.group_v3(attrs, nodes)}
        metadata.update({f"{name}/zarr.json": document for name, document in nodes.items()})
    refs: dict[str, Any] = {key: documents.to_text(value) for key, value in metadata.items()}
    for array in arrays:
        if zarr_format == 2:
            prefix, separator = f"{array.name}/", "."
        else:
            prefix, separator = f"{array.name}/c", "."
        for index, value in array.chunks.items():
            place = separator.join(map(str, index))
            if zarr_format == 2:
                refs[f"{prefix}{place or '0'}"] = value
            else:
                refs[f"{prefix}.{place}" if place else prefix] = value
    return refs
