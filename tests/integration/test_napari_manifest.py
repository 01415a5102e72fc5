"""The manifest that tells napari what the plugin does."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

import xarray_nd2

ROOT = Path(__file__).parents[2]
MANIFEST = Path(xarray_nd2.__file__).parent / "napari" / "napari.yaml"
CONTENT: dict[str, Any] = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
COMMANDS = {command["id"]: command["python_name"] for command in CONTENT["contributions"]["commands"]}


def test_napari_finds_the_manifest() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (value,) = project["entry-points"]["napari.manifest"].values()
    module, _, name = value.partition(":")
    assert Path(str(import_module(module).__file__)).parent / name == MANIFEST
    assert CONTENT["name"] == "xarray-nd2"


@pytest.mark.parametrize("name", COMMANDS.values(), ids=COMMANDS)
def test_every_command_is_a_function(name: str) -> None:
    module, _, function = name.partition(":")
    assert callable(getattr(import_module(module), function))


def test_every_contribution_has_its_command() -> None:
    parts = CONTENT["contributions"]
    used = [item["command"] for kind in ("readers", "writers", "widgets") for item in parts[kind]]
    assert sorted(used) == sorted(COMMANDS)


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ("a.nd2", True),
        ("s3://bucket/a.nd2", True),
        ("https://host/a.nd2?X-Amz-Signature=1", True),
        ("simplecache::https://host/a.nd2", True),
        ("zip://a.nd2::s3://bucket/all.zip", True),
        ("a.nd2.tif", False),
        ("a.czi", False),
    ],
)
def test_patterns_of_names(path: str, matches: bool) -> None:
    (reader,) = CONTENT["contributions"]["readers"]
    assert any(fnmatch(path, pattern) for pattern in reader["filename_patterns"]) is matches


def test_npe2_accepts_the_manifest() -> None:
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    assert manifest.contributions.readers[0].accepts_directories
