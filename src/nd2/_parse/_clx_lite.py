"""Metadata in the binary form, as nd2 0.12.0 decodes it."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from nd2._core.format import clx_lite


class ELxLiteVariantType(IntEnum):
    """Types of values."""

    UNKNOWN = 0
    BOOL = 1
    INT32 = 2
    UINT32 = 3
    INT64 = 4
    UINT64 = 5
    DOUBLE = 6
    VOIDPOINTER = 7
    STRING = 8
    BYTEARRAY = 9
    DEPRECATED = 10
    LEVEL = 11
    COMPRESS = 76


def json_from_clx_lite_variant(data: bytes, strip_prefix: bool = True) -> dict[str, Any]:
    """Decode a tree."""
    return clx_lite.decode(data, strip_prefix=strip_prefix)
