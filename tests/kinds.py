"""Kinds of ND2 files that tests write: fields of an ``Nd2Spec``, by a name for the test's id."""

from __future__ import annotations

from typing import Any

KINDS: dict[str, dict[str, Any]] = {
    "one frame": {},
    "time": {"loops": [("T", 4)]},
    "phases": {"loops": [("N", 5)]},
    "positions": {"loops": [("P", 3)]},
    "custom": {"loops": [("U", 3)]},
    "T P Z": {"loops": [("T", 2), ("P", 3), ("Z", 4)], "channels": 3},
    "Z T": {"loops": [("Z", 3), ("T", 2)]},
    "P T Z": {"loops": [("P", 2), ("T", 3), ("Z", 2)], "channels": 2, "width": 7},
    "nested T": {"loops": [("T", 2), ("T", 3)]},
    "loop of one": {"loops": [("T", 1), ("Z", 3)]},
    "color": {"samples": 3, "dtype": "u1", "width": 9},
    "two color channels, padded": {"samples": 3, "channels": 2, "dtype": "u1", "width": 5},
    "float": {"dtype": "<f4", "pixel_type": 2},
    "8 bit, odd width": {"dtype": "u1", "width": 5, "channels": 3},
    "odd row stride": {"row_bytes": 23, "loops": [("T", 3)]},
    "zlib": {"zlib": True, "loops": [("T", 3)], "channels": 2},
    "zlib, odd row stride": {"zlib": True, "row_bytes": 19},
    "missing": {"loops": [("T", 5)], "missing": frozenset({0, 3}), "width": 5},
    "missing, zlib": {"loops": [("T", 5)], "missing": frozenset({2, 4}), "zlib": True},
    "any order": {"loops": [("T", 4)], "order": [3, 1, 0, 2]},
    "odd name field": {"loops": [("T", 12)], "name_field": 5},
    "odd name field, zlib": {"loops": [("T", 12)], "name_field": 5, "zlib": True},
    "version 2": {"version": (2, 1), "loops": [("T", 2), ("P", 2), ("Z", 3)], "channels": 2},
    "no times": {"loops": [("T", 3)], "times": []},
    "uncalibrated": {"calibration": 0.0},
    "one row": {"height": 1},
    "one column": {"width": 1},
}
