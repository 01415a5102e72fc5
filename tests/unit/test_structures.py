"""Structures: helpers of nd2 0.12, and the sizes of a file."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

import nd2
from nd2._core.structures import ChannelMeta, Color
from tests.builder import build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_axes() -> None:
    letters = {name: value for name, value in vars(nd2.AXIS).items() if isinstance(value, str)}
    del letters["__module__"], letters["__doc__"]
    assert letters == {
        "X": "X",
        "Y": "Y",
        "Z": "Z",
        "CHANNEL": "C",
        "RGB": "S",
        "TIME": "T",
        "POSITION": "P",
        "UNKNOWN": "U",
    }
    assert nd2.AXIS.frame_coords() == {"X", "Y", "C", "S"}
    assert nd2.AXIS._MAP["NETimeLoop"] == "T"


def test_color_as_text_and_number() -> None:
    color = Color(1, 2, 255, 0.5)
    assert color.as_hex() == "#0102ff"
    assert color.as_abgr_u4() == 0x7FFF0201
    assert Color.from_abgr_u4(0x7FFF0201) == (1, 2, 255, 127 / 255)
    # files store 0 for opaque
    assert Color.from_abgr_u4(255) == Color(255, 0, 0)
    assert Color(255, 0, 0).as_abgr_u4() == 255


def test_color_of_a_channel_as_number() -> None:
    channel = ChannelMeta("DAPI", 0, Color(1, 2, 3))
    with pytest.warns(DeprecationWarning, match="as_abgr_u4"):
        assert channel.colorRGBA == 0x030201


CHANGES: dict[str, Callable[[Any], object]] = {
    "item": lambda sizes: sizes.__setitem__("C", 1),
    "del": lambda sizes: sizes.__delitem__("C"),
    "pop": lambda sizes: sizes.pop("C"),
    "popitem": lambda sizes: sizes.popitem(),
    "clear": lambda sizes: sizes.clear(),
    "update": lambda sizes: sizes.update(C=1),
    "setdefault": lambda sizes: sizes.setdefault("P", 1),
    "ior": lambda sizes: sizes.__ior__({"C": 1}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_sizes_of_a_file_are_read_only(tmp_path: Path, change: Callable[[Any], object]) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 3)], channels=2)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        before = file.asarray().shape
        with pytest.raises(TypeError, match="cannot be changed"):
            change(file.sizes)
        assert file.asarray().shape == file.shape == before


def test_sizes_are_what_programs_take_them_for(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 3)], channels=2)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        sizes = file.sizes
    expected = {"T": 3, "C": 2, "Y": 6, "X": 8}
    assert sizes == expected
    assert list(sizes) == list(expected)
    assert isinstance(sizes, MappingProxyType)
    assert isinstance(sizes, dict)
    assert isinstance(sizes, Mapping)
    assert json.loads(json.dumps(sizes)) == expected
    for again in (pickle.loads(pickle.dumps(sizes)), copy.deepcopy(sizes), sizes | {}):
        assert type(again) is dict
        assert again == expected
