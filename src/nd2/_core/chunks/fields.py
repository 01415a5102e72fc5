"""Values in the trees of metadata chunks: checked reads of both forms, and tables of fields.

The binary form has one root level with the name of the structure, the XML form does not. The XML
form wraps each level in a list of one. If a value is missing or has another type, reads return the
default. Decoders return levels as dicts: checking for them is several times faster than checking
for mappings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, TypeAlias, TypeVar

from nd2._core.format import clx_lite
from nd2._core.format.clx_lite import I32, U32

Tree: TypeAlias = Mapping[str, Any]
Names: TypeAlias = tuple[bytes, bytes]
"""Names of one chunk: in files of version 3 (binary metadata) and of version 2 (XML)."""
Table: TypeAlias = tuple[tuple[str, str, Callable[..., Any]], ...]
"""Fields that are stored without conversion: stored key, name in the structure, stored type."""
_NO_DEFAULTS: Tree = {}
_Code = TypeVar("_Code", bound=IntEnum)

LIST_KEY = re.compile(r"i\d{10}")


def name(names: Names, version: tuple[int, int]) -> bytes:
    """Return the name of a chunk in a file's version."""
    return names[0 if version >= (3, 0) else 1]


def encode(tree: Tree, version: tuple[int, int]) -> bytes:
    """Encode a tree with its root level in the form of a file's version; XML has no root level."""
    if version >= (3, 0):
        return clx_lite.encode(tree)
    from nd2._core.format import clx_xml

    (content,) = tree.values()
    return clx_xml.encode({"no_name": content})


def read(tree: Tree, table: Table, defaults: Tree = _NO_DEFAULTS) -> dict[str, Any]:
    """Return the values of a table's fields by their names in the structure."""
    values = {}
    for key, name, kind in table:
        getter, zero = _GETTERS[kind]
        values[name] = getter(tree, key, defaults.get(name, zero))
    return values


def write(value: object, table: Table) -> dict[str, Any]:
    """Return the tree of a table's fields, from the attributes of a structure."""
    return {key: kind(getattr(value, name)) for key, name, kind in table}


def bare(table: Table) -> Table:
    """Return a table for trees whose names have no type prefix."""
    return tuple((key.lstrip(clx_lite.TYPE_PREFIX), name, kind) for key, name, kind in table)


def root(raw: Tree, name: str) -> Tree:
    """Return the content of the root level, or the tree if it has no root level."""
    content = raw.get(name, raw)
    return unwrap(content) if isinstance(content, dict) else {}


def unwrap(tree: Tree) -> Tree:
    """Return the level that a list of one holds, or else the tree itself."""
    if len(tree) == 1 and isinstance(only := tree.get("i0000000000"), dict):
        return only
    return tree


def level(tree: Tree, *path: str) -> Tree:
    """Return the level at a path; empty if it is missing."""
    for key in path:
        below = tree.get(key)
        if not isinstance(below, dict):
            return {}
        tree = unwrap(below)
    return tree


def first(value: Any) -> dict[str, Any]:
    """Return a level, or the first of a list of levels; empty without one."""
    while True:
        if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("no_name"), list):
            value = value["no_name"]
        elif isinstance(value, list):
            value = value[0] if value else None
        else:
            return value if isinstance(value, dict) else {}


def levels(value: Any) -> list[Tree]:
    """Return the levels in a list, in stored order, whatever their keys."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict)]


def flags(value: Any) -> list[bool]:
    """Return a mask, from bytes or a list of booleans, which may lack false items."""
    if isinstance(value, dict):
        if value and all(LIST_KEY.fullmatch(key) for key in value):
            last = int(max(value)[1:])
            return [bool(value.get(f"i{i:010d}")) for i in range(min(last + 1, 1 << 20))]
        return [bool(flag) for flag in value.values()]
    return [bool(flag) for flag in value] if isinstance(value, (list, bytes, bytearray)) else []


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
    """Return a number that has a meaning only above zero; None otherwise."""
    value = real(tree, key)
    return value if value > 0 else None


def text(tree: Tree, key: str, default: str = "") -> str:
    """Return a text."""
    value = tree.get(key)
    return value if isinstance(value, str) else default


def flag(tree: Tree, key: str, default: bool = False) -> bool:
    """Return a truth value."""
    return bool(tree.get(key, default))


def member(kind: type[_Code], code: int) -> _Code | int:
    """Return the member of an enumeration, or the code if it is unknown."""
    try:
        return kind(code)
    except ValueError:
        return code


_GETTERS: dict[Callable[..., Any], tuple[Callable[..., Any], Any]] = {
    float: (real, 0.0),
    U32: (integer, 0),
    I32: (integer, 0),
    bool: (flag, False),
    str: (text, ""),
}
