"""Settings that the software keeps in XML, one chunk per tag: custom data."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from nd2._core.chunks import fields
from nd2._core.format import clx_lite, clx_xml
from nd2._core.format.clx_lite import I32, Items

PREFIX = b"CustomDataVar|"
"""Start of the names of these chunks; the tag follows."""
APP_INFO_TAG = "AppInfo_V1_0"
APP_INFO = PREFIX + b"AppInfo_V1_0!"

_VERSION = re.compile(r"(.*?) (\d+\.\d.*)")
_MAX_TAG = 240
"""Readers compare at most 256 bytes of the names of chunks."""
_ONLY = "i0000000000"
"""Key of a value without a name, if it is the only one."""
_SOFTWARE_KEYS = ("SWNameString", "VersionString")


def name(tag: str) -> bytes:
    """Return the name of the chunk that holds the settings of a tag."""
    if len(tag.encode()) > _MAX_TAG:
        raise ValueError(f"tag {tag[:40]!r}... of custom data is longer than {_MAX_TAG} bytes")
    return b"%s%s!" % (PREFIX, tag.encode())


def decode_software(raw: fields.Tree) -> str:
    """Return name and version of the software, from `APP_INFO`; names have no type prefix."""
    info = fields.unwrap(raw)
    return " ".join(part for key in _SOFTWARE_KEYS if (part := fields.text(info, key)))


def encode_software(software: str) -> dict[str, str]:
    """Return the settings that hold name and version of the software."""
    match = _VERSION.fullmatch(software)
    return dict(zip(_SOFTWARE_KEYS, match.groups() if match else (software, ""), strict=True))


def only_value(tree: Any) -> Any:
    """Return the only value of a tree if it has no name and is not a level; else the tree."""
    if isinstance(tree, dict) and tree.keys() == {_ONLY}:
        value = tree[_ONLY]
        return tree if isinstance(value, dict) else value
    return tree


def encode_chunk(tree: Any) -> bytes:
    """Return the payload of a chunk that holds a tree, or one value."""
    return clx_xml.encode(encode(tree if isinstance(tree, Mapping) else {_ONLY: tree}))


def encode(tree: Mapping[str, Any]) -> Items:
    """Return settings as stored; ``ND2File.custom_data`` then returns ``tree``.

    Decoding strips the type prefix of names, so names that would lose letters get a prefix. List
    items that decoding left out, because they are empty or zero, are restored.
    """
    items = Items()
    place = 0
    for key, value in tree.items():
        if value is None:
            continue
        if fields.LIST_KEY.fullmatch(key):
            # The number in the key counts all children.
            while place < int(key[1:]):
                items.append(("", I32(0)))
                place += 1
            items.append(("", _value(value)))
        else:
            items.append((_stored_name(key), _value(value)))
        place += 1
    return items


def _stored_name(key: str) -> str:
    """Return a valid name that is ``key`` without its prefix."""
    if clx_xml.NAME.fullmatch(key) and clx_lite.without_prefix(key) == key:
        return key
    return f"m_{key}"


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return encode(value)
    if isinstance(value, (bytes, bytearray)):
        return b64decode(value)
    if isinstance(value, (list, tuple)):
        return [_value(item) for item in value]
    return value
