"""Where OME-Zarr is written: what is left when writing fails, locally and at URLs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
import zarr
from fsspec.implementations.memory import MemoryFileSystem

import nd2
from tests.builder import build
from tests.exports import check_store, killed

if TYPE_CHECKING:
    from pathlib import Path


def damage(path: Path, frame: int) -> None:
    """Overwrite the compressed pixels of a frame."""
    with nd2.ND2File(path) as file:
        offset = int(file._reader.frames.table.offsets[frame])
    with path.open("r+b") as handle:
        handle.seek(offset)
        handle.write(b"\xff" * 64)


OLD_GROUP = b'{"zarr_format": 3, "node_type": "group"}'


def _old_store(memory: MemoryFileSystem) -> str:
    memory.pipe_file("/export/a.zarr/zarr.json", OLD_GROUP)
    return "memory://export/a.zarr"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"chunk_shape": (1,)}, ValueError),
        ({"shard_shape": (3, 40, 40), "chunk_shape": (2, 40, 40)}, ValueError),
        ({"levels": 0}, ValueError),
        ({"backend": "tensorstore"}, ValueError),
        ({"version": "0.1"}, ValueError),
        ({"position": 7}, IndexError),
    ],
)
def test_wrong_options_remove_nothing_at_a_url(
    source: Path, memory: MemoryFileSystem, options: dict[str, Any], error: type[Exception]
) -> None:
    dest = _old_store(memory)
    with nd2.ND2File(source) as file, pytest.raises(error):
        file.write_ome_zarr(dest, overwrite=True, **options)
    assert memory.find("/") == ["/export/a.zarr/zarr.json"]


def test_who_may_not_write_removes_nothing_at_a_url(
    source: Path, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = _old_store(memory)

    def pipe_file(self: MemoryFileSystem, path: str, value: bytes, **options: Any) -> None:
        raise PermissionError("read only")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", pipe_file)
    with nd2.ND2File(source) as file, pytest.raises(PermissionError):
        file.write_ome_zarr(dest, overwrite=True)
    assert memory.cat_file("/export/a.zarr/zarr.json") == OLD_GROUP


@pytest.mark.parametrize("old", [True, False])
def test_a_damaged_frame_leaves_nothing_new_at_a_url(source: Path, memory: MemoryFileSystem, old: bool) -> None:
    dest = _old_store(memory) if old else "memory://export/a.zarr"
    damage(source, 2)
    with nd2.ND2File(source) as file, pytest.raises(ValueError, match="frame 2"):
        file.write_ome_zarr(dest, overwrite=True)
    assert memory.find("/") == (["/export/a.zarr/zarr.json"] if old else [])


def test_what_replaces_a_store_at_a_url_is_all_that_is_there(source: Path, memory: MemoryFileSystem) -> None:
    dest = _old_store(memory)
    memory.pipe_file("/export/a.zarr/of/old.txt", b"old")
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(dest, overwrite=True)
    names = {name.removeprefix("/export/a.zarr/").partition("/")[0] for name in memory.find("/")}
    assert names == {"zarr.json", "0"}


yaozarrs = pytest.importorskip("yaozarrs")


def test_to_a_url(tmp_path: Path) -> None:
    source = tmp_path / "a.nd2"
    build(source, loops=[("T", 2), ("P", 2)], channels=2)
    with nd2.ND2File(source) as file:
        where = file.write_ome_zarr("memory://export/a.zarr", force_series=True)
        assert where == "memory://export/a.zarr"
        with pytest.raises(FileExistsError, match="overwrite"):
            file.write_ome_zarr("memory://export/a.zarr")
        file.write_ome_zarr("memory://export/a.zarr", overwrite=True, force_series=True)
    fs = fsspec.filesystem("memory")
    fs.get("/export/a.zarr", str(tmp_path / "a.zarr"), recursive=True)
    check_store(tmp_path / "a.zarr", source)


def test_what_exists_is_not_touched(tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.zarr"
    build(source)
    zarr.create_group(dest)
    (dest / "mine.txt").write_text("mine")
    with nd2.ND2File(source) as file:
        with pytest.raises(FileExistsError, match="overwrite"):
            file.write_ome_zarr(dest)
        assert (dest / "mine.txt").read_text() == "mine"
        file.write_ome_zarr(dest, overwrite=True)
    check_store(dest, source)
    assert not (dest / "mine.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nd2", "a.zarr"]


def test_a_damaged_frame_leaves_what_was_there(tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "a.zarr"
    build(source, loops=[("T", 3)], zlib=True, height=40, width=40)
    with nd2.ND2File(source) as file:
        offset = int(file._reader.frames.table.offsets[1])
    with source.open("r+b") as handle:
        handle.seek(offset)
        handle.write(b"\xff" * 64)
    dest.mkdir()
    (dest / "zarr.json").write_bytes(OLD_GROUP)
    with nd2.ND2File(source) as file, pytest.raises(ValueError, match="frame 1"):
        file.write_ome_zarr(dest, overwrite=True)
    assert [path.name for path in dest.iterdir()] == ["zarr.json"]
    assert (dest / "zarr.json").read_bytes() == OLD_GROUP
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nd2", "a.zarr"]


KILL = """
import os, sys, nd2
from nd2._core.export import blocks, ome_zarr
blocks._CHUNK = 96
real, count = ome_zarr.pyramid, 0
def dying(*arguments, **options):
    global count
    count += 1
    if count >= 4:
        os.kill(os.getpid(), 9)
    return real(*arguments, **options)
ome_zarr.pyramid = dying
with nd2.ND2File(sys.argv[1]) as file:
    file.write_ome_zarr(sys.argv[2], overwrite=True, backend=sys.argv[3])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
@pytest.mark.parametrize("backend", ["zarr", "tensorstore"])
def test_killed_midway(backend: Any, tmp_path: Path) -> None:
    source, dest = tmp_path / "a.nd2", tmp_path / "out" / "a.zarr"
    dest.parent.mkdir()
    build(source, loops=[("T", 8)])
    killed(KILL, source, dest, backend)
    left = list(dest.parent.iterdir())
    assert dest not in left
    assert left, "the process was killed before it wrote anything"
    for path in left:
        with pytest.raises(FileNotFoundError):
            zarr.open_group(path, mode="r")
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(dest, backend=backend)
    check_store(dest, source)
    killed(KILL, source, dest, backend)
    check_store(dest, source)
