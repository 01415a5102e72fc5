"""Value types: dataclasses that are cheap to import, and how public ones are shown and pickled.

A dataclass takes 0.1 to 0.7 ms to import, because its methods are written as text and compiled. A
run uses a few of the classes that it imports: the others stay without generated methods.

Public types show as members of the module ``nd2.structures``, but pickles of their instances name
the module that defines them: they load also where another package owns ``nd2.structures``.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import Field, dataclass, field, fields
from enum import IntEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_T = TypeVar("_T")

if TYPE_CHECKING or sys.version_info >= (3, 12):
    cached_property = functools.cached_property
else:

    class cached_property(functools.cached_property):
        """The cached property of Python 3.12; in 3.11, all instances share a lock while a value is computed."""

        def __get__(self, instance: object, owner: type | None = None) -> Any:
            return self if instance is None else vars(instance).setdefault(self.attrname, self.func(instance))


_ADDRESSES: dict[type, str] = {}
"""Module and name of each published class."""


class _Generated:
    """An attribute of a dataclass that is generated, with the others, when one of them is first used."""

    def __init__(self, cls: type, name: str, namespace: Mapping[str, Any]) -> None:
        self._cls = cls
        self._name = name
        self._namespace = namespace

    def __get__(self, instance: object, owner: type) -> Any:
        # The twin is made in one step: another thread sees a class without or with the attributes.
        cls = self._cls
        twin: type = type(cls)(cls.__name__, cls.__bases__, dict(self._namespace))
        dataclass(repr=False, eq=False)(twin)
        for name in _GENERATED:
            setattr(cls, name, vars(twin)[name])
        return getattr(owner if instance is None else instance, self._name)


_GENERATED = ("__dataclass_params__", "__dataclass_fields__", "__match_args__", "__init__")


def _repr(self: Any) -> str:
    values = ", ".join(f"{item.name}={getattr(self, item.name)!r}" for item in fields(self) if item.repr)
    return f"{type(self).__qualname__}({values})"


def _eq(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return _compared(self) == _compared(other)


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _compared(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, item.name) for item in fields(value) if item.compare)


@dataclass_transform(field_specifiers=(field,))
def value_type(cls: type[_T]) -> type[_T]:
    """Make a dataclass of a subclass of `Value`, when it is first used."""
    namespace = {name: item for name, item in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    for name, item in namespace.items():
        if isinstance(item, Field):
            delattr(cls, name)
    for name in _GENERATED:
        setattr(cls, name, _Generated(cls, name, namespace))
    return cls


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[_T]) -> type[_T]:
    """Make a dataclass, when it is first used, that is frozen for type checkers."""
    for name, method in {"__repr__": _repr, "__eq__": _eq, "__hash__": _hash}.items():
        if name not in vars(cls):
            setattr(cls, name, method)
    return value_type(cls)


class Value:
    """Representation, equality and pickles of public dataclasses."""

    __repr__ = _repr

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        return _blank, (_address(self),), vars(self)


def publish(namespace: Mapping[str, Any], names: Iterable[str]) -> None:
    """Give the classes of a module their public module and their pickles."""
    for name in names:
        cls = namespace[name]
        if isinstance(cls, type):
            _ADDRESSES[cls] = f"{namespace['__name__']}:{name}"
            # Programs compare and print the public name of a class, wherever it is defined.
            cls.__module__ = "nd2.structures"
            if issubclass(cls, tuple | IntEnum):
                cls.__reduce_ex__ = _reduce  # type: ignore[method-assign]


def _address(value: object) -> str | type:
    """Return module and name of a value's class; the class itself if it is a subclass."""
    return _ADDRESSES.get(type(value), type(value))


def _class(address: str | type) -> Any:
    if not isinstance(address, str):
        return address
    module, _, name = address.partition(":")
    return getattr(import_module(module), name)


def _blank(address: str | type) -> Any:
    """Return an instance without values, which unpickling sets."""
    cls = _class(address)
    return cls.__new__(cls)


def _filled(address: str | type, *values: Any) -> Any:
    """Return a named tuple or a member of an enumeration."""
    return _class(address)(*values)


def _reduce(value: Any, protocol: object = None) -> tuple[Any, ...]:
    """Pickle a named tuple or a member of an enumeration."""
    values = value if isinstance(value, tuple) else (value.value,)
    return _filled, (_address(value), *values)
