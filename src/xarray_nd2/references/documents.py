"""The JSON documents of Zarr hierarchies, formats 2 and 3, and the bytes of chunks that hold coordinates."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from xarray_nd2.references.zarr_array import ZarrModel

ZLIB = {"id": "zlib", "level": 1}
"""The codec of compressed frames; the level has no effect on reading."""

_V3_TYPE = {
    "b1": "bool",
    "i1": "int8",
    "i2": "int16",
    "i4": "int32",
    "i8": "int64",
    "u1": "uint8",
    "u2": "uint16",
    "u4": "uint32",
    "u8": "uint64",
    "f4": "float32",
    "f8": "float64",
}


def plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with NumPy's scalars and arrays as Python's own numbers and lists."""
    return {
        key: value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value
        for key, value in attrs.items()
    }


def to_text(document: Mapping[str, Any]) -> str:
    """Write a document as JSON."""
    return json.dumps(document, ensure_ascii=False)


# -------------------------------------------------------------------------------------------------------------- keys


def image_prefix(path: str, zarr_format: int) -> str:
    """Return what stands before the indices of a chunk, with dots between them, in its key."""
    return f"{path}/" if zarr_format == 2 else f"{path}/c."


def only_chunk(path: str, ndim: int, zarr_format: int) -> str:
    """Return the key of the only chunk of an array."""
    if zarr_format == 2:
        return f"{path}/{'.'.join(['0'] * max(ndim, 1))}"
    return f"{path}/{'.'.join(['c'] + ['0'] * ndim)}"


# ---------------------------------------------------------------------------------------------------------- format 2


def image_v2(zarr: ZarrModel) -> dict[str, Any]:
    """Return the ``.zarray`` of an image; its bytes must lie as the array says."""
    compressor = ZLIB if zarr.codec == "zlib" else None
    return _array_v2(zarr.shape, zarr.chunks, zarr.dtype, compressor)


def values_v2(values: NDArray[Any]) -> dict[str, Any]:
    """Return the ``.zarray`` of a coordinate that is one chunk."""
    return _array_v2(values.shape, values.shape, values.dtype, None)


def array_v2(
    path: str, document: dict[str, Any], attrs: Mapping[str, Any], dims: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """Return the documents of an array by their keys."""
    return {
        f"{path}/.zarray": document,
        f"{path}/.zattrs": {**plain(attrs), "_ARRAY_DIMENSIONS": list(dims)},
    }


def _array_v2(
    shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype[Any], compressor: Any
) -> dict[str, Any]:
    return {
        "zarr_format": 2,
        "shape": list(shape),
        "chunks": [max(n, 1) for n in chunks],
        "dtype": dtype.str,
        "compressor": compressor,
        # A fill value makes xarray mask: uint16 would read back as float.
        "fill_value": None,
        "filters": None,
        "order": "C",
        "dimension_separator": ".",
    }


# ---------------------------------------------------------------------------------------------------------- format 3


def image_v3(zarr: ZarrModel, attrs: Mapping[str, Any], dims: tuple[str, ...]) -> dict[str, Any]:
    """Return the ``zarr.json`` of an image, its axes named ``dims``."""
    codecs: list[dict[str, Any]] = []
    if zarr.transpose is not None:
        codecs.append({"name": "transpose", "configuration": {"order": list(zarr.transpose)}})
    codecs.append(_bytes_codec(zarr.dtype))
    if zarr.codec == "zlib":
        codecs.append({"name": "numcodecs.zlib", "configuration": {"level": 1}})
    return _array_v3(zarr.shape, zarr.chunks, _V3_TYPE[zarr.dtype.str[1:]], 0, codecs, attrs, dims)


def values_v3(
    values: NDArray[Any], attrs: Mapping[str, Any], dims: tuple[str, ...]
) -> dict[str, Any]:
    """Return the ``zarr.json`` of a coordinate that is one chunk."""
    if values.dtype.kind == "U":
        codecs: list[dict[str, Any]] = [{"name": "vlen-utf8"}]
        return _array_v3(values.shape, values.shape, "string", "", codecs, attrs, dims)
    fill = False if values.dtype.kind == "b" else 0
    kind, codecs = _V3_TYPE[values.dtype.str[1:]], [_bytes_codec(values.dtype)]
    return _array_v3(values.shape, values.shape, kind, fill, codecs, attrs, dims)


def _bytes_codec(dtype: np.dtype[Any]) -> dict[str, Any]:
    if dtype.itemsize == 1:
        return {"name": "bytes"}
    return {"name": "bytes", "configuration": {"endian": "little"}}


def _array_v3(
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    data_type: str,
    fill_value: Any,
    codecs: list[dict[str, Any]],
    attrs: Mapping[str, Any],
    dims: tuple[str, ...],
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": data_type,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [max(n, 1) for n in chunks]},
        },
        # With dots, all chunks of an array are in one folder: listing a million of them stays cheap.
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": fill_value,
        "codecs": codecs,
        "attributes": plain(attrs),
        "dimension_names": list(dims),
        "storage_transformers": [],
    }


def group_v3(
    attrs: Mapping[str, Any], members: Mapping[str, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the ``zarr.json`` of a group; with ``members`` (path to document) its consolidated metadata."""
    document = {"zarr_format": 3, "node_type": "group", "attributes": plain(attrs)}
    if members is None:
        return document
    consolidated = {"kind": "inline", "must_understand": False, "metadata": dict(members)}
    return {**document, "consolidated_metadata": consolidated}


def hierarchy_v3(
    attrs: Mapping[str, Any], nodes: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the documents of a hierarchy by their keys, of a root with consolidated metadata and of its nodes."""
    return {
        "zarr.json": group_v3(attrs, nodes),
        **{f"{path}/zarr.json": document for path, document in nodes.items()},
    }


# ---------------------------------------------------------------------------------------------------------- values


def as_stored(values: Any) -> NDArray[Any]:
    """Return the values of a coordinate as an array that Zarr holds: little-endian, texts of fixed width."""
    array = np.asarray(values)
    if array.dtype.kind in "OT":
        array = np.array(array.tolist(), np.str_)
    if array.dtype.itemsize == 0:  # no text longer than nothing
        array = array.astype("U1")
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def chunk_v2(values: NDArray[Any]) -> bytes:
    """Return the bytes of a coordinate's only chunk."""
    return values.tobytes()


def chunk_v3(values: NDArray[Any]) -> bytes:
    """Return the bytes of a coordinate's only chunk; texts in the form of the codec ``vlen-utf8``."""
    if values.dtype.kind != "U":
        return values.tobytes()
    texts = [text.encode() for text in values.reshape(-1).tolist()]
    parts = [struct.pack("<I", len(texts))]
    for text in texts:
        parts += [struct.pack("<I", len(text)), text]
    return b"".join(parts)


def decode_values(document: Mapping[str, Any], data: bytes) -> NDArray[Any]:
    """Return the values of a coordinate from its document and its only chunk, as this module wrote them."""
    shape = tuple(document["shape"])
    if document["zarr_format"] == 2:
        return np.frombuffer(data, document["dtype"]).reshape(shape)
    if document["data_type"] != "string":
        code = next(code for code, name in _V3_TYPE.items() if name == document["data_type"])
        return np.frombuffer(data, f"<{code}").reshape(shape)
    texts = []
    place = 4
    for _ in range(int.from_bytes(data[:4], "little")):
        start = place + 4
        place = start + int.from_bytes(data[place:start], "little")
        texts.append(data[start:place].decode())
    return np.array(texts, dtype=np.str_).reshape(shape)
