"""Outputs: what may be replaced, and that the destination holds the old content or the new one."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from nd2._core.io import part as parts
from nd2._core.io.destination import Destination, resolve
from tests.exports import killed

GROUP = b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'
ND2 = b"\xda\xce\xbe\x0aND2"


def write_folder(dest: Destination, name: str, data: bytes) -> None:
    with dest.folder() as place:
        Path(place, name).write_bytes(data)


def fail(dest: Destination, error: BaseException, name: str = "") -> None:
    """Write half an output, then raise."""
    with dest.folder() if name else dest.file() as place:
        Path(place, name).write_bytes(b"half")
        raise error


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    dest = resolve(path, "JSON")
    with dest.file() as place:
        assert place == tmp_path / "a.json.part"
        place.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_an_error_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(error):
        fail(resolve(path, "JSON", overwrite=True), error())
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_an_error_leaves_no_folder_that_was_made_for_it(tmp_path: Path) -> None:
    dest = resolve(tmp_path / "b" / "c" / "a.zarr", "OME-Zarr")
    with pytest.raises(KeyError):
        fail(dest, KeyError(), "zarr.json")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="modes and links are those of POSIX")
def test_mode_and_link_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "data" / "a.json", tmp_path / "link.json"
    real.parent.mkdir()
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(real)
    resolve(link, "JSON", overwrite=True).write(b"new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert os.listdir(real.parent) == ["a.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right on Windows")
def test_the_name_of_a_part_leads_nowhere_else(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "a.json"
    victim.write_text("precious")
    (tmp_path / "a.json.part").symlink_to(victim)
    resolve(path, "JSON").write(b"new")
    assert victim.read_text() == "precious"
    assert not path.is_symlink()
    assert path.read_text() == "new"


def test_parts_of_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    (tmp_path / "a.json.part").write_text("theirs")
    resolve(path, "JSON").write(b"mine")
    assert (tmp_path / "a.json.part").read_text() == "theirs"
    with resolve(path, "JSON", overwrite=True).file() as place:
        place.write_text("first")
        resolve(path, "JSON", overwrite=True).write(b"second")
    assert path.read_text() == "first"
    assert sorted(os.listdir(tmp_path)) == ["a.json", "a.json.part"]


def test_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 120 + ".json")
    resolve(path, "JSON").write(b"{}")
    assert path.read_bytes() == b"{}"


def test_what_appears_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    dest = resolve(path, "JSON")
    path.write_text("theirs")
    with pytest.raises(FileExistsError):
        dest.write(b"new")
    assert path.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["a.json"]


def test_errors_name_the_destination(tmp_path: Path) -> None:
    dest = resolve(tmp_path / "a.json", "JSON")
    with pytest.raises(FileNotFoundError, match=rf"'{tmp_path / 'a.json'}/b'$"):
        fail(dest, FileNotFoundError(2, "No such file", f"{tmp_path / 'a.json.part'}/b"))
    with pytest.raises(OSError, match=r"a\.json'$") as caught:
        fail(dest, OSError(28, "No space left on device"))
    assert caught.value.errno == 28
    with pytest.raises(FileNotFoundError, match=r"none/a\.json'$"):
        resolve(tmp_path / "none" / "a.json", "JSON").write(b"")


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("old", ["group", "empty"])
def test_a_folder_replaces_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool, old: str) -> None:
    if not exchange:
        monkeypatch.setattr(parts, "_rename", lambda *_: False)
    path = tmp_path / "a.zarr"
    path.mkdir(mode=0o750)
    if old == "group":
        (path / "zarr.json").write_bytes(GROUP)
    write_folder(resolve(path, "OME-Zarr", overwrite=True), "new", b"new")
    assert os.listdir(path) == ["new"]
    assert os.listdir(tmp_path) == ["a.zarr"]
    assert sys.platform == "win32" or stat.S_IMODE(path.stat().st_mode) == 0o750


@pytest.mark.parametrize("error", [PermissionError, KeyboardInterrupt])
@pytest.mark.parametrize("after", [True, False])
def test_an_old_folder_comes_back_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], after: bool
) -> None:
    """On systems that cannot exchange folders; the error falls before or after the first of two steps."""
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "zarr.json").write_bytes(GROUP)
    real, failures = os.rename, [error]

    def rename(old: Path, new: Path) -> None:
        if after:
            real(old, new)
        if failures:
            raise failures.pop()
        if not after:
            real(old, new)

    monkeypatch.setattr(parts, "_rename", lambda *_: False)
    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(error):
        write_folder(resolve(path, "OME-Zarr", overwrite=True), "new", b"new")
    assert os.listdir(tmp_path) == ["a.zarr"]
    assert os.listdir(path) == ["zarr.json"]


@pytest.mark.parametrize("exchange", [True, False])
def test_raw_data_added_to_an_old_folder_at_the_last_moment_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(parts, "_rename", lambda *_: False)
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "zarr.json").write_bytes(GROUP)
    copy_mode = parts.Part._copy_mode

    def add(part: parts.Part) -> None:
        copy_mode(part)
        if (part.place / "new").exists():
            (path / "raw.nd2").write_bytes(ND2)

    monkeypatch.setattr(parts.Part, "_copy_mode", add)
    with pytest.raises(FileExistsError, match=r"raw\.nd2"):
        write_folder(resolve(path, "OME-Zarr", overwrite=True), "new", b"new")
    assert (path / "raw.nd2").read_bytes() == ND2
    assert os.listdir(tmp_path) == ["a.zarr"]


@pytest.mark.parametrize("renames", [True, False])
def test_a_file_that_appears_at_the_last_moment_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: bool
) -> None:
    """Between the last look and the renaming, for which some file systems need a hard link."""
    if not renames:
        monkeypatch.setattr(parts, "_rename", lambda *_: False)
    path = tmp_path / "a.json"
    check = Destination.check

    def appear(dest: Destination) -> None:
        check(dest)
        if Path(f"{path}.part").exists():
            path.write_bytes(ND2)

    monkeypatch.setattr(Destination, "check", appear)
    with pytest.raises(FileExistsError):
        resolve(path, "JSON").write(b"new")
    assert path.read_bytes() == ND2
    assert os.listdir(tmp_path) == ["a.json"]


def test_folders_of_others_next_to_a_folder_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_rename", lambda *_: False)
    path, theirs = tmp_path / "a.zarr", tmp_path / "a.zarr.part.old"
    path.mkdir()
    (path / "zarr.json").write_bytes(GROUP)
    theirs.mkdir()
    (theirs / "notes.txt").write_bytes(b"theirs")
    write_folder(resolve(path, "OME-Zarr", overwrite=True), "new", b"new")
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "a.zarr.part.old"]
    assert (theirs / "notes.txt").read_bytes() == b"theirs"


def test_a_part_that_another_program_makes_after_the_renaming_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On systems that cannot exchange folders: while the old folder is removed, the name of the part is free."""
    monkeypatch.setattr(parts, "_rename", lambda *_: False)
    path, theirs = tmp_path / "a.zarr", tmp_path / "a.zarr.part"
    path.mkdir()
    (path / "zarr.json").write_bytes(GROUP)
    remove = parts._remove

    def remove_slowly(place: Path) -> None:
        remove(place)
        if place != theirs:
            theirs.mkdir()
            (theirs / "half").write_bytes(b"theirs")

    monkeypatch.setattr(parts, "_remove", remove_slowly)
    write_folder(resolve(path, "OME-Zarr", overwrite=True), "new", b"new")
    assert os.listdir(path) == ["new"]
    assert (theirs / "half").read_bytes() == b"theirs"


