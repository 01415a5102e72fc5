"""Custom data: settings of the software, one chunk per tag; the form that the user filled in; the job that ran."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from nd2._core.chunks import fields
from nd2._core.format import clx_lite, clx_xml
from nd2._core.format.clx_lite import I32, Items
from nd2._core.structures import CustomField

PREFIX = b"CustomDataVar|"
"""Start of the names of the chunks of settings, which are XML; the tag follows."""
APP_INFO_TAG = "AppInfo_V1_0"
APP_INFO = b"%s%s!" % (PREFIX, APP_INFO_TAG.encode())
FORM = b"CustomData|CustomDescriptionV1_0!"
JOB = (b"CustomData|JobDefinitionV1_0!", b"CustomData|JobDefinitionDescV1_0!", b"CustomData|JobRunGUIDV1_0!")

_VERSION = re.compile(r"(.*?) (\d+\.\d.*)")
_MAX_TAG = 240
"""Readers compare at most 256 bytes of the names of chunks."""
_ONLY = "i0000000000"
"""Key of a value without a name, if it is the only one."""
_SOFTWARE_KEYS = ("SWNameString", "VersionString")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = ("unknown", "check", "number", "text", "selection", "text", "date")


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


def encode(tree: Any) -> Items:
    """Return settings, or one value, as stored; ``ND2File.custom_data`` then returns ``tree``.

    Decoding strips the type prefix of names, so names that would lose letters get a prefix. List
    items that decoding left out, because they are empty or zero, are restored.
    """
    settings = tree if isinstance(tree, Mapping) else {_ONLY: tree}
    items = Items()
    place = 0
    for key, value in settings.items():
        if value is None:
            continue
        if fields.LIST_KEY.fullmatch(key):
            # The number in the key counts all children.
            while place < int(key[1:]):
                items.append(("", I32(0)))
                place += 1
            items.append(("", _value(value)))
        else:
            plain = clx_xml.NAME.fullmatch(key) and clx_lite.without_prefix(key) == key
            items.append((key if plain else f"m_{key}", _value(value)))
        place += 1
    return items


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return encode(value)
    if isinstance(value, (bytes, bytearray)):
        return b64decode(value)
    if isinstance(value, (list, tuple)):
        return [_value(item) for item in value]
    return value


def decode_form(items: Items) -> list[CustomField]:
    """Return the fields of the form in stored order; unverified on real files.

    Each field is a level with the same few names, so the tree must keep repeated names.
    """
    form = _level(items, "CLxCustomDescription") or items
    return [_field(below) for _, below in _level(form, "vData") if isinstance(below, Items)]


def _level(items: Items, name: str) -> Items:
    """Return the first level with a name; empty without one."""
    levels = (value for key, value in items if key == name and isinstance(value, Items))
    return next(levels, Items())


def _field(stored: Items) -> CustomField:
    """Return one field; names that all kinds share may be in a separate level."""
    own: dict[str, Any] = {**dict(_level(stored, "CLxItem")), **dict(stored)}
    code = own.get("eType", 0)
    known = isinstance(code, int) and 0 < code < len(_KINDS)
    kind = _KINDS[code] if known else "unknown"
    return CustomField(
        name=str(own.get("sName", "")),
        kind=kind,
        value=None if own.get("bEmpty") else _form_value(kind, own),
        unit=str(own.get("sUnit", "")),
        description=str(own.get("sDescription", "")),
        mandatory=bool(own.get("bMandatory", False)),
    )


def _form_value(kind: str, own: dict[str, Any]) -> Any:
    """Return the value of a field; of an unknown kind, the names and values that are stored."""
    match kind:
        case "check":
            return bool(own.get("iCheck", 0))
        case "number":
            return own.get("dValue")
        case "text":
            return own.get("sText")
        case "selection":
            labels, index = own.get("vLabels"), own.get("iSelection")
            if isinstance(labels, Items) and isinstance(index, int) and 0 <= index < len(labels):
                return str(labels[index][1])
            return index
        case "date":
            stored = own.get("aDate")
            try:
                return _EPOCH + timedelta(milliseconds=stored) if isinstance(stored, (int, float)) else None
            except OverflowError:
                return None
    return {
        key: [item for _, item in value] if isinstance(value, Items) else value
        for key, value in own.items()
        if key != "CLxItem"
    }


def decode_job(definition: fields.Tree, description: fields.Tree | None, run_guid: bytes) -> dict[str, Any]:
    """Return the job as ``nd2._core.job_types.JobsDict`` describes it; it may have any tasks, as stored."""
    job: dict[str, Any] = {"JobRunGUID": run_guid[: len(run_guid) // 2 * 2].decode("utf-16-le", "replace").rstrip("\0")}
    if description is not None:
        job["ProgramDesc"] = description.get("ProgramDesc", description)
    return {**job, "Job": None, "ProtectedJob": None, **definition}
