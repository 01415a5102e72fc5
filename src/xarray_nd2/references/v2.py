"""Zarr format 2: documents, keys of chunks, and values; the form that every reader of kerchunk knows.

The sibling of `v3`: both have the same functions.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_nd2.references.arrays import ZarrArray, ZarrGroup

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

STORED_ORDER = True
"""Whether axes must be in stored order: kerchunk's readers do not support the transpose codec."""
_GROUP, _ARRAY, _ATTRS = ".zgroup", ".zarray", ".zattrs"
_DIMS = "_ARRAY_DIMENSIONS"


def documents(groups: Iterable[ZarrGroup]) -> dict[str, Any]:
    """Return the documents of groups by their keys, the consolidated metadata last."""
    metadata: dict[str, Any] = {}
    for group in groups:
        prefix = f"{group.path}/" if group.path else ""
        metadata[prefix + _GROUP] = {"zarr_format": 2}
        metadata[prefix + _ATTRS] = group.attrs
        for path, array in group.items:
            metadata[f"{path}/{_ARRAY}"] = array_document(array)
            metadata[f"{path}/{_ATTRS}"] = {**array.attrs, _DIMS: list(array.dims)}
    return {**metadata, ".zmetadata": {"metadata": metadata, "zarr_consolidated_format": 1}}


def array_document(array: ZarrArray) -> dict[str, Any]:
    """Return the ``.zarray`` of an array; its bytes must be in the order of its axes."""
    return {
        "zarr_format": 2,
        "shape": list(array.shape),
        "chunks": [max(n, 1) for n in array.chunks],
        "dtype": array.dtype.str,
        # The level has no effect on reading.
        "compressor": {"id": "zlib", "level": 1} if array.codec == "zlib" else None,
        # A fill value makes xarray mask: uint16 would read back as float.
        "fill_value": None,
        "filters": None,
        "order": "C",
        "dimension_separator": ".",
    }


def chunk_prefix(path: str) -> str:
    """Return what precedes the indices of a chunk, with dots between them, in its key."""
    return f"{path}/"


def only_chunk(path: str, ndim: int) -> str:
    """Return the key of the only chunk of an array."""
    return f"{path}/{'.'.join(['0'] * max(ndim, 1))}"


def encode(values: NDArray[Any]) -> bytes:
    """Return values as the bytes of a chunk."""
    return values.tobytes()


def decode(array: ZarrArray, chunk: bytes) -> NDArray[Any]:
    """Return the values of an array from its only chunk."""
    return np.frombuffer(chunk, array.dtype).reshape(array.shape)


def root_attrs(refs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of the root."""
    return load(refs.get(_ATTRS, "{}"))


def group_paths(refs: Mapping[str, Any]) -> list[str]:
    """Return the paths of all groups but the root."""
    suffix = f"/{_GROUP}"
    return [key.removesuffix(suffix) for key in refs if key.endswith(suffix)]


def arrays(refs: Mapping[str, Any]) -> dict[str, ZarrArray]:
    """Return the arrays of references by their paths, without data."""
    suffix = f"/{_ARRAY}"
    return {
        key.removesuffix(suffix): _array(load(refs[key]), load(refs[key.replace(_ARRAY, _ATTRS)]))
        for key in refs
        if key.endswith(suffix)
    }


def _array(document: dict[str, Any], attrs: dict[str, Any]) -> ZarrArray:
    compressor = document["compressor"]
    dims = tuple(attrs.pop(_DIMS))
    return ZarrArray(
        dims,
        tuple(document["shape"]),
        tuple(document["chunks"]),
        np.dtype(document["dtype"]),
        attrs=attrs,
        codec="raw" if compressor is None else compressor["id"],
    )


def load(text: Any) -> dict[str, Any]:
    """Read a document, which references hold as JSON or as it is."""
    document: dict[str, Any] = json.loads(text) if isinstance(text, (str, bytes)) else text
    return document
