"""Opening references: files that changed or moved since they were written."""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from fsspec.implementations.memory import MemoryFileSystem

from tests.builder import build
from tests.references import OLD_PARQUET, assert_same
from tests.servers import range_server
from xarray_nd2 import StaleReferencesWarning, combine_references, open_references, to_kerchunk, write_kerchunk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("form", ["json", "parquet"])
@pytest.mark.filterwarnings("ignore:The 'fastparquet' engine is deprecated")
def test_a_file_that_changed_is_warned_of(tmp_path: Path, form: Any) -> None:
    path, refs = tmp_path / "a.nd2", tmp_path / "refs"
    build(path, loops=[("T", 3)])
    write_kerchunk(path, refs, format=form)
    open_references(refs)
    os.utime(path, ns=(1, 1))
    with pytest.warns(StaleReferencesWarning, match=r"a\.nd2' changed .* write them again"):
        open_references(refs)
    build(path, loops=[("T", 4)])
    with pytest.warns(StaleReferencesWarning, match="changed"):
        open_references(refs)
    with warnings.catch_warnings():
        warnings.simplefilter("error", StaleReferencesWarning)
        open_references(refs, check=False)
    path.unlink()
    with pytest.warns(StaleReferencesWarning, match="cannot be reached"):
        open_references(refs)


def test_the_one_that_changed_among_several_is_named(time_parts: list[Path]) -> None:
    combined = combine_references([to_kerchunk(path) for path in time_parts])
    os.utime(time_parts[1], ns=(1, 1))
    with pytest.warns(StaleReferencesWarning, match=r"part1\.nd2") as seen:
        open_references(combined)
    assert len(seen) == 1


@pytest.mark.parametrize("template", [True, False])
def test_a_file_that_moved(tmp_path: Path, template: bool) -> None:
    path, refs, moved = tmp_path / "a.nd2", tmp_path / "refs.json", tmp_path / "new" / "b.nd2"
    build(path, loops=[("T", 3)])
    dataset = xr.open_dataset(path, engine="nd2").load()
    write_kerchunk(path, refs, template=template)
    moved.parent.mkdir()
    shutil.move(path, moved)
    assert_same(open_references(refs, url=str(moved)), dataset)
    if template:
        options = {"fo": str(refs), "template_overrides": {"u": str(moved)}}
        virtual = xr.open_zarr("reference://", storage_options=options, consolidated=False)
        assert_same(virtual, dataset)
        assert_same(
            xr.open_dataset(str(refs), engine="kerchunk", storage_options={"template_overrides": {"u": str(moved)}}),
            dataset,
        )
    build(moved, loops=[("T", 9)])
    with pytest.warns(StaleReferencesWarning, match="changed"):
        open_references(refs, url=str(moved))


