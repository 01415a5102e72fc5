"""The public surface of the package `nd2`: names, members, signatures, fields, values of enumerations."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import typing
from typing import Any

MODULES = ("nd2", "nd2.structures", "nd2.index", "nd2.tiff", "nd2.jobs", "nd2.jobs.types")
SPECIAL = {
    "__array__",
    "__call__",
    "__contains__",
    "__enter__",
    "__getitem__",
    "__index__",
    "__int__",
    "__iter__",
    "__len__",
}
"""Special methods that count as public."""
INHERITED = {*dir(object), *dir(dict), *dir(tuple), *dir(str), *dir(int)}
BASES = ("enum", "builtins", "typing", "collections.abc")


def surface() -> dict[str, Any]:
    """Return module -> name -> what describes it."""
    return {name: _module(importlib.import_module(name)) for name in MODULES}


def _module(module: Any) -> dict[str, Any]:
    listed = getattr(module, "__all__", None)
    names = listed or [name for name in dir(module) if not name.startswith("_")]
    objects = {name: getattr(module, name) for name in names}
    return {
        name: _describe(value)
        for name, value in objects.items()
        if not inspect.ismodule(value) and (listed or str(getattr(value, "__module__", "nd2")).startswith("nd2"))
    }


def _describe(value: Any) -> dict[str, Any]:
    if inspect.isclass(value):
        return _class(value)
    if callable(value):
        return {"kind": "function", "sig": signature(value)}
    return {"kind": type(value).__name__}


def signature(function: Any) -> list[list[Any]] | None:
    """Return name, kind and default of each parameter; None if there is no signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [
        [item.name, str(item.kind), None if item.default is item.empty else repr(item.default)]
        for item in parameters
        if item.name not in ("self", "cls")
    ]


def _class(cls: Any) -> dict[str, Any]:
    bases = [base.__name__ for base in cls.__mro__[1:-1] if base.__module__ in BASES]
    out: dict[str, Any] = {"kind": "class", "bases": bases, "members": _members(cls)}
    out["sig"] = None if issubclass(cls, enum.Enum) else signature(cls)
    if issubclass(cls, enum.Enum):
        out["values"] = {
            name: item.value if isinstance(item.value, int | str) else repr(item.value)
            for name, item in cls.__members__.items()
        }
    if dataclasses.is_dataclass(cls):
        out["fields"] = [
            [item.name, None if item.default is dataclasses.MISSING else repr(item.default)]
            for item in dataclasses.fields(cls)
        ]
        out["frozen"] = vars(cls)["__dataclass_params__"].frozen
    if typing.is_typeddict(cls):
        out |= {"keys": sorted(cls.__annotations__), "total": cls.__total__}
    return out


def _members(cls: Any) -> dict[str, Any]:
    builtin = issubclass(cls, tuple | str | int | dict | enum.Enum)
    members = {}
    for name in dir(cls):
        if (name.startswith("_") and name not in SPECIAL) or name in dir(object):
            continue
        owner = getattr(inspect.getattr_static(cls, name), "__objclass__", cls)
        if owner in (object, dict, tuple, str, int, type) or (builtin and name in INHERITED):
            continue
        value = getattr(cls, name)
        members[name] = (
            {"kind": "method", "sig": signature(value)} if callable(value) else {"kind": "attr", "sig": None}
        )
    return members
