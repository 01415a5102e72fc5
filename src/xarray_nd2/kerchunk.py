"""Kerchunk references: the file's own bytes as a Zarr array that any reader opens without this package."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._io import open_source
from nd2._readers import open_reader
from xarray_nd2._model import DatasetModel, dataset_model
from xarray_nd2._zarr_model import ZarrModel, zarr_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xarray_nd2._model import VariableModel


def to_kerchunk(
    source: Any,
    *,
    url: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe an ND2 file as kerchunk references (Zarr format 2).

    Parameters
    ----------
    source : str, os.PathLike, BinaryIO
        Local path, URL that fsspec knows, or open binary file.
    url : str, optional
        Where readers of the references find the file; by default where ``source`` is.
    storage_options : Mapping, optional
        Options for the file system of a URL. They do not enter the references.

    Returns
    -------
    dict
        Kerchunk references, version 1: a group with the variable ``image``, axes ``(T, P, Z, Y, X, C, S)`` as far as
        the file has them, and its coordinates. Colour samples are in stored order, labelled ``B``, ``G``, ``R``.

    Raises
    ------
    OSError
        If the file cannot be opened, or is not ND2.
    ValueError
        If it is damaged, or if its frames' bytes are not those of any Zarr chunk.
    """
    opened = open_source(source, storage_options)
    try:
        model = dataset_model(open_reader(opened))
        zarr = zarr_model(model.image)
        return references(model, zarr, url if url is not None else opened.url)
    finally:
        opened.close()


def references(model: DatasetModel, zarr: ZarrModel, url: str) -> dict[str, Any]:
    """Write a model down as kerchunk references."""
    metadata: dict[str, Any] = {
        ".zgroup": {"zarr_format": 2},
        ".zattrs": _json_safe(model.attrs),
        "image/.zarray": _array_metadata(
            zarr.shape,
            zarr.chunks,
            zarr.dtype,
            {"id": "zlib", "level": 1} if zarr.codec == "zlib" else None,
        ),
        "image/.zattrs": {
            **_json_safe(model.image_attrs),
            "_ARRAY_DIMENSIONS": list(zarr.dims),
            "coordinates": " ".join(
                name for name, v in model.coords.items() if name not in zarr.dims
            ),
        },
    }
    refs: dict[str, Any] = {}
    for name, variable in model.coords.items():
        values = np.asarray(variable.values)
        metadata[f"{name}/.zarray"] = _array_metadata(
            values.shape, values.shape, values.dtype, None
        )
        metadata[f"{name}/.zattrs"] = {
            **_json_safe(variable.attrs),
            "_ARRAY_DIMENSIONS": list(variable.dims),
        }
        key = ".".join(["0"] * max(values.ndim, 1))
        refs[f"{name}/{key}"] = _inline(variable)
    refs.update(_image_references(zarr, url))
    consolidated = {"metadata": metadata, "zarr_consolidated_format": 1}
    texts = {
        key: json.dumps(value) for key, value in {**metadata, ".zmetadata": consolidated}.items()
    }
    return {"version": 1, "refs": {**texts, **refs}}


def _image_references(zarr: ZarrModel, url: str) -> dict[str, Any]:
    lengths = zarr.references.lengths
    where = np.argwhere(lengths > 0)
    keys = [f"image/{'.'.join(map(str, index))}" for index in where.tolist()]
    offsets = zarr.references.offsets[lengths > 0].tolist()
    return {
        key: [url, offset, length]
        for key, offset, length in zip(keys, offsets, lengths[lengths > 0].tolist(), strict=True)
    }


def _array_metadata(
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


def _inline(variable: VariableModel) -> str:
    data = np.ascontiguousarray(variable.values).tobytes()
    return "base64:" + base64.b64encode(data).decode("ascii")


def _json_safe(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in attrs.items()
    }


def write_kerchunk(
    source: Any,
    dest: str | os.PathLike[str],
    *,
    url: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Write the references of an ND2 file to a JSON file.

    Parameters
    ----------
    source : str, os.PathLike, BinaryIO
        Local path, URL that fsspec knows, or open binary file.
    dest : str or os.PathLike
        The JSON file; it is replaced as a whole, or not at all.
    url, storage_options
        See `to_kerchunk`.
    """
    refs = to_kerchunk(source, url=url, storage_options=storage_options)
    aside = f"{os.fspath(dest)}.part-{os.getpid()}"
    try:
        with open(aside, "w", encoding="utf-8") as handle:
            json.dump(refs, handle)
        os.replace(aside, dest)
    except BaseException:
        if os.path.exists(aside):
            os.remove(aside)
        raise
