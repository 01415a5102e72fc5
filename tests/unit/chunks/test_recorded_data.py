"""Columns of recorded data: their table, and their values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nd2._core.chunks import recorded_data
from tests.trees import trees


def table(*tags: dict[str, Any]) -> dict[str, Any]:
    return {"CustomTagDescription_v1.0": {f"Tag{i}": tag for i, tag in enumerate(tags)}}


def tag(identifier: str, kind: int, size: int, title: str = "", unit: str = "") -> dict[str, Any]:
    return {"ID": identifier, "Type": kind, "Size": size, "Desc": title, "Unit": unit, "Group": 1}


def test_columns_keep_the_order_of_the_table_and_are_read_when_asked_for() -> None:
    asked: list[str] = []

    def load(identifier: str) -> bytes:
        asked.append(identifier)
        return np.arange(3.0).tobytes()

    columns = recorded_data.decode(table(tag("Z", 3, 3, "Z Coord", "µm"), tag("A", 3, 3, "Power", " % ")), load)
    assert [(c.id, c.title, c.unit) for c in columns.values()] == [("Z", "Z Coord", "µm"), ("A", "Power", "%")]
    assert asked == []
    np.testing.assert_array_equal(columns["A"].values, [0, 1, 2])
    np.testing.assert_array_equal(columns["A"].values, [0, 1, 2])
    assert asked == ["A"]


def test_a_column_that_was_not_stored_is_empty() -> None:
    assert len(recorded_data.decode(table(tag("Z", 3, 3)), lambda _: None)["Z"].values) == 0
    assert recorded_data.decode(None, lambda _: None) == {}


@pytest.mark.parametrize(
    ("kind", "stored", "dtype"),
    [
        (2, np.array([1, -2], "<i4"), "int32"),
        (3, np.array([0.5, -2], "<f8"), "float64"),
        (3, np.array([0.5, -2], "<f4"), "float32"),
        (0, np.array([1, -2], "<i4"), "int32"),
        (0, np.array([0.5, -2], "<f8"), "float64"),
    ],
)
def test_numbers(kind: int, stored: np.ndarray[Any, Any], dtype: str) -> None:
    values = recorded_data.decode_values(stored.tobytes(), kind, 2)
    assert values.dtype == dtype
    np.testing.assert_array_equal(values, stored)


def test_a_column_is_cut_to_its_size_and_takes_all_without_one() -> None:
    data = np.arange(4, dtype="<i4").tobytes()
    assert recorded_data.decode_values(data, 2, 0).tolist() == [0, 1, 2, 3]
    assert recorded_data.decode_values(data + b"\0", 2, 4).tolist() == [0, 1, 2, 3]


texts = st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9), min_size=1)


@given(texts)
def test_texts(cells: list[str]) -> None:
    width = max(2, *(len(cell.encode("utf-16-le")) + 2 for cell in cells))
    data = b"".join((cell.encode("utf-16-le") + b"\0\0").ljust(width, b"\xaa")[:width] for cell in cells)
    assert recorded_data.decode_values(data, 1, len(cells)).tolist() == cells


@given(trees("CustomTagDescription_v1.0", "Tag0", "Tag1", "ID", "Type", "Size", "Desc", "Unit"))
def test_any_tree_gives_columns(tree: dict[str, Any]) -> None:
    for column in recorded_data.decode(tree, lambda _: b"\1" * 64).values():
        assert column.values.ndim == 1
        assert column.size <= 0 or len(column.values) <= column.size
