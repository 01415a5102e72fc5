"""Structures: helpers of nd2 0.12, mutability, and pickles that do not need `nd2.structures`."""

from __future__ import annotations

import copy
import dataclasses
import enum
import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

import nd2
from nd2._core import structures
from nd2._core.structures import (
    ROI,
    AnimParam,
    ChannelMeta,
    Color,
    EventMeaning,
    LoopType,
    Period,
    PeriodDiff,
    RoiInfo,
    StagePosition,
    TimeLoop,
    TimeLoopParams,
    XYZPoint,
)
from tests.builder import build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VALUES: list[Any] = [
    Color(1, 2, 3, 0.5),
    StagePosition(1.5, 2, 3),
    LoopType.ZStackLoop,
    EventMeaning.EventCount,
    Period(1, 2, 3, PeriodDiff(4, 5, 6), 7),
    TimeLoop(3, 0, TimeLoopParams(0, 1, 2, PeriodDiff())),
    ROI(1, RoiInfo(9, 4), "guid", [AnimParam(centerX=1)]),
]


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


def test_center_of_a_region() -> None:
    region = AnimParam(centerX=1, centerY=2, centerZ=3)
    assert region.center == XYZPoint(1, 2, 3)
    region.centerX = 5  # structures are mutable, as those of nd2 0.12
    assert region.center.x == 5


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copies_are_equal(value: Any, duplicate: Callable[[Any], Any]) -> None:
    assert duplicate(value) == value
    assert type(duplicate(value)) is type(value)


def test_replace() -> None:
    assert dataclasses.replace(VALUES[4], count=8).count == 8


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_do_not_name_the_public_module(protocol: int) -> None:
    data = pickle.dumps(VALUES, protocol)
    assert b"nd2.structures" not in data
    assert pickle.loads(data) == VALUES


def test_instances_of_subclasses_are_pickled() -> None:
    value = Named(1, RoiInfo(9, 4), "guid")
    value.note = "kept"
    again = pickle.loads(pickle.dumps(value))
    assert type(again) is Named
    assert vars(again) == vars(value)


class Named(ROI):
    """A subclass that a user wrote."""

    note: str = ""


def test_every_class_shows_the_public_module() -> None:
    classes = [getattr(structures, name) for name in structures.__all__]
    classes = [value for value in classes if isinstance(value, type)]
    assert {value.__module__ for value in classes} == {"nd2.structures"}
    assert any(issubclass(value, enum.IntEnum) for value in classes)
    assert str(TimeLoop) == "<class 'nd2.structures.TimeLoop'>"


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


FOREIGN = """
import pickle, sys, types
import importlib.util
core = importlib.util.find_spec("nd2").submodule_search_locations
foreign = types.ModuleType("nd2")
foreign.__path__ = list(core)
sys.modules["nd2"] = foreign
# another package's structures of the same names
sys.modules["nd2.structures"] = types.ModuleType("nd2.structures")
sys.modules["nd2.structures"].Color = type("Color", (tuple,), {})
with open(sys.argv[1], "rb") as file:
    values, opened, lazy, dataset = pickle.load(file)
assert type(values[0]).__name__ == "Color" and values[0].as_hex() == "#010203", values
assert [type(loop).__name__ for loop in opened.experiment] == ["TimeLoop"], opened.experiment
assert lazy.sum().compute() == dataset.image.sum().values == opened.asarray().sum()
assert pickle.loads(pickle.dumps((values, opened.metadata))) == (values, opened.metadata)
opened.close()
print("loaded")
"""


def test_pickles_load_where_another_package_owns_the_public_names(tmp_path: Path) -> None:
    import xarray as xr

    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 3)])
    with nd2.ND2File(path) as file, xr.open_dataset(path, engine="nd2") as dataset:
        pickled = pickle.dumps((VALUES, file, file.to_dask(), dataset))
    (tmp_path / "pickle").write_bytes(pickled)
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN, str(tmp_path / "pickle")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "loaded\n", done.stderr
