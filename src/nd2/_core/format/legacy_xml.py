"""The XML of legacy ND2 files: a dialect of the XML variant with type prefixes stripped and repeated names as lists.

Scalars have an attribute ``value``, and their type in ``runtype``; other elements may carry their values as plain
attributes. As nd2 0.12.0 decodes made files; unverified on real ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from nd2._core import errors
from nd2._core.format.clx_lite import MAX_DEPTH, without_prefix

if TYPE_CHECKING:
    from collections.abc import Callable

_PROLOG = re.compile(r"^\s*<\?xml[^>]*\?>")
_SCALARS: dict[str, Callable[[str], Any]] = {
    "bool": lambda text: text.strip().lower() in ("true", "1"),
    "lx_int32": int,
    "lx_int64": int,
    "lx_uint32": int,
    "lx_uint64": int,
    "double": float,
    "float": float,
    "CLxStringW": str,
    "unknown": str,
    "CLxByteArray": str.encode,
}
_WRAPPERS = ("variant", "no_name")


def decode(data: bytes) -> dict[str, Any]:
    """Decode a document to the content of its root element.

    Parameters
    ----------
    data : bytes
        UTF-8 text; invalid bytes and everything after a NUL are dropped.

    Returns
    -------
    dict
        Values are bool, int, float, str, bytes (base64 text), dict and list. A number that cannot be read stays text.
    """
    text = _PROLOG.sub("", data.split(b"\0", 1)[0].decode("utf-8-sig", "ignore"))
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise errors.corrupt("the XML declares a document type")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise errors.corrupt(f"the XML is damaged: {error}") from error
    content = _level(root, 0)
    return content if isinstance(content, dict) else {}


def _name(tag: str) -> str:
    """Drop the namespace and the type prefix; a name of lower-case letters alone stays."""
    tag = tag.rpartition("}")[2]
    if tag in _WRAPPERS:
        return tag
    return without_prefix(tag)


def _value(element: ElementTree.Element, depth: int) -> Any:
    kind, text = element.get("runtype"), element.get("value")
    if kind in _SCALARS:
        try:
            return _SCALARS[kind](text or "")
        except ValueError:
            return text
    if not len(element):
        if kind is None and text is not None and len(element.attrib) == 1:
            return text
        if element.text and element.text.strip():
            return element.text
    return _level(element, depth)


def _level(element: ElementTree.Element, depth: int) -> Any:
    """Decode attributes and children; repeated names become lists, a wrapper that stands alone is its content."""
    if depth > MAX_DEPTH:
        raise errors.corrupt(f"the XML nests more than {MAX_DEPTH} levels")
    level: dict[str, Any] = {k: v for k, v in element.attrib.items() if k != "runtype"}
    repeated: set[str] = set()
    for child in element:
        name, value = _name(child.tag), _value(child, depth + 1)
        if name in repeated:
            level[name].append(value)
        elif name in level:
            level[name] = [level[name], value]
            repeated.add(name)
        else:
            level[name] = value
    if len(level) == 1:
        ((name, only),) = level.items()
        if name in _WRAPPERS and isinstance(only, dict):
            return only
    return level
