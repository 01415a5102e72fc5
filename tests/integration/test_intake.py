"""Catalogs of intake, and tables of files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from tests.builder import build
from tests.references import assert_same
from xarray_nd2 import write_kerchunk


@pytest.fixture
def catalogued(tmp_path: Path) -> xr.Dataset:
    pytest.importorskip("intake")
    build(tmp_path / "a.nd2", loops=[("T", 3), ("Z", 2)], channels=2)
    write_kerchunk(tmp_path / "a.nd2", tmp_path / "a.nd2.json")
    return xr.open_dataset(tmp_path / "a.nd2", engine="nd2").load()


CATALOG = """
version: 2
metadata: {}
user_parameters: {}
aliases: {exp: exp, virtual: virtual}
data:
  file:
    datatype: xarray_nd2.intake:ND2
    kwargs: {url: "{CATALOG_DIR}/a.nd2"}
    metadata: {}
    user_parameters: {}
  refs:
    datatype: xarray_nd2.intake:ND2References
    kwargs: {url: "{CATALOG_DIR}/a.nd2.json"}
    metadata: {}
    user_parameters: {}
entries:
  exp:
    reader: xarray_nd2.intake:ND2Reader
    output_instance: xarray:Dataset
    kwargs: {args: ["{data(file)}"], chunks: {}}
    metadata: {}
    user_parameters: {}
  virtual:
    reader: xarray_nd2.intake:ND2ReferencesReader
    output_instance: xarray:Dataset
    kwargs: {args: ["{data(refs)}"]}
    metadata: {}
    user_parameters: {}
"""


def test_a_catalog_that_was_written_by_hand(tmp_path: Path, catalogued: xr.Dataset) -> None:
    import intake

    (tmp_path / "catalog.yml").write_text(CATALOG)
    catalog = intake.open_catalog(str(tmp_path / "catalog.yml"))
    assert_same(catalog.exp.read(), catalogued)
    assert catalog.exp.read().image.chunks is not None
    assert_same(catalog.virtual.read(), catalogued)


def test_a_catalog_there_and_back(tmp_path: Path, catalogued: xr.Dataset) -> None:
    import intake
    from intake.readers.datatypes import recommend
    from intake.readers.entry import Catalog

    from xarray_nd2.intake import ND2, ND2Reader, ND2References, ND2ReferencesReader

    path = tmp_path / "a.nd2"
    assert recommend(str(path)) == [ND2]
    assert ND2References in recommend("a.nd2.json", head=False)
    assert ND2Reader in ND2(str(path)).possible_readers["importable"]
    catalog = Catalog()
    catalog["exp"] = ND2Reader(ND2(str(path)), squeeze=False)
    catalog["virtual"] = ND2ReferencesReader(ND2References(f"{path}.json"))
    catalog.to_yaml_file(str(tmp_path / "catalog.yml"))
    again = intake.open_catalog(str(tmp_path / "catalog.yml"))
    assert again.exp.read().image.dims == ("T", "P", "Z", "C", "Y", "X")
    assert_same(again.virtual.read(), catalogued)


def test_a_classic_catalog(tmp_path: Path, catalogued: xr.Dataset) -> None:
    import intake

    (tmp_path / "classic.yml").write_text(
        'sources: {exp: {driver: nd2, args: {urlpath: "{{ CATALOG_DIR }}/a.nd2", chunks: {}}}}'
    )
    catalog = intake.open_catalog(str(tmp_path / "classic.yml"))
    assert_same(catalog.exp.read(), catalogued)
    assert catalog.exp.to_dask().image.chunks is not None
    assert_same(intake.open_nd2(str(tmp_path / "a.nd2")).read(), catalogued)


CLASSIC = """
sources:
  several:
    driver: nd2
    args:
      urlpath: {urls}
      combine: nested
      concat_dim: T
"""


@pytest.mark.parametrize("remote", [False, True], ids=["paths", "URLs"])
def test_patterns_and_lists(tmp_path: Path, remote: bool) -> None:
    intake = pytest.importorskip("intake")
    from intake.readers.entry import Catalog

    from xarray_nd2.intake import ND2, ND2Reader

    place = tmp_path.as_uri() if remote else str(tmp_path)
    for name in "ba":
        build(tmp_path / f"exp_{name}.nd2", loops=[("T", 2)], seed=ord(name))
    paths = [tmp_path / f"exp_{name}.nd2" for name in "ab"]
    options: dict[str, Any] = {"combine": "nested", "concat_dim": "T"}
    expected = xr.open_mfdataset(paths, engine="nd2", **options).load()
    urls = [f"{place}/exp_a.nd2", f"{place}/exp_b.nd2"]
    choices: list[str | list[str]] = [f"{place}/exp_*.nd2", urls, [f"{place}/exp_[ab].nd2"]]
    for number, url in enumerate(choices):
        assert_same(ND2Reader(ND2(url)).read(**options), expected)
        catalog = Catalog()
        catalog["several"] = ND2Reader(ND2(url), **options)
        catalog.to_yaml_file(str(tmp_path / "catalog.yml"))
        assert_same(intake.open_catalog(str(tmp_path / "catalog.yml")).several.read(), expected)
        classic = tmp_path / f"classic{number}.yml"
        classic.write_text(CLASSIC.format(urls=json.dumps(url)))
        assert_same(intake.open_catalog(str(classic)).several.read(), expected)
    one = xr.open_dataset(paths[0], engine="nd2").load()
    assert_same(ND2Reader(ND2(urls[:1])).read(), one)
    assert_same(ND2Reader(ND2(f"{place}/*_a.nd2")).read(), one)
    with pytest.raises(FileNotFoundError, match="matches no file"):
        ND2Reader(ND2(f"{place}/none_*.nd2")).read()


def test_a_name_that_looks_like_a_pattern(tmp_path: Path) -> None:
    pytest.importorskip("intake")
    from xarray_nd2.intake import ND2, ND2Reader

    path = tmp_path / "a[1].nd2"
    build(path, loops=[("T", 2)])
    expected = xr.open_dataset(path, engine="nd2").load()
    assert_same(ND2Reader(ND2(str(path))).read(), expected)


@pytest.mark.parametrize("first", ["intake", "xarray_nd2.intake"])
def test_the_order_of_imports_does_not_matter(tmp_path: Path, first: str) -> None:
    pytest.importorskip("intake")
    # Entry points of this source, which may be newer than what is installed.
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    info = tmp_path / "xarray_nd2-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: xarray-nd2\nVersion: 0\n")
    points = project["entry-points"]["intake.imports"]
    (info / "entry_points.txt").write_text(f"[intake.imports]\nnd2 = {points['nd2']}\n")
    script = (
        f"import {first}\nfrom intake.readers.datatypes import recommend\n"
        "(kind,) = recommend('a.nd2', head=False)\nprint(kind('a.nd2').possible_readers['importable'])"
    )
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert "ND2Reader" in done.stdout
    assert done.stderr == ""