def test_an_old_folder_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "zarr.json").write_bytes(GROUP)

    def unlink(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        write_folder(resolve(path, "OME-Zarr", overwrite=True), "new", b"new")
    assert os.listdir(path) == ["new"]


KILL = """
import os, sys
from pathlib import Path
from nd2._core.io.destination import resolve
dest = resolve(sys.argv[1], sys.argv[2], overwrite=True)
with dest.folder() if sys.argv[2] == "OME-Zarr" else dest.file() as place:
    if sys.argv[2] == "OME-Zarr":
        place = Path(place, "part")
    place.write_text("half")
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
@pytest.mark.parametrize("form", ["JSON", "OME-Zarr"])
def test_a_killed_process_leaves_the_old_one(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a"
    resolve(path, form)
    if form == "JSON":
        path.write_text("old")
    else:
        path.mkdir()
        (path / "zarr.json").write_bytes(GROUP)
    killed(KILL, path, form)
    assert sorted(os.listdir(tmp_path)) == ["a", "a.part"]
    old = path if form == "JSON" else path / "zarr.json"
    assert old.read_bytes() == (b"old" if form == "JSON" else GROUP)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"thesis.tex": b"1"}, "not OME-Zarr"),
        ({"zarr.json": b"{}"}, "not OME-Zarr"),
        ({"zarr.json": b'{"zarr_format": 3, "node_type": "array"}'}, "not OME-Zarr"),
        ({".zmetadata": b'{"metadata": {}, "record_size": 3}'}, "not OME-Zarr"),
        ({"zarr.json": GROUP, "raw/a.nd2": b""}, r"contains the ND2 file 'raw.a\.nd2'"),
        ({"zarr.json": GROUP, "raw/A.ND2": b""}, "contains the ND2 file"),
        ({"zarr.json": GROUP, "backup": ND2}, "contains the ND2 file"),
        ({"zarr.json": GROUP, "backup": b"\0\0\0\x0cjP  "}, "contains the ND2 file"),
        ({"a.nd2": ND2}, "is not replaced"),
    ],
)
@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("remote", [True, False])
def test_folders_that_are_not_replaced(
    tmp_path: Path, memory: MemoryFileSystem, files: dict[str, bytes], message: str, overwrite: bool, remote: bool
) -> None:
    for name, data in files.items():
        (tmp_path / "a.zarr" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a.zarr" / name).write_bytes(data)
        memory.pipe_file(f"/b/a.zarr/{name}", data)
    dest = "memory://b/a.zarr" if remote else tmp_path / "a.zarr"
    with pytest.raises(FileExistsError, match=message if overwrite else "."):
        resolve(dest, "OME-Zarr", overwrite=overwrite)


@pytest.mark.parametrize("spelling", ["plain", "relative", "link", "hard link", "url", "dots"])
def test_the_file_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    source = tmp_path / "raw.bin"
    source.write_bytes(b"damaged")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    dest: str = {
        "plain": str(source),
        "relative": "raw.bin",
        "link": "link",
        "hard link": "hard",
        "url": source.as_uri(),
        "dots": str(tmp_path / "sub" / ".." / "raw.bin"),
    }[spelling]
    if spelling == "link":
        os.symlink(source, dest)
    elif spelling == "hard link":
        os.link(source, dest)
    for form in ("JSON", "ND2", "OME-Zarr"):
        with pytest.raises(FileExistsError, match="the file that is read"):
            resolve(dest, form, overwrite=True, sources=[str(source)])


def test_a_folder_with_the_file_that_is_read(tmp_path: Path, memory: MemoryFileSystem) -> None:
    folder = tmp_path / "a.zarr"
    (folder / "raw").mkdir(parents=True)
    (folder / "zarr.json").write_bytes(GROUP)
    (folder / "raw" / "0").write_bytes(b"damaged")
    with pytest.raises(FileExistsError, match="contains the file that is read"):
        resolve(folder, "OME-Zarr", overwrite=True, sources=[str(folder / "raw" / "0")])
    memory.pipe_file("/b/a.zarr/zarr.json", GROUP)
    with pytest.raises(FileExistsError, match="contains the file that is read"):
        resolve("memory://b/a.zarr/", "OME-Zarr", overwrite=True, sources=["memory://b/a.zarr/raw/0"])


def test_what_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="name a file in it, or write into it with --out-dir"):
        resolve(tmp_path, "JSON", overwrite=True)
    if sys.platform != "win32":
        with pytest.raises(FileExistsError, match="not a regular file"):
            resolve("/dev/null", "CSV", overwrite=True)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FileExistsError, match="not a regular file"):
            resolve(tmp_path / "pipe", "CSV", overwrite=True)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("x.png", "TIFF"),
        ("x.jpg", "PNG"),
        ("w.TIF", "ND2"),
        ("x.nd2", "JSON"),
        ("x.nd2", "sidecar index"),
        ("x.zarr.zip", "OME-Zarr"),
        ("x.parquet", "JSON"),
        ("s3://bucket/x.json", "OME-Zarr"),
        ("x.zarr/", "TIFF"),
    ],
)
def test_suffixes_of_other_formats(name: str, form: str) -> None:
    with pytest.raises(ValueError, match=f"not a name for {form}"):
        resolve(name, form)


def test_other_names_are_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert resolve(tmp_path / "x", "TIFF").path.endswith("x")
    assert resolve(tmp_path / "x.2026", "OME-Zarr").path.endswith("x.2026")
    assert resolve("~/x.tif", "TIFF").path == os.path.realpath(tmp_path / "x.tif")
    with pytest.raises(ValueError, match="local paths only"):
        resolve("memory://x.tif", "TIFF", local=True)


def test_a_remote_folder_replaces_one_when_it_is_complete(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/b/a.zarr/zarr.json", GROUP)
    memory.pipe_file("/b/a.zarr/old", b"")
    dest = resolve("memory://b/a.zarr", "OME-Zarr", overwrite=True)
    with dest.folder() as url:
        memory.pipe_file(url.removeprefix("memory:/") + "/zarr.json", GROUP)
        memory.pipe_file(url.removeprefix("memory:/") + "/0", b"new")
        assert memory.exists("/b/a.zarr/old")
    assert memory.find("/") == ["/b/a.zarr/0", "/b/a.zarr/zarr.json"]


def test_an_error_leaves_the_old_remote_folder(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/b/a.zarr/zarr.json", GROUP)
    dest = resolve("memory://b/a.zarr", "OME-Zarr", overwrite=True)

    def write() -> None:
        with dest.folder() as url:
            memory.pipe_file(url.removeprefix("memory:/") + "/0", b"half")
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert memory.find("/") == ["/b/a.zarr/zarr.json"]


def test_a_remote_copy_that_fails_leaves_the_new_folder_where_it_is(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe_file("/b/a.zarr/zarr.json", GROUP)

    def copy(*_: object, **__: object) -> None:
        raise OSError("the connection was lost")

    monkeypatch.setattr(MemoryFileSystem, "copy", copy)
    dest = resolve("memory://b/a.zarr", "OME-Zarr", overwrite=True)
    with pytest.raises(OSError, match="lost") as caught, dest.folder():
        memory.pipe_file("/b/a.zarr.part/zarr.json", GROUP)
    assert "'memory://b/a.zarr.part'" in caught.value.__notes__[0]
    assert memory.exists("/b/a.zarr.part/zarr.json")
    monkeypatch.undo()
    with resolve("memory://b/a.zarr", "OME-Zarr", overwrite=True).folder():
        pass  # what such an error left is replaced, too


def test_remote_folders_of_others_with_the_name_of_a_part_stay(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/b/a.zarr/zarr.json", GROUP)
    memory.pipe_file("/b/a.zarr.part/raw.nd2", ND2)
    with resolve("memory://b/a.zarr", "OME-Zarr", overwrite=True).folder() as url:
        memory.pipe_file(url.removeprefix("memory:/") + "/zarr.json", GROUP + b" ")
    assert sorted(memory.find("/")) == ["/b/a.zarr.part/raw.nd2", "/b/a.zarr/zarr.json"]
    assert memory.cat_file("/b/a.zarr/zarr.json") == GROUP + b" "


def test_raw_data_added_to_a_new_remote_folder_stays(memory: MemoryFileSystem) -> None:
    def write() -> None:
        with resolve("memory://b/a.zarr", "OME-Zarr").folder():
            memory.pipe_file("/b/a.zarr/raw.nd2", ND2)
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert "/b/a.zarr/raw.nd2" in memory.find("/")


def test_an_array_without_a_file_is_not_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a.zarr"
    folder.mkdir()
    (folder / "zarr.json").write_bytes(GROUP)
    monkeypatch.chdir(folder)
    assert resolve(folder, "OME-Zarr", overwrite=True, sources=[""]).sources == ()


def test_raw_data_added_to_an_old_remote_folder_stays(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look at the old folder and its replacement."""
    memory.pipe_file("/b/a.zarr/zarr.json", GROUP)
    check = Destination.check

    def appear(dest: Destination) -> None:
        check(dest)
        if memory.exists("/b/a.zarr.part/zarr.json"):
            memory.pipe_file("/b/a.zarr/raw.nd2", ND2)

    monkeypatch.setattr(Destination, "check", appear)
    dest = resolve("memory://b/a.zarr", "OME-Zarr", overwrite=True)
    with pytest.raises(FileExistsError, match=r"raw\.nd2"), dest.folder() as url:
        memory.pipe_file(url.removeprefix("memory:/") + "/zarr.json", GROUP + b" ")
    assert memory.cat_file("/b/a.zarr/raw.nd2") == ND2
    assert memory.cat_file("/b/a.zarr/zarr.json") == GROUP
    assert memory.cat_file("/b/a.zarr.part/zarr.json") == GROUP + b" "


def test_what_others_add_to_the_new_remote_folder_is_moved_and_not_removed(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe_file("/b/a.zarr/zarr.json", GROUP)
    remove = MemoryFileSystem.rm

    def appear(fs: MemoryFileSystem, path: list[str], **options: object) -> None:
        if any(".part/" in one for one in path):
            memory.pipe_file("/b/a.zarr.part/raw.nd2", ND2)
        remove(fs, path, **options)

    monkeypatch.setattr(MemoryFileSystem, "rm", appear)
    with resolve("memory://b/a.zarr", "OME-Zarr", overwrite=True).folder() as url:
        memory.pipe_file(url.removeprefix("memory:/") + "/zarr.json", GROUP + b" ")
    assert memory.find("/") == ["/b/a.zarr.part/raw.nd2", "/b/a.zarr/zarr.json"]


def test_an_object_of_others_does_not_mark_a_folder_as_ours(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/b/data/.part", b"")
    memory.pipe_file("/b/data/scan.tif", b"II*\0")
    with pytest.raises(FileExistsError, match="not OME-Zarr"):
        resolve("memory://b/data", "OME-Zarr", overwrite=True)
    assert memory.find("/") == ["/b/data/.part", "/b/data/scan.tif"]


def test_errors_of_stores_hold_no_secret(memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "memory://b/a.json?X-Amz-Signature=secret"

    def put_file(*_: object, **__: object) -> None:
        raise RuntimeError(f"403 for https://me:secret@host/{url}")

    monkeypatch.setattr(MemoryFileSystem, "put_file", put_file)
    with pytest.raises(OSError, match="could not be written: RuntimeError") as caught:
        resolve("memory://b/a.json", "JSON").write(b"")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_errors_of_stores_name_the_destination(memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    def put_file(*_: object, **__: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(MemoryFileSystem, "put_file", put_file)
    with pytest.raises(OSError, match=r"Broken pipe: 'memory://b/a\.json'") as caught:
        resolve("memory://b/a.json", "JSON").write(b"")
    assert not isinstance(caught.value, BrokenPipeError)
