"""The XML variant: the tree of version 2 files, and of the ``CustomDataVar`` chunks of all files.

Each element is a named value of the type ``runtype``: scalars have their text in ``value``, others
have child elements. Elements called ``no_name`` are the items of a list.

Legacy files have a dialect with type prefixes stripped and repeated names as lists, whose elements may
carry values as plain attributes: as nd2 0.12.0 decodes made files; unverified on real ones.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from xml.etree import ElementTree

from nd2._core import errors
from nd2._core.format.clx_lite import I32, I64, MAX_DEPTH, U32, U64, Items, integer_type, pairs, without_prefix

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_ANONYMOUS: Final = frozenset(("no_name", "", "BinaryItem", "TextInfoItem", "Wavelength", "MinSrc", "MaxSrc"))
_INTEGERS: Final[Mapping[str, type[int]]] = {"lx_int32": I32, "lx_uint32": U32, "lx_int64": I64, "lx_uint64": U64}
_RUNTYPES: Final = {kind: name for name, kind in _INTEGERS.items()}

_WRAPPERS: Final = ("variant", "no_name")
"""Elements of legacy files that are their content if they stand alone."""

_PROLOG: Final = re.compile(r"<\?xml[^>]*>")
_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BAD_REFERENCE: Final = re.compile(
    r"&(?!(?:amp|lt|gt|quot|apos);)(?!#(?:9|10|13|3[2-9]|[4-9]\d|\d{3,7}|x[0-9A-Fa-f]{2,6});)"
)
NAME: Final = re.compile(r"[^\W\d][\w.-]*")


def decode(data: bytes | memoryview, *, strip_prefix: bool = False) -> dict[str, Any]:
    """Decode a document to nested dictionaries.

    The key of a list item is ``i`` and its ten-digit place among its siblings; items that are zero,
    false or empty are left out. A document of one unnamed level is that level. Byte arrays keep
    their base64 text, as bytearray. An integer that cannot be parsed becomes None.
    """
    root = _parse(bytes(data))
    keep_attributes = root.get("_VERSION") == "1.000000"
    tree = _as_dict(root, without_prefix if strip_prefix else str, keep_attributes, 0)
    if root.tag != "variant":
        return {root.tag: tree}
    if len(tree) == 1 and isinstance(only := tree.get("i0000000000"), dict):
        return only
    return tree


def decode_items(data: bytes | memoryview) -> Items:
    """Decode without loss: levels as `Items`, integers with their type, byte arrays as bytes.

    The name of an element that is called ``no_name`` is ``""``.
    """
    root = _parse(bytes(data))
    items = _as_items(root, 0)
    return items if root.tag == "variant" else Items([(root.tag, items)])


def _as_dict(element: Element, rename: Callable[[str], str], keep_attributes: bool, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise errors.corrupt(f"metadata elements nest deeper than {MAX_DEPTH}")
    tree: dict[str, Any] = dict(element.attrib) if keep_attributes else {}
    for i, child in enumerate(element):
        kind = _SCALARS.get(child.get("runtype", ""))
        value = _read(kind, child.get("value", "")) if kind else _as_dict(child, rename, keep_attributes, depth + 1)
        name = child.tag if child.tag == "no_name" else rename(child.tag)
        if name not in _ANONYMOUS:
            tree[name] = value
        elif value:
            tree[f"i{i:010d}"] = value
    return tree


def _as_items(element: Element, depth: int) -> Items:
    if depth > MAX_DEPTH:
        raise errors.corrupt(f"metadata elements nest deeper than {MAX_DEPTH}")
    items = Items()
    for child in element:
        kind = _LOSSLESS_SCALARS.get(child.get("runtype", ""))
        value = _read(kind, child.get("value", "")) if kind else _as_items(child, depth + 1)
        items.append(("" if child.tag == "no_name" else child.tag, value))
    return items


_Kind: TypeAlias = Callable[[str], Any]
_SCALARS: Final[Mapping[str, _Kind]] = {
    "bool": lambda text: text.strip().lower() in ("true", "1"),
    **dict.fromkeys(_INTEGERS, int),
    "double": float,
    "float": float,
    "CLxStringW": str,
    "unknown": str,
    "CLxByteArray": lambda text: bytearray(text, "utf-8"),
}
_LOSSLESS_SCALARS: Final[Mapping[str, _Kind]] = {**_SCALARS, **_INTEGERS, "CLxByteArray": b64decode}
_LEGACY_SCALARS: Final[Mapping[str, _Kind]] = {**_SCALARS, "CLxByteArray": str.encode}
_DAMAGED: Final[Mapping[_Kind, Any]] = {float: float("nan"), b64decode: b""}
"""Values of text that cannot be read, None by default."""


def _read(kind: _Kind, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        return _DAMAGED.get(kind)


def _parse(data: bytes) -> Element:
    text = _content(_text(data))
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return _salvage(text)


def _content(text: str) -> str:
    """Return a document without its prolog; refuse one that declares entities, which may fill the memory."""
    text = text.strip("\0 \t\r\n")
    prolog = _PROLOG.match(text)  # a search would try every place, which takes quadratic time
    text = text[prolog.end() :].lstrip() if prolog else text
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise _document_type_error()
    return text


def _document_type_error() -> errors.CorruptFileError:
    return errors.corrupt("XML metadata declares a document type")


def _text(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "ignore")
    if data[1:2] == b"\0":
        return data.decode("utf-16-le", "ignore")
    return data.decode("utf-8", "ignore").removeprefix("\ufeff")


def _salvage(text: str) -> Element:
    """Return the root element up to the first error, without illegal characters."""
    builder = _Salvage()
    parser = ElementTree.XMLParser(target=builder)
    try:
        parser.feed(_BAD_REFERENCE.sub("&amp;", _ILLEGAL.sub("", text)))
    except ElementTree.ParseError as error:
        if builder.root is None:
            raise errors.corrupt(f"metadata is not XML: {error}") from None
    if builder.root is None:
        raise errors.corrupt("XML metadata does not contain an element")
    return builder.root


class _Salvage(ElementTree.TreeBuilder):
    """A tree builder that provides the root as soon as it begins, and refuses a document type."""

    root: Element | None = None

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        element = super().start(tag, attrs)
        if self.root is None:
            self.root = element
        return element

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        # A keyword with an illegal character in it gets here.
        raise _document_type_error()


def decode_legacy(data: bytes) -> dict[str, Any]:
    """Decode a document of a legacy file to the content of its root element.

    Invalid bytes of UTF-8 and everything after a NUL are dropped. Values are bool, int, float, str, bytes
    (base64 text), dict and list. A number that cannot be read stays text.
    """
    text = data.split(b"\0", 1)[0].decode("utf-8-sig", "ignore")
    try:
        root = ElementTree.fromstring(_content(text))
    except ElementTree.ParseError as error:
        raise errors.corrupt(f"the XML is damaged: {error}") from error
    content = _legacy_level(root, 0)
    return content if isinstance(content, dict) else {}


def _legacy_value(element: Element, depth: int) -> Any:
    kind, text = element.get("runtype"), element.get("value")
    if read := _LEGACY_SCALARS.get(kind or ""):
        try:
            return read(text or "")
        except ValueError:
            return text
    if not len(element):
        if kind is None and text is not None and len(element.attrib) == 1:
            return text
        if element.text and element.text.strip():
            return element.text
    return _legacy_level(element, depth)


def _legacy_level(element: Element, depth: int) -> Any:
    """Decode attributes and children; repeated names become lists, and a single wrapper is replaced by its content."""
    if depth > MAX_DEPTH:
        raise errors.corrupt(f"the XML nests more than {MAX_DEPTH} levels")
    level: dict[str, Any] = {k: v for k, v in element.attrib.items() if k != "runtype"}
    repeated: set[str] = set()
    for child in element:
        tag, value = child.tag.rpartition("}")[2], _legacy_value(child, depth + 1)
        name = tag if tag in _WRAPPERS else without_prefix(tag)
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


def encode(tree: Mapping[str, Any] | Items) -> bytes:
    """Encode a tree as a document that `decode` and `decode_items` read.

    Values are those that the encoder of the binary tree takes, with the same meaning.
    """
    parts = ['<?xml version="1.0" encoding="UTF-8"?><variant version="1.0">']
    _write(tree, parts, 0)
    parts.append("</variant>")
    return "".join(parts).encode()


def _write(tree: Any, parts: list[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"metadata elements nest deeper than {MAX_DEPTH}")
    for name, value in pairs(tree):
        tag = name or "no_name"
        if not NAME.fullmatch(tag):
            raise ValueError(f"{name!r} is not an XML name")
        if isinstance(value, (Mapping, list, tuple)):
            parts.append(f'<{tag} runtype="CLxListVariant">')
            _write(value, parts, depth + 1)
            parts.append(f"</{tag}>")
        else:
            runtype, text = _scalar(value)
            parts.append(f'<{tag} runtype="{runtype}" value={text}/>')


def _scalar(value: Any) -> tuple[str, str]:
    """Return the runtype of a value and its quoted text."""
    match value:
        case bool():
            return "bool", f'"{str(value).lower()}"'
        case int():
            return _RUNTYPES[integer_type(value)], f'"{int(value)}"'
        case float():
            return "double", f'"{value!r}"'
        case str():
            if _ILLEGAL.search(value):
                raise ValueError("metadata text holds a character that XML does not allow")
            # loads a fifth of the standard library, which readers do not need
            from xml.sax.saxutils import quoteattr

            return "CLxStringW", quoteattr(value)
        case bytes() | bytearray() | memoryview():
            return "CLxByteArray", f'"{b64encode(value).decode()}"'
    raise TypeError(f"{type(value).__name__} has no form in XML metadata")
