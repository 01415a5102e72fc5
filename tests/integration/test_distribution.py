"""Metadata and entry points of the installed distribution."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from importlib import import_module
from importlib.metadata import entry_points, requires
from importlib.resources import files
from typing import TYPE_CHECKING, get_type_hints, is_typeddict

import pytest
import xarray as xr
from fsspec.registry import _registry as file_systems
from packaging.requirements import Requirement

import nd2
import xarray_nd2
from tests.builder import build
from xarray_nd2 import pictures

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("package", ["nd2", "xarray_nd2"])
def test_package_is_typed(package: str) -> None:
    assert (files(package) / "py.typed").is_file()


def test_xarray_finds_the_engine() -> None:
    (engine,) = entry_points(group="xarray.backends", name="nd2")
    assert engine.value == "xarray_nd2.backend:ND2BackendEntrypoint"


def test_console_script_is_named_nd2() -> None:
    (script,) = entry_points(group="console_scripts", name="nd2")
    assert script.value == "nd2._core.cli:main"


def test_all_is_the_union_of_the_other_extras() -> None:
    """Except napari, which brings a toolkit for windows."""
    requirements = [Requirement(text) for text in requires("xarray-nd2") or ()]
    by_extra: dict[str, set[str]] = defaultdict(set)
    for requirement in requirements:
        if requirement.marker is not None:
            (extra,) = re.findall(r'extra == "([^"]+)"', str(requirement.marker))
            by_extra[extra].add(f"{requirement.name}{requirement.specifier}")
    everything = by_extra.pop("all")
    by_extra.pop("napari", None)
    assert set().union(*by_extra.values()) == everything


def test_types_of_jobs_can_be_asked_for_at_run_time() -> None:
    from nd2.jobs import types

    described = [item for item in vars(types).values() if is_typeddict(item)]
    assert types.JobsDict in described
    for item in described:
        assert get_type_hints(item).keys() == item.__annotations__.keys()


@pytest.mark.parametrize(
    ("url", "package", "module"),
    [("https://host/a.nd2", "aiohttp", "fsspec.implementations.http"), ("s3://bucket/a.nd2", "s3fs", "s3fs")],
)
def test_urls_without_their_package(url: str, package: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for protocol in ("http", "https", "s3", "s3a"):
        monkeypatch.delitem(file_systems, protocol, raising=False)
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package} is needed .*xarray-nd2\[remote\]"):
        nd2.ND2File(url)
    with pytest.raises(ImportError, match=rf"{package} is needed .*xarray-nd2\[remote\]"):
        xr.open_dataset(url, engine="nd2")


def test_urls_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ImportError, match="gcsfs"):
        nd2.ND2File("gs://bucket/a.nd2")


def test_the_parser_without_virtualizarr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(xarray_nd2, "ND2Parser", raising=False)
    monkeypatch.delitem(sys.modules, "xarray_nd2.references.virtualizarr", raising=False)
    monkeypatch.setitem(sys.modules, "virtualizarr.manifests", None)
    with pytest.raises(ImportError, match=r"xarray-nd2\[virtual\]"):
        _ = xarray_nd2.ND2Parser


def test_catalogs_without_intake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "xarray_nd2.intake", raising=False)
    monkeypatch.setitem(sys.modules, "intake.readers.datatypes", None)
    with pytest.raises(ImportError, match=r"xarray-nd2\[intake\]"):
        import_module("xarray_nd2.intake")


def test_parquet_without_fastparquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 2)])
    monkeypatch.setitem(sys.modules, "fastparquet", None)
    with pytest.raises(ImportError, match=r"xarray-nd2\[virtual\]"):
        xarray_nd2.write_kerchunk(tmp_path / "a.nd2", tmp_path / "a.parq", format="parquet")
    assert [item.name for item in tmp_path.iterdir()] == ["a.nd2"]


def test_pictures_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 2)])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    pictures._figure_class.cache_clear()
    dataset = xr.open_dataset(tmp_path / "a.nd2", engine="nd2")
    for draw in (dataset.nd2.plot, dataset.nd2.thumbnail):
        with pytest.raises(ImportError, match=r"xarray-nd2\[plot\]"):
            draw()
