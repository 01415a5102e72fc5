"""What the installed distribution promises to others."""

from __future__ import annotations

import re
from collections import defaultdict
from importlib.metadata import entry_points, requires
from importlib.resources import files

import pytest
from packaging.requirements import Requirement


@pytest.mark.parametrize("package", ["nd2", "xarray_nd2"])
def test_package_is_typed(package: str) -> None:
    assert (files(package) / "py.typed").is_file()


def test_xarray_finds_the_engine() -> None:
    (engine,) = entry_points(group="xarray.backends", name="nd2")
    assert engine.value == "xarray_nd2.backend:ND2BackendEntrypoint"


def test_console_script_is_named_nd2() -> None:
    (script,) = entry_points(group="console_scripts", name="nd2")
    assert script.value == "nd2.cli:main"


def test_all_is_the_union_of_the_other_extras() -> None:
    requirements = [Requirement(text) for text in requires("xarray-nd2") or ()]
    by_extra: dict[str, set[str]] = defaultdict(set)
    for requirement in requirements:
        if requirement.marker is not None:
            (extra,) = re.findall(r'extra == "([^"]+)"', str(requirement.marker))
            by_extra[extra].add(f"{requirement.name}{requirement.specifier}")
    everything = by_extra.pop("all")
    assert set().union(*by_extra.values()) == everything
