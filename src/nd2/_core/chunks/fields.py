"""Reading values out of decoded trees: both forms of the format, nothing taken for granted.

The binary form has one root level with the name of the structure, the XML form has none; the XML form wraps what is a
level in the binary form in a list of one. A value that is missing, or is not what it should be, gives the default.
Decoders make levels as dicts: to ask for those is several times as fast as to ask for mappings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, TypeAlias, TypeVar

Tree: TypeAlias = Mapping[str, Any]
_Code = TypeVar("_Code", bound=IntEnum)

LIST_KEY = re.compile(r"i\d{10}")


def root(raw: Tree, name: str) -> Tree:
    """Return the content of the root level, whether the tree has one or not."""
    content = raw.get(name, raw)
    return unwrap(content) if isinstance(content, dict) else {}


def unwrap(tree: Tree) -> Tree:
    """Return the level that a list of one holds, or the tree itself if it is no such list."""
    if len(tree) == 1 and isinstance(only := tree.get("i0000000000"), dict):
        return only
    return tree


def level(tree: Tree, *path: str) -> Tree:
    """Return the level at a path; empty if there is none."""
    for key in path:
        below = tree.get(key)
        if not isinstance(below, dict):
            return {}
        tree = unwrap(below)
    return tree


def levels(value: Any) -> list[Tree]:
    """Return the levels in a list, in stored order, whatever their keys."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict)]


def flags(value: Any) -> list[bool]:
    """Return a mask, stored as bytes or as a list of booleans in which false items may be left out."""
    if isinstance(value, dict):
        if value and all(LIST_KEY.fullmatch(key) for key in value):
            last = int(max(value)[1:])
            return [bool(value.get(f"i{i:010d}")) for i in range(min(last + 1, 1 << 20))]
        return [bool(flag) for flag in value.values()]
    return [bool(flag) for flag in value] if isinstance(value, (list, bytes)) else []


def integer(tree: Tree, key: str, default: int = 0) -> int:
    """Return an integer."""
    value = tree.get(key)
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    return int(value) if isinstance(value, int) else default


def real(tree: Tree, key: str, default: float = 0.0) -> float:
    """Return a finite number."""
    value = tree.get(key)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else default


def positive(tree: Tree, key: str) -> float | None:
    """Return a number that is meaningful above zero only."""
    value = real(tree, key)
    return value if value > 0 else None


def text(tree: Tree, key: str) -> str:
    """Return a text; empty if there is none."""
    value = tree.get(key)
    return value if isinstance(value, str) else ""


def member(kind: type[_Code], code: int) -> _Code | int:
    """Return the member of an enumeration, or the code itself if newer software wrote one that is not known."""
    try:
        return kind(code)
    except ValueError:
        return code
