"""The public surface is that of nd2 0.12.0, with additions: nothing is missing, nothing is changed.

``tests/nd2_surface.json`` holds the names, signatures, fields and values of nd2 0.12.0, written by
`tests.surface` where that package is installed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.surface import surface

if TYPE_CHECKING:
    from collections.abc import Iterator

THEIRS = json.loads((Path(__file__).parents[1] / "nd2_surface.json").read_text())

CHANGED = {
    "nd2/BinaryLayer/bases": "a sequence: all that lists of masks offer, and what theirs has",
    "nd2/is_supported_file/sig/open_": "None stands for the package's own opening",
    "nd2.structures/ExtrudedShape/sig/basePoints": "theirs is a dataclass field by mistake",
}
"""Differences, and their reasons."""


def _parameters(name: str, ours: list[list[Any]], theirs: list[list[Any]]) -> Iterator[str]:
    """Theirs come first, in their order; ours have defaults and do not take their places."""
    for mine, other in zip(ours, theirs, strict=False):
        if mine != other:
            yield f"{name}/{other[0]}"
    # fields of structures, and parameters that NumPy prescribes, may follow by position
    positional = name.startswith("nd2.structures/") or name.endswith("__array__/sig")
    for extra in ours[len(theirs) :]:
        if extra[2] is None or (extra[1] != "KEYWORD_ONLY" and not positional):
            yield f"{name}/{extra[0]}"
    yield from (f"{name}/{other[0]}" for other in theirs[len(ours) :])


def _differences(name: str, ours: Any, theirs: Any) -> Iterator[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key, value in theirs.items():
            path = f"{name}/{key}" if name else key
            if key not in ours:
                yield path
            else:
                yield from _differences(path, ours[key], value)
    elif name.endswith("/sig") and ours and theirs is not None:
        yield from _parameters(name, ours, theirs)
    elif name.endswith("/keys"):
        yield from (f"{name}/{key}" for key in theirs if key not in ours)
    elif name.endswith("/fields"):
        yield from (name for mine, other in zip(ours, theirs, strict=False) if mine != other)
        yield from (name for _ in theirs[len(ours) :])
    elif ours != theirs:
        yield name


def test_nothing_is_missing_or_changed() -> None:
    assert set(_differences("", surface(), THEIRS)) == set(CHANGED)


@pytest.mark.parametrize(
    ("module", "names"),
    [("nd2", {"ND2Writer", "imwrite", "rescue_file", "save_index"}), ("nd2.index", {"main"}), ("nd2.tiff", set())],
)
def test_additions(module: str, names: set[str]) -> None:
    assert set(surface()[module]) - set(THEIRS[module]) == names


def test_additions_to_a_file() -> None:
    ours, theirs = surface()["nd2"]["ND2File"], THEIRS["nd2"]["ND2File"]
    assert set(ours["members"]) - set(theirs["members"]) == {
        "custom_metadata",
        "rescued",
        "thumbnail",
        "write_nd2",
        "writer",
    }
    added = [name for name, *_ in ours["sig"][len(theirs["sig"]) :]]
    assert added == ["index", "flat_frames", "rescue", "dtype"]