def test_parquet_cannot_be_led_elsewhere(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2")
    write_kerchunk(tmp_path / "a.nd2", tmp_path / "refs", format="parquet")
    with pytest.raises(ValueError, match="write the references again with url="):
        open_references(tmp_path / "refs", url="elsewhere.nd2")


@pytest.mark.parametrize(
    ("zarr_format", "name", "hint"), [(2, "P11", "did you mean 'P1'"), (3, "p2", "did you mean 'P2'")]
)
def test_a_misspelled_group_suggests_the_right_one(named: Path, zarr_format: Any, name: str, hint: str) -> None:
    refs = to_kerchunk(named, layout="positions", zarr_format=zarr_format)
    with pytest.raises(ValueError, match=f"no group '{name}'; {hint}"):
        open_references(refs, group=name)


@pytest.mark.parametrize("name", ["{{ ''.join(u) }}.nd2", "{% raw %}.nd2", "{# a #}.nd2"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_name_is_never_code(tmp_path: Path, name: str, zarr_format: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec passes templates and what they fill in to Jinja, before 2026.6 without a sandbox."""
    import jinja2

    def refuse(*_: Any) -> None:
        raise AssertionError("a name was evaluated")

    monkeypatch.setattr(jinja2.Environment, "from_string", refuse)
    plain, path, refs = tmp_path / "a.nd2", tmp_path / name, tmp_path / "refs.json"
    build(plain, loops=[("T", 3)])
    shutil.copy2(plain, path)
    dataset = xr.open_dataset(plain, engine="nd2").load()
    for source in (path, plain):
        write_kerchunk(source, refs, zarr_format=zarr_format, url=str(path), overwrite=True)
        assert "templates" not in json.loads(refs.read_text())
        xr.testing.assert_equal(open_references(refs).image, dataset.image)
        xr.open_zarr("reference://", storage_options={"fo": str(refs)}, consolidated=False).load()
    write_kerchunk(plain, refs, zarr_format=zarr_format, overwrite=True)
    xr.testing.assert_equal(open_references(refs, url=str(path)).image, dataset.image)
    both = [to_kerchunk(source, zarr_format=zarr_format) for source in (plain, path)]
    assert open_references(combine_references(both)).image.load().sizes["T"] == 6


@pytest.mark.skipif(sys.platform == "win32", reason="names that its file systems do not have")
@pytest.mark.filterwarnings(OLD_PARQUET)
@pytest.mark.parametrize("name", ["exp #1", "a?b", "tab\tx", "100%25 dose", "100% dose", "{{u}}", "a[1]", "::x", "ü"])
def test_a_name_with_special_characters(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.nd2"
    build(path, loops=[("T", 2)])
    image = xr.open_dataset(path, engine="nd2").image.load()
    write_kerchunk(path, tmp_path / "refs.json")
    write_kerchunk(path, tmp_path / "refs", format="parquet")
    found = [open_references(to_kerchunk(path)), open_references(to_kerchunk(path, zarr_format=3))]
    found += [open_references(tmp_path / "refs.json"), open_references(tmp_path / "refs")]
    options: dict[str, Any] = {"engine": "kerchunk", "mask_and_scale": False}
    found.append(xr.open_dataset(str(tmp_path / "refs.json"), **options))
    options["storage_options"] = {"remote_protocol": "file"}
    found.append(xr.open_dataset(str(tmp_path / "refs"), **options))
    for dataset in found:
        np.testing.assert_array_equal(dataset.image.transpose(*image.dims), image)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text")
@pytest.mark.parametrize("form", ["json", "parquet"])
def test_a_name_that_is_not_text_is_refused(tmp_path: Path, form: Any) -> None:
    path = tmp_path / os.fsdecode(b"a\xff.nd2")
    build(path, loops=[("T", 3)])
    for write in (to_kerchunk, lambda path: write_kerchunk(path, tmp_path / "refs", format=form)):
        with pytest.raises(ValueError, match=r"UTF-8, which cannot hold the path '.*a\\udcff\.nd2'"):
            write(path)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("template", [True, False])
@pytest.mark.parametrize("place", ["", "sub/"])
def test_a_relative_path_leads_on_from_the_folder_of_the_references(
    tmp_path: Path, template: bool, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    (folder / place).mkdir(parents=True)
    path = folder / place / "a.nd2"
    build(path, loops=[("T", 3)])
    options: dict[str, Any] = {"url": f"{place}a.nd2", "template": template}
    write_kerchunk(path, folder / "refs.json", **options)
    expected = xr.open_dataset(path, engine="nd2").image.load()
    for cwd, refs in ((tmp_path, "data/refs.json"), (folder, "refs.json")):
        monkeypatch.chdir(cwd)
        xr.testing.assert_equal(open_references(refs).image, expected)
        both = open_references(combine_references([refs, refs]))
        assert both.image.load().sizes["T"] == 6
    fs = MemoryFileSystem()
    fs.put_file(str(path), f"/bucket/{place}a.nd2")
    fs.put_file(str(folder / "refs.json"), "/bucket/refs.json")
    virtual = open_references("memory://bucket/refs.json", check=False)
    xr.testing.assert_equal(virtual.image, expected)
    path.unlink()
    with pytest.warns(StaleReferencesWarning, match="cannot be reached"):
        open_references(folder / "refs.json")


def test_what_is_not_references(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    with pytest.raises(ValueError, match=r"is an ND2 file; xarray_nd2\.write_kerchunk"):
        open_references(path)
    with pytest.raises(ValueError, match="write_kerchunk"):
        combine_references([path])
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"a\.nd2' is not JSON"):
        open_references(path)
    path.write_text("[1]")
    with pytest.raises(ValueError, match="no 'refs'"):
        open_references(path)
    with pytest.raises(FileNotFoundError, match=r"b\.json"):
        open_references(tmp_path / "b.json")


def test_errors_hold_no_secrets(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    secret = "5ecr37"
    with range_server(tmp_path) as server:
        url = f"{server.url('absent.json')}?X-Amz-Signature={secret}"
        for action in (open_references, lambda place: combine_references([place])):
            with pytest.raises(OSError, match=r"absent\.json") as caught:
                action(url)
            shown = "".join(traceback.format_exception(caught.value))
            assert secret not in shown
