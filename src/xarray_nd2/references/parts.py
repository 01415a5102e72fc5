"""References of one file read back: its documents, its coordinates, and the byte ranges of its image as arrays."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_nd2.references import documents
from xarray_nd2.references.opening import load
from xarray_nd2.references.zarr_array import ChunkReferences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Array:
    """One array of a file's references.

    Attributes
    ----------
    zarr_format : {2, 3}
    document : dict
        The ``.zarray``, or the ``zarr.json``.
    attrs : dict
        Attributes, without the names of the axes.
    dims : tuple of str
        Axes.
    """

    zarr_format: int
    document: dict[str, Any]
    attrs: dict[str, Any]
    dims: tuple[str, ...]

    @classmethod
    def of(cls, refs: Mapping[str, Any], name: str, zarr_format: int) -> Array:
        """Read the documents of an array."""
        if zarr_format == 3:
            document = json.loads(refs[f"{name}/zarr.json"])
            return cls(3, document, document["attributes"], tuple(document["dimension_names"]))
        attrs = json.loads(refs[f"{name}/.zattrs"])
        dims = tuple(attrs.pop("_ARRAY_DIMENSIONS"))
        return cls(2, json.loads(refs[f"{name}/.zarray"]), attrs, dims)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return tuple(self.document["shape"])

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of a chunk."""
        grid = self.document.get("chunk_grid")
        return tuple(grid["configuration"]["chunk_shape"] if grid else self.document["chunks"])

    def like(self, other: Array, free: str) -> bool:
        """Return whether another array fits to this one on all axes but one."""

        def fixed(array: Array) -> Any:
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


@dataclass(frozen=True)
class Part:
    """The references of one file.

    Attributes
    ----------
    zarr_format : {2, 3}
    url : str
        Where the file is.
    attrs : dict
        Attributes of the root.
    image : Array
        The image.
    ranges : ChunkReferences
        Its chunks.
    coords : dict of str to (Array, ndarray)
        The coordinates, and their values.
    """

    zarr_format: int
    url: str
    attrs: dict[str, Any]
    image: Array
    ranges: ChunkReferences
    coords: dict[str, tuple[Array, NDArray[Any]]]

    @classmethod
    def of(cls, item: Any, storage_options: Mapping[str, Any] | None) -> Part:
        """Read references: a dictionary, or a JSON file.

        Raises
        ------
        OSError
            If they cannot be read.
        ValueError
            If they are none, in Parquet, in several groups, or lead to several files.
        """
        content, attrs, zarr_format = load(item, storage_options)
        if isinstance(content, str):
            raise ValueError("references in Parquet cannot be combined; write them as JSON")
        refs = content["refs"]
        if any(key.count("/") > 1 for key in refs):
            raise ValueError("references with groups cannot be combined")
        suffix = "/.zarray" if zarr_format == 2 else "/zarr.json"
        arrays = {
            key.removesuffix(suffix): Array.of(refs, key.removesuffix(suffix), zarr_format)
            for key in refs
            if key.endswith(suffix)
        }
        image = arrays.pop("image", None)
        if image is None:
            raise ValueError("these references hold no image of one group; use layout='flat'")
        ranges, places = _ranges(refs, image)
        if len(places) > 1:
            raise ValueError(
                "references that lead to several files cannot be combined again; give those of each file"
            )
        templates = content.get("templates", {})
        known = {f"{{{{{name}}}}}": url for name, url in templates.items()}
        place = next(iter(places), str(attrs.get("source", "")))
        coords = {name: (array, _values(refs, name, array)) for name, array in arrays.items()}
        return cls(zarr_format, known.get(place, place), attrs, image, ranges, coords)


def _values(refs: Mapping[str, Any], name: str, array: Array) -> NDArray[Any]:
    """Return the values of a coordinate, whose only chunk stands in the references."""
    text = refs[documents.only_chunk(name, len(array.shape), array.zarr_format)]
    return documents.decode_values(array.document, base64.b64decode(text.removeprefix("base64:")))


def _ranges(refs: Mapping[str, Any], image: Array) -> tuple[ChunkReferences, set[str]]:
    """Return the byte ranges of an image, and the files that they lead to."""
    prefix = documents.image_prefix("image", image.zarr_format)
    start = len(prefix)
    found = {
        key[start:]: value
        for key, value in refs.items()
        if key.startswith(prefix) and key[start] != "."
    }
    ranges = found.values()
    if not all(isinstance(one, list) and len(one) == 3 for one in ranges):
        raise ValueError("the image has chunks that are no byte ranges of a file")
    grid = tuple(-(-n // m) for n, m in zip(image.shape, image.chunk_shape, strict=True))
    index = np.fromiter(map(int, ".".join(found).split(".") if found else ()), np.intp)
    place = tuple(index.reshape(-1, len(grid)).T)
    offsets, lengths = np.zeros((2, *grid), np.uint64)
    offsets[place] = np.fromiter(map(itemgetter(1), ranges), np.uint64)
    lengths[place] = np.fromiter(map(itemgetter(2), ranges), np.uint64)
    return ChunkReferences(offsets, lengths), set(map(itemgetter(0), ranges))
