"""The form that a user fills in at acquisition: ``CLxCustomDescription``.

Each field is a level with the same few names, so the tree must keep repeated names.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from nd2._core.format.clx_lite import Items
from nd2._core.structures import CustomField

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = b"CustomData|CustomDescriptionV1_0!"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS: Final = ("unknown", "check", "number", "text", "selection", "text", "date")


def decode(items: Items) -> list[CustomField]:
    """Return the fields in stored order, repeated names included; unverified on real files."""
    form = _level(items, "CLxCustomDescription") or items
    return [_field(below) for _, below in _level(form, "vData") if isinstance(below, Items)]


def _level(items: Items, name: str) -> Items:
    """Return the first level with a name; empty without one."""
    levels = (value for key, value in items if key == name and isinstance(value, Items))
    return next(levels, Items())


def _field(stored: Items) -> CustomField:
    """Return one field; names that all kinds share may be in a separate level."""
    common = _level(stored, "CLxItem")
    own: dict[str, Any] = {**dict(common), **dict(stored)}
    code = own.get("eType", 0)
    known = isinstance(code, int) and 0 < code < len(_KINDS)
    kind = _KINDS[code] if known else "unknown"
    return CustomField(
        name=str(own.get("sName", "")),
        kind=kind,
        value=None if own.get("bEmpty") else _VALUE[kind](own),
        unit=str(own.get("sUnit", "")),
        description=str(own.get("sDescription", "")),
        mandatory=bool(own.get("bMandatory", False)),
    )


def _unknown(own: dict[str, Any]) -> Any:
    """Return the names and values of a field of unknown kind."""
    return {key: value for key, value in _plain(own) if key != "CLxItem"}


def _plain(own: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in own.items():
        yield key, [item for _, item in value] if isinstance(value, Items) else value


def _selection(own: dict[str, Any]) -> str | int | None:
    labels = own.get("vLabels")
    index = own.get("iSelection")
    if isinstance(labels, Items) and isinstance(index, int) and 0 <= index < len(labels):
        return str(labels[index][1])
    return index


def _date(own: dict[str, Any]) -> datetime | None:
    stored = own.get("aDate")
    try:
        return _EPOCH + timedelta(milliseconds=stored) if isinstance(stored, (int, float)) else None
    except OverflowError:
        return None


_VALUE: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "unknown": _unknown,
    "check": lambda own: bool(own.get("iCheck", 0)),
    "number": lambda own: own.get("dValue"),
    "text": lambda own: own.get("sText"),
    "selection": _selection,
    "date": _date,
}
