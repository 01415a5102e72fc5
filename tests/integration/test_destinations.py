"""What is left where writing fails, or its process is killed: the old file or folder, or nothing; at URLs, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import nd2
from nd2._core.cli import main
from nd2._core.io.destination import atomic_path
from tests.builder import build
from tests.exports import killed
from tests.references import OLD_PARQUET
from xarray_nd2 import open_references, write_kerchunk
from xarray_nd2.references.model import References

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """The file system behind ``memory://``, empty before and after."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 4)], height=40, width=40, zlib=True)
    return path


def damage(path: Path, frame: int) -> None:
    """Overwrite the compressed pixels of a frame."""
    with nd2.ND2File(path) as file:
        offset = int(file._reader.frames.table.offsets[frame])
    with path.open("r+b") as handle:
        handle.seek(offset)
        handle.write(b"\xff" * 64)


# ------------------------------------------------------------------------------------------------------ references


class _DiskFull(OSError):
    pass


def _fail_midway(monkeypatch: pytest.MonkeyPatch) -> None:
    def parts(self: References, *, template: bool) -> Iterator[str]:
        yield '{"version":1,"refs":{'
        raise _DiskFull

    monkeypatch.setattr(References, "to_json", parts)


def test_json_at_a_url_is_the_old_one_where_writing_fails(
    source: Path, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kerchunk(source, "memory://refs/a.json")
    before = memory.cat_file("/refs/a.json")
    assert "refs" in json.loads(before)
    _fail_midway(monkeypatch)
    for name in ("a", "new"):
        with pytest.raises(_DiskFull):
            write_kerchunk(source, f"memory://refs/{name}.json")
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
            write_kerchunk(source, place)
    assert dest.read_bytes() == before
    assert os.listdir(dest.parent) == ["a.json"]


@pytest.mark.filterwarnings(OLD_PARQUET)
def test_tables_at_a_url_replace_references_and_nothing_else(
    source: Path, memory: MemoryFileSystem
) -> None:
    dest = "memory://refs/a.parq"
    for _ in range(2):
        write_kerchunk(source, dest, format="parquet")
    assert open_references(dest).sizes["T"] == 4
    memory.pipe_file("/mine/thesis.tex", b"chapter 1")
    for place in ("memory://mine", "memory://mine/thesis.tex"):
        with pytest.raises(FileExistsError, match="something else"):
            write_kerchunk(source, place, format="parquet")
    assert memory.cat_file("/mine/thesis.tex") == b"chapter 1"


def test_the_command_replaces_what_is_at_a_url_only_when_told(
    source: Path, memory: MemoryFileSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    memory.pipe_file("/refs/a.json", b"old")
    assert main(["refs", str(source), "memory://refs/a.json"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert memory.cat_file("/refs/a.json") == b"old"
    options = ["--overwrite", "--dest-option", "skip_instance_cache=true"]
    assert main(["refs", str(source), "memory://refs/a.json", *options]) == 0
    assert "refs" in json.loads(memory.cat_file("/refs/a.json"))


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


# -------------------------------------------------------------------------------------------------------- OME-Zarr


def _old_store(memory: MemoryFileSystem) -> str:
    memory.pipe_file("/export/a.zarr/zarr.json", b"old")
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
    assert memory.cat_file("/export/a.zarr/zarr.json") == b"old"


@pytest.mark.parametrize("old", [True, False])
def test_a_damaged_frame_leaves_nothing_at_a_url(
    source: Path, memory: MemoryFileSystem, old: bool
) -> None:
    dest = _old_store(memory) if old else "memory://export/a.zarr"
    damage(source, 2)
    with nd2.ND2File(source) as file, pytest.raises(ValueError, match="frame 2"):
        file.write_ome_zarr(dest, overwrite=True)
    assert memory.find("/") == []


def test_what_replaces_a_store_at_a_url_is_all_that_is_there(
    source: Path, memory: MemoryFileSystem
) -> None:
    dest = _old_store(memory)
    memory.pipe_file("/export/a.zarr/of/old.txt", b"old")
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(dest, overwrite=True)
    names = {name.removeprefix("/export/a.zarr/").partition("/")[0] for name in memory.find("/")}
    assert names == {"zarr.json", "0"}


def test_an_old_folder_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "a.zarr"
    dest.mkdir()
    (dest / "old.txt").write_text("old")
    real = os.rename

    def rename(old: Path, new: Path) -> None:
        if old.name.endswith(".partial"):
            raise PermissionError("somebody looks into it")
        real(old, new)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(PermissionError), atomic_path(dest) as partial:
        partial.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    assert (dest / "old.txt").read_text() == "old"


# ------------------------------------------------------------------------------------------ processes that are gone

KILL = """
import os, sys
from pathlib import Path
from nd2._core.io.destination import atomic_path
from nd2._core.cli import main
with atomic_path(Path(sys.argv[1])) as partial:
    if sys.argv[2] == "folder":
        partial.mkdir()
        (partial / "part").write_text("half")
    else:
        partial.write_text("half")
    os.kill(os.getpid(), 9)
"""


def _partials(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".partial"))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_export_removes_what_killed_ones_left(source: Path, tmp_path: Path, kind: str) -> None:
    dest = tmp_path / "out" / ("a.tif" if kind == "file" else "a.zarr")
    dest.parent.mkdir()
    other = dest.with_name("b" + dest.name)  # a name that ends in the same way
    for place in (dest, dest, other):
        killed(KILL, place, kind)
    assert len(_partials(dest.parent)) == 3
    with nd2.ND2File(source) as file:
        if kind == "file":
            file.write_tiff(dest)
        else:
            file.write_ome_zarr(dest)
    (left,) = _partials(dest.parent)
    assert left.startswith(f".{other.name}.")
    assert dest.exists()


def test_what_others_may_still_write_stays(source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "out" / "a.tif"
    dest.parent.mkdir()
    elsewhere = dest.with_name(".a.tif.another_machine-1-0.partial")
    elsewhere.write_text("half")
    writing = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from nd2._core.io.destination import atomic_path\n"
            "with atomic_path(Path(sys.argv[1])) as partial:\n"
            "    partial.write_text('theirs')\n"
            "    print(partial.name, flush=True)\n"
            "    sys.stdin.read()",
            str(dest),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writing.stdout is not None
    theirs = writing.stdout.readline().strip()
    with atomic_path(dest) as mine:  # so may another thread
        mine.write_text("mine")
        with nd2.ND2File(source) as file:
            file.write_tiff(dest)
        assert _partials(dest.parent) == sorted([elsewhere.name, theirs, mine.name])
    writing.communicate("")
    assert writing.returncode == 0
    assert dest.read_text() == "theirs"
    assert _partials(dest.parent) == [elsewhere.name]
