"""``ND2File.events``: recorded data, and events in between."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import nd2
from nd2._core.format.clx_lite import U32
from tests.builder import build
from tests.optional_chunks import events_chunk, recorded

if TYPE_CHECKING:
    from pathlib import Path


def test_the_table_of_events(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    chunks = recorded(
        {
            "X": ("X Coord", "µm", [0.5, 1.5, 2.5, 3.5]),
            "Z1": ("Drive", "µm", [1.0, 2.0, 3.0, 4.0]),
            "Z2": ("Drive", "µm", [5.0, 6.0, 7.0, 8.0]),
            "PFS_STATUS": ("PFS Status", "", [0, 1, 7, 8]),
            "NOTE": ("Index", "", ["a", "µ", "", "d e"]),
        }
    )
    chunks |= events_chunk({"T": 150.0, "M": U32(9)}, {"T": 100.0, "M": U32(7), "D": "Home"})
    build(path, loops=[("P", 2), ("Z", 2)], chunks=chunks)
    with nd2.ND2File(path) as file:
        rows = file.events()
        columns = file.events(orient="list", null_value=None)
        cells = file.events(orient="dict")
    frame = {
        "Time [s]": 0.0,
        "Index": 0,
        "P Index": 0,
        "Z Index": 0,
        "Position Name": "A1",
        "Z-Series": -2.0,
        "X Coord [µm]": 0.5,
        "Drive [µm]": 1.0,
        "Z2 [µm]": 5.0,
        "PFS Status": 0,
        "NOTE": "a",
    }
    assert rows[0] == frame
    assert [row.get("Index") for row in rows] == [0, 1, None, None, 2, 3]
    assert rows[2] == {"Time [s]": 0.1, "Events": "Home"}
    assert rows[3] == {"Time [s]": 0.15, "Events": "Experiment Paused"}
    assert list(columns) == [*frame, "Events"]
    assert columns["Time [s]"] == [0.0, 0.1, 0.1, 0.15, 0.2, 0.3]
    assert columns["NOTE"] == ["a", "µ", None, None, "", "d e"]
    assert columns["Events"] == [None, None, "Home", "Experiment Paused", None, None]
    assert list(cells["Index"]) == list(range(6))
    assert cells["Index"][4] == 2
    assert math.isnan(cells["Index"][2])
    for table in (rows, columns, cells):
        assert pd.DataFrame(table).shape == (6, 12)


def test_events_without_any_event(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    chunks = recorded({"X": ("X Coord", "µm", [0.5, 1.5, 2.5]), "N": ("Note", "", ["a", "b", "c"])})
    build(path, loops=[("T", 3)], chunks=chunks)
    with nd2.ND2File(path) as file:
        columns = file.events(orient="list")
        assert len(file.events()) == 3
        with pytest.raises(ValueError, match="orient must be"):
            file.events(orient="rows")  # type: ignore[call-overload]
    assert isinstance(columns["X Coord [µm]"], np.ndarray)
    assert columns["Note"] == ["a", "b", "c"]
    assert pd.DataFrame(columns).shape == (3, 5)


def test_a_recorded_column_that_is_short_or_missing_hides_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    chunks: dict[bytes, bytes | None] = {**recorded({"X": ("X", "µm", [0.5, 1.5]), "Y": ("Y", "µm", [1.0, 2.0, 3.0])})}
    chunks[b"CustomData|Y!"] = None
    build(path, loops=[("T", 3)], chunks=chunks)
    with nd2.ND2File(path) as file:
        assert [len(row) for row in file.events()] == [4, 4, 3]
        columns = file.events(orient="list", null_value=None)
    assert columns["X [µm]"] == [0.5, 1.5, None]
    assert columns["Y [µm]"] == [None, None, None]


def test_many_frames_are_a_matter_of_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    count = 2000
    build(path, loops=[("T", count)], height=1, width=1, missing=frozenset(range(1, count)))
    with nd2.ND2File(path) as file:
        columns = file.events(orient="list")
    assert columns["Index"] == list(range(count))
    assert columns["Time [s]"][-1] == (count - 1) / 10
