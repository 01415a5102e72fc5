"""Zarr format 3: documents, keys of chunks, and values.

The sibling of `v2`: both have the same functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.export import zarr_documents
from xarray_nd2.references.arrays import ZarrArray, ZarrGroup
from xarray_nd2.references.v2 import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

STORED_ORDER = False
"""Whether axes must be in stored order; a transpose codec gives them any order here."""
_NAME = "zarr.json"


def documents(groups: Iterable[ZarrGroup]) -> dict[str, Any]:
    """Return the documents of groups by their keys; the root, which is first, has all of them."""
    root, *others = groups
    nodes = {path: array_document(array) for path, array in root.items}
    for group in others:
        nodes[group.path] = zarr_documents.group_document(group.attrs)
        nodes |= {path: array_document(array) for path, array in group.items}
    return {
        _NAME: zarr_documents.group_document(root.attrs, nodes),
        **{f"{path}/{_NAME}": document for path, document in nodes.items()},
    }


def array_document(array: ZarrArray) -> dict[str, Any]:
    """Return the ``zarr.json`` of an array."""
    codecs: list[dict[str, Any]] = []
    if array.transpose is not None:
        codecs.append({"name": "transpose", "configuration": {"order": list(array.transpose)}})
    if array.dtype.kind == "U":
        codecs.append({"name": "vlen-utf8"})
    else:
        codecs.append(zarr_documents.bytes_codec(array.dtype))
    if array.codec == "zlib":  # the level has no effect on reading
        codecs.append({"name": "numcodecs.zlib", "configuration": {"level": 1}})
    return zarr_documents.array_document(
        shape=array.shape, chunks=array.chunks, dtype=array.dtype, codecs=codecs, dims=array.dims, attrs=array.attrs
    )


def chunk_prefix(path: str) -> str:
    """Return what precedes the indices of a chunk, with dots between them, in its key."""
    return f"{path}/c."


def only_chunk(path: str, ndim: int) -> str:
    """Return the key of the only chunk of an array."""
    return f"{path}/{'.'.join(['c'] + ['0'] * ndim)}"


def encode(values: NDArray[Any]) -> bytes:
    """Return values as the bytes of a chunk."""
    if values.dtype.kind != "U":
        return values.tobytes()
    from numcodecs.vlen import VLenUTF8

    return bytes(VLenUTF8().encode(values.astype(object)))


def decode(array: ZarrArray, chunk: bytes) -> NDArray[Any]:
    """Return the values of an array from its only chunk."""
    if array.dtype.kind != "U":
        return np.frombuffer(chunk, array.dtype).reshape(array.shape)
    from numcodecs.vlen import VLenUTF8

    return np.array(VLenUTF8().decode(chunk).tolist(), np.str_).reshape(array.shape)


def root_attrs(refs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of the root."""
    return dict(load(refs[_NAME]).get("attributes", {}))


def group_paths(refs: Mapping[str, Any]) -> list[str]:
    """Return the paths of all groups but the root."""
    return list(_nodes(refs, "group"))


def arrays(refs: Mapping[str, Any]) -> dict[str, ZarrArray]:
    """Return the arrays of references by their paths, without data."""
    return {path: _array(document) for path, document in _nodes(refs, "array").items()}


def _nodes(refs: Mapping[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    suffix = f"/{_NAME}"
    nodes = {key.removesuffix(suffix): load(refs[key]) for key in refs if key.endswith(suffix)}
    return {path: node for path, node in nodes.items() if node.get("node_type") == kind}


def _array(document: dict[str, Any]) -> ZarrArray:
    codecs = {codec["name"]: codec.get("configuration", {}) for codec in document["codecs"]}
    order = codecs.get("transpose", {}).get("order")
    kind = document["data_type"]
    return ZarrArray(
        tuple(document["dimension_names"]),
        tuple(document["shape"]),
        tuple(document["chunk_grid"]["configuration"]["chunk_shape"]),
        np.dtype(np.str_) if kind == "string" else np.dtype(kind).newbyteorder("<"),
        attrs=document["attributes"],
        codec="zlib" if "numcodecs.zlib" in codecs else "raw",
        transpose=None if order is None else tuple(order),
    )
