"""Tables of fields drive both directions."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from nd2._core.chunks import fields
from nd2._core.format.clx_lite import I32, U32

TABLE: fields.Table = (
    ("dX", "x", float),
    ("uiN", "n", U32),
    ("iK", "k", I32),
    ("bOn", "on", bool),
    ("m_sName", "name", str),
)


def test_what_is_written_is_read() -> None:
    value = SimpleNamespace(x=1, n=2, k=-3, on=1, name="a")
    tree = fields.write(value, TABLE)
    assert [type(item) for item in tree.values()] == [float, U32, I32, bool, str]
    assert fields.read(tree, TABLE) == {"x": 1.0, "n": 2, "k": -3, "on": True, "name": "a"}


def test_values_of_another_type_give_the_default() -> None:
    tree = {"dX": math.nan, "uiN": "2", "iK": None, "m_sName": 5}
    assert fields.read(tree, TABLE) == {"x": 0.0, "n": 0, "k": 0, "on": False, "name": ""}
    defaults = {"x": 0.5, "n": 7, "on": True}
    read = fields.read(tree, TABLE, defaults)
    assert (read["x"], read["n"], read["on"]) == (0.5, 7, True)


def test_bare_tables_have_names_without_prefix() -> None:
    assert [key for key, _, _ in fields.bare(TABLE)] == ["X", "N", "K", "On", "Name"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        ([{"a": 1}, {"a": 2}], {"a": 1}),
        ({"no_name": [{"a": 1}]}, {"a": 1}),
        ([], {}),
        (None, {}),
        (5, {}),
    ],
)
def test_first(value: object, expected: dict[str, int]) -> None:
    assert fields.first(value) == expected


@pytest.mark.parametrize(
    "mask", [bytes([1, 0, 1]), bytearray([1, 0, 1]), [True, False, True], {"a": 1, "b": 0, "c": 1}]
)
def test_flags_of_all_forms(mask: object) -> None:
    assert fields.flags(mask) == [True, False, True]


def test_flags_of_lists_without_false_items() -> None:
    assert fields.flags({"i0000000002": True}) == [False, False, True]
