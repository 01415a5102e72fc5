"""Metadata in a form that JSON can hold."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from nd2._core.readers import Reader


def jsonable(value: Any) -> Any:
    """Return a value as JSON can hold it.

    Bytes become base64, numbers that are not finite and what JSON does not know become text.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(bytes(value)).decode()
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    return str(value)


def everything(reader: Reader) -> dict[str, Any]:
    """Return all metadata chunks of a file."""
    unstructured = reader.unstructured_metadata(strip_prefix=True, include=None, exclude=None)
    return {
        "unstructured_metadata": jsonable(unstructured),
        "custom_data": jsonable(reader.custom_data),
    }
