"""Metadata and structures as values for JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return a value in the types of JSON.

    Structures become dicts, bytes become base64; numbers that are not finite become None, other objects text.
    """
    kind = type(value)
    if value is None or kind is str or kind is int or kind is bool:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is list or kind is tuple:
        return [plain(item) for item in value]
    names = _field_names(kind)  # type: ignore[arg-type]  # classes are hashable
    if names is not None:
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(bytes(value)).decode()
    if isinstance(value, set | frozenset | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, int):  # members of enumerations, Python's own subclasses
        return int(value)
    return str(value)


@cache
def _field_names(kind: type) -> tuple[str, ...] | None:
    """Return the fields of a structure; None for other types."""
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    return getattr(kind, "_fields", None)


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False)


def json_text(value: Any) -> str:
    """Return a value as JSON text."""
    return _ENCODER.encode(plain(value))
