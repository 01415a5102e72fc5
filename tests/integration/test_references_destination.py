"""Where references are written: what is left when writing fails, locally and at URLs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.builder import build
from tests.references import OLD_PARQUET
from xarray_nd2 import open_references, write_combined, write_kerchunk
from xarray_nd2.references import kerchunk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _DiskFull(OSError):
    pass


def _fail_midway(monkeypatch: pytest.MonkeyPatch) -> None:
    def parts(*_: Any, template: bool) -> Iterator[str]:
        yield '{"version":1,"refs":{'
        raise _DiskFull

    monkeypatch.setattr(kerchunk, "to_json", parts)


def test_json_at_a_url_is_the_old_one_where_writing_fails(
    source: Path, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kerchunk(source, "memory://refs/a.json")
    before = memory.cat_file("/refs/a.json")
    assert "refs" in json.loads(before)
    _fail_midway(monkeypatch)
    for name in ("a", "new"):
        with pytest.raises(_DiskFull):
            write_kerchunk(source, f"memory://refs/{name}.json", overwrite=True)
    assert memory.cat_file("/refs/a.json") == before
    assert memory.find("/") == ["/refs/a.json"]


def test_json_at_a_local_path_is_the_old_one_where_writing_fails(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "out" / "a.json"
    dest.parent.mkdir()
    write_kerchunk(source, dest)
    before = dest.read_bytes()
    _fail_midway(monkeypatch)
    for place in (dest, dest.as_uri()):
        with pytest.raises(_DiskFull):
            write_kerchunk(source, place, overwrite=True)
    assert dest.read_bytes() == before
    assert os.listdir(dest.parent) == ["a.json"]


@pytest.mark.filterwarnings(OLD_PARQUET)
def test_tables_at_a_url_replace_references_and_nothing_else(source: Path, memory: MemoryFileSystem) -> None:
    dest = "memory://refs/a.parq"
    for _ in range(2):
        write_kerchunk(source, dest, format="parquet", overwrite=True)
    assert open_references(dest).sizes["T"] == 4
    memory.pipe_file("/mine/thesis.tex", b"chapter 1")
    for place in ("memory://mine", "memory://mine/thesis.tex"):
        with pytest.raises(FileExistsError, match="is not replaced"):
            write_kerchunk(source, place, format="parquet", overwrite=True)
    assert memory.cat_file("/mine/thesis.tex") == b"chapter 1"


def test_tables_whose_upload_breaks_off_do_not_open(
    source: Path, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = MemoryFileSystem.put_file

    def put_file(self: MemoryFileSystem, lpath: str, rpath: str, **options: Any) -> None:
        if "/image/" in rpath:
            raise OSError("the connection was lost")
        real(self, lpath, rpath, **options)

    monkeypatch.setattr(MemoryFileSystem, "put_file", put_file)
    with pytest.raises(OSError, match="lost"):
        write_kerchunk(source, "memory://refs/a.parq", format="parquet")
    assert not memory.exists("/refs/a.parq/.zmetadata")


def test_a_failed_writing_leaves_the_old_references(tmp_path: Path) -> None:
    path, dest = tmp_path / "a.nd2", tmp_path / "refs.json"
    build(path, zlib=True, row_bytes=19)
    dest.write_text("old")
    with pytest.raises(ValueError, match="padded"):
        write_kerchunk(path, dest, overwrite=True)
    assert dest.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nd2", "refs.json"]


def test_what_cannot_be_written_leaves_what_is_there(tmp_path: Path) -> None:
    path, dest = tmp_path / "a.nd2", tmp_path / "refs"
    build(path, loops=[("T", 3)], missing=frozenset({1}))
    write_kerchunk(path, dest)
    before = dest.read_bytes()
    for options, message in (
        ({"format": "parquet"}, "format='json'"),
        ({"format": "parquet", "zarr_format": 3}, "format='json'"),
        ({"zarr_format": 4}, "2 or 3"),
        ({"layout": "ome-zarr"}, "zarr_format=3"),
        ({"layout": "tree"}, "'flat'"),
        ({"format": "yaml"}, "'parquet'"),
        ({"url": "https://me:secret@host/a.nd2"}, "credential"),
        ({"url": "https://host/a.nd2?X-Amz-Signature=abc"}, "credential"),
    ):
        with pytest.raises(ValueError, match=message):
            write_kerchunk(path, tmp_path / "new", **options)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_kerchunk(path, dest)
    assert dest.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["a.nd2", "refs"]


def test_a_form_that_cannot_be_written_is_refused_before_files_are_read(tmp_path: Path) -> None:
    for write in (write_kerchunk, write_combined):
        with pytest.raises(ValueError, match="format='json'"):
            write(tmp_path / "missing.nd2", tmp_path / "refs", format="parquet", zarr_format=3)


@pytest.mark.filterwarnings(OLD_PARQUET)
def test_parquet_replaces_references_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 3)])
    for _ in range(2):
        write_kerchunk(path, tmp_path / "refs", format="parquet", overwrite=True)
    dataset = open_references(tmp_path / "refs")
    np.testing.assert_array_equal(dataset.image.values, spec.array)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("chapter 1")
    with pytest.raises(FileExistsError, match="is not replaced"):
        write_kerchunk(path, tmp_path / "mine", format="parquet", overwrite=True)
    assert (tmp_path / "mine" / "thesis.tex").exists()
