"""Structures: copies, mutability, and pickles that do not need `nd2.structures`."""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
import inspect
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from typing import TYPE_CHECKING, Any

import pytest

import nd2
from nd2._core import event_types, region_types, structures
from nd2._core.event_types import EventMeaning
from nd2._core.region_types import ROI, AnimParam, RoiInfo
from nd2._core.structures import Color, LoopType, Period, PeriodDiff, StagePosition, TimeLoop, TimeLoopParams
from nd2._core.values import cached_property, record
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
    modules: list[Any] = [structures, region_types, event_types]
    values = [getattr(module, name) for module in modules for name in module.__all__]
    classes = [value for value in values if isinstance(value, type)]
    assert {value.__module__ for value in classes} == {"nd2.structures"}
    assert any(issubclass(value, enum.IntEnum) for value in classes)
    assert str(TimeLoop) == "<class 'nd2.structures.TimeLoop'>"


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
        [sys.executable, "-c", FOREIGN, str(tmp_path / "pickle")], capture_output=True, text=True, check=False
    )
    assert done.stdout == "loaded\n", done.stderr


def test_a_class_is_generated_when_it_is_first_used() -> None:
    @record
    class Size:
        width: int
        height: int = 1
        tags: list[str] = field(default_factory=list, compare=False, repr=False)

        @cached_property
        def area(self) -> int:
            return self.width * self.height

    assert "width" not in str(vars(Size)["__init__"])
    size = Size(3, height=2)
    assert size.area == 6
    assert size == Size(3, 2, ["other"]) != Size(3)
    assert hash(size) == hash(Size(3, 2))
    assert repr(size).endswith("Size(width=3, height=2)")
    assert dataclasses.replace(size, width=4) == Size(4, 2)
    assert [item.name for item in dataclasses.fields(Size)] == ["width", "height", "tags"]


@pytest.mark.parametrize(
    "use",
    [
        lambda cls: cls(1, height=2),
        inspect.signature,
        dataclasses.fields,
        dataclasses.is_dataclass,
        lambda cls: cls.__match_args__,
    ],
)
def test_any_use_generates_a_class(use: Callable[[Any], Any]) -> None:
    @record
    class Size:
        width: int
        height: int

    class Named(Size):
        pass

    assert use(Named)
    assert list(inspect.signature(Size).parameters) == ["width", "height"]


def test_threads_generate_a_class_at_once() -> None:
    @record
    class Size:
        width: int
        tags: list[str] = field(default_factory=list)

    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(Size, range(64)))
    assert [size.width for size in sizes] == list(range(64))
    assert all(size.tags == [] for size in sizes)


def test_threads_compute_properties_of_several_instances_at_once() -> None:
    """One lock for all files would be held while another one's server answers."""
    both = threading.Barrier(2, timeout=20)

    class File:
        @cached_property
        def opening(self) -> object:
            """Read what every opening needs."""
            both.wait()
            return object()

    files = File(), File()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda file: file.opening, files))
    assert [file.opening for file in files] == found
    assert isinstance(inspect.getattr_static(File, "opening"), functools.cached_property)
