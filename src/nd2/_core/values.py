"""How public value types are shown, compared and pickled.

They show as members of the module ``nd2.structures``, but pickles of their instances name the
module that defines them: they load also where another package owns ``nd2.structures``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_T = TypeVar("_T")

_ADDRESSES: dict[type, str] = {}
"""Module and name of each published class."""


class Value:
    """Representation, equality and pickles of dataclasses.

    Written once instead of generated for each class, which would take a third of the import time.
    """

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        return _blank, (_address(self),), vars(self)


@dataclass_transform(field_specifiers=(field,))
def value_type(cls: type[_T]) -> type[_T]:
    """Make a dataclass of a subclass of `Value`."""
    return dataclass(repr=False, eq=False)(cls)


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
