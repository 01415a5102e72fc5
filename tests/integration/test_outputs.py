"""Every writer and every dangerous destination: raw data is never replaced, nothing is replaced without a word."""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from dask.delayed import delayed

import nd2
from nd2._core.cli import main
from tests.builder import build
from tests.references import OLD_PARQUET
from xarray_nd2 import write_kerchunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Write = Callable[[Path, str, bool], None]

pytestmark = pytest.mark.filterwarnings(OLD_PARQUET)


_NAMED = ("show", "events", "crop", "rescue")
"""Commands that are tested with ``--output``; the others take the second path."""


def command(*arguments: str, last: tuple[str, ...] = ()) -> Write:
    """Return a writer that runs the command; an error of its becomes one of Python."""

    def write(source: Path, dest: str, overwrite: bool) -> None:
        where = ("--output", dest) if arguments[0] in _NAMED else (dest,)
        flag = ("--overwrite",) if overwrite else ()
        if main([arguments[0], str(source), *where, *arguments[1:], *last, *flag]):
            raise FileExistsError(dest)

    return write


def tiff(source: Path, dest: str, overwrite: bool) -> None:
    with nd2.ND2File(source) as file:
        file.write_tiff(dest)


def ome_zarr(backend: Any) -> Write:
    def write(source: Path, dest: str, overwrite: bool) -> None:
        with nd2.ND2File(source) as file:
            file.write_ome_zarr(dest, overwrite=overwrite, backend=backend)

    return write


def crop(source: Path, dest: str, overwrite: bool) -> None:
    with nd2.ND2File(source) as file:
        file.write_nd2(dest, T=slice(1), overwrite=overwrite)


def copy_writer(source: Path, dest: str, overwrite: bool) -> None:
    with nd2.ND2File(source) as file, file.writer(dest, overwrite=overwrite) as writer:
        writer.write_frame(0, file.read_frame(0))


def new_file(in_place: bool) -> Write:
    def write(source: Path, dest: str, overwrite: bool) -> None:
        sizes = {"Y": 4, "X": 4}
        with nd2.ND2Writer(dest, sizes, "u2", overwrite=overwrite, in_place=in_place) as writer:
            writer.write_frame(0, np.ones((4, 4), "u2"))

    return write


def lazy(open_array: Callable[[Path], Any]) -> Write:
    def write(source: Path, dest: str, overwrite: bool) -> None:
        array = open_array(source)
        axes = None if hasattr(array, "dims") or hasattr(array, "data_vars") else "TYX"
        nd2.imwrite(dest, array, axes=axes, overwrite=overwrite)

    return write


def rescue(source: Path, dest: str, overwrite: bool) -> None:
    nd2.rescue_file(source, dest, overwrite=overwrite)


def index(source: Path, dest: str, overwrite: bool) -> None:
    nd2.save_index(source, dest, overwrite=overwrite)


def references(form: Any) -> Write:
    def write(source: Path, dest: str, overwrite: bool) -> None:
        write_kerchunk(source, dest, format=form, overwrite=overwrite)

    return write


EXPORTS: dict[str, tuple[Write, str]] = {
    "write_tiff": (tiff, ".tif"),
    "nd2_to_tiff": (lambda source, dest, _: nd2.nd2_to_tiff(source, dest), ".ome.tif"),
    "save_index": (index, ".index"),
    "write_kerchunk": (references("json"), ".json"),
    "nd2 tiff": (command("tiff", "-q"), ".tif"),
    "nd2 show": (command("show"), ".png"),
    "nd2 events": (command("events"), ".csv"),
    "nd2 events, JSON": (command("events"), ".json"),
    "nd2 events, Parquet": (command("events"), ".parquet"),
    "nd2 refs": (command("refs"), ".json"),
}
FOLDERS: dict[str, tuple[Write, str]] = {
    "write_ome_zarr, zarr": (ome_zarr("zarr"), ".zarr"),
    "write_ome_zarr, tensorstore": (ome_zarr("tensorstore"), ".zarr"),
    "nd2 zarr": (command("zarr", "-q"), ".zarr"),
    "write_kerchunk, Parquet": (references("parquet"), ".parq"),
    "nd2 refs, Parquet": (command("refs"), ".parq"),
}
COPIES: dict[str, tuple[Write, str]] = {
    "write_nd2": (crop, ".nd2"),
    "writer": (copy_writer, ".nd2"),
    "rescue_file": (rescue, ".nd2"),
    "imwrite, dask": (lazy(lambda path: nd2.imread(path, dask=True)), ".nd2"),
    "imwrite, dask of dask": (lazy(lambda path: nd2.imread(path, dask=True)[::-1] + 1), ".nd2"),
    "imwrite, xarray": (lazy(lambda path: nd2.imread(path, xarray=True, dask=True)), ".nd2"),
    "imwrite, engine": (lazy(lambda path: xr.open_dataset(path, engine="nd2")), ".nd2"),
    "imwrite, engine, chunks": (lazy(lambda path: xr.open_dataset(path, engine="nd2", chunks={}).image * 1), ".nd2"),
    "imwrite, delayed": (
        lazy(
            lambda path: da.from_delayed(delayed(nd2.imread)(path), (3, 8, 8), np.uint16)  # type: ignore[no-untyped-call]
        ),
        ".nd2",
    ),
    "imwrite, enclosed": (
        lazy(
            lambda path: da.zeros((3, 8, 8), dtype="u2", chunks=(1, 8, 8)).map_blocks(
                lambda block: block + nd2.imread(path)[:1]
            )
        ),
        ".nd2",
    ),
    "imwrite, memory map": (lazy(lambda path: np.memmap(path, "u2", shape=(3, 8, 8), offset=4096)[1:]), ".nd2"),
    "nd2 crop": (command("crop", "-T", "0"), ".nd2"),
    "nd2 rescue": (command("rescue"), ".nd2"),
}
NEW: dict[str, tuple[Write, str]] = {
    "ND2Writer": (new_file(False), ".nd2"),
    "ND2Writer, in place": (new_file(True), ".nd2"),
    "imwrite": (lazy(lambda _: np.zeros((3, 8, 8), "u2")), ".nd2"),
}
WRITERS = {**EXPORTS, **FOLDERS, **COPIES, **NEW}
SPELLINGS = ("plain", "relative", "dots", "link", "hard link", "url", "no suffix", "home")


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file in a folder of raw data, which is the working folder and the user's home."""
    folder = tmp_path / "data"
    folder.mkdir()
    build(folder / "raw.nd2", loops=[("T", 3)], height=8, width=8)
    build(folder / "other.nd2", loops=[("T", 1)], height=4, width=4, seed=1)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    return folder / "raw.nd2"


def state(folder: Path) -> dict[str, str]:
    """Return what each file in a folder holds."""
    return {
        str(path.relative_to(folder)): hashlib.sha1(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def spell(path: Path, spelling: str, suffix: str) -> str:
    """Write the path of a file in another way; links have the suffix of the output."""
    if spelling in ("link", "hard link"):
        link = path.with_name(f"link{suffix}")
        (os.symlink if spelling == "link" else os.link)(path, link)
        return str(link)
    if spelling == "no suffix":
        os.rename(path, path.with_name("raw"))
        return str(path.with_name("raw"))
    return {
        "plain": str(path),
        "relative": path.name,
        "dots": f"{path.parent}/../{path.parent.name}/{path.name}",
        "url": path.as_uri(),
        "home": f"~/{path.name}",
    }[spelling]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", [*EXPORTS, *FOLDERS, *COPIES])
def test_no_writer_replaces_its_source(raw: Path, name: str, spelling: str, overwrite: bool) -> None:
    write, suffix = WRITERS[name]
    dest = spell(raw, spelling, suffix)
    source = raw if raw.exists() else raw.with_name("raw")
    before = state(raw.parent)
    # Where a name belongs to another format, that is the reason.
    with pytest.raises((FileExistsError, ValueError), match=r"is read|ND2|not a name for|raw|link|local"):
        write(source, dest, overwrite)
    assert state(raw.parent) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ["raw", "legacy", "cut"])
@pytest.mark.parametrize("name", [*EXPORTS, *FOLDERS])
def test_no_export_replaces_an_nd2_file(raw: Path, name: str, content: str, overwrite: bool) -> None:
    write, suffix = WRITERS[name]
    dest = raw.with_name(f"other{suffix}")
    if content == "raw":
        os.rename(raw.with_name("other.nd2"), dest)
    else:
        dest.write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n" if content == "legacy" else raw.read_bytes()[:9])
    before = state(raw.parent)
    with pytest.raises(FileExistsError):
        write(raw, str(dest), overwrite)
    assert state(raw.parent) == before


@pytest.mark.parametrize("name", [name for name in WRITERS if "tiff" not in name])
def test_what_exists_is_refused(raw: Path, name: str) -> None:
    write, suffix = WRITERS[name]
    dest = raw.with_name(f"out{suffix}")
    write(raw, str(dest), False)
    before = state(raw.parent)
    with pytest.raises(FileExistsError):
        write(raw, str(dest), False)
    assert state(raw.parent) == before
    if name == "ND2Writer, in place":  # the old file would be lost before the new one is complete
        with pytest.raises(FileExistsError, match="at once"):
            write(raw, str(dest), True)
        assert state(raw.parent) == before
        return
    write(raw, str(dest), True)
    assert state(raw.parent).keys() >= before.keys()
    assert not list(raw.parent.glob("*.part*"))


@pytest.mark.parametrize("name", ["nd2 tiff"])
def test_the_command_refuses_what_the_function_replaces(raw: Path, name: str) -> None:
    write, suffix = WRITERS[name]
    dest = raw.with_name(f"out{suffix}")
    dest.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write(raw, str(dest), False)
    assert dest.read_bytes() == b"old"
    tiff(raw, str(dest), False)
    assert dest.read_bytes() != b"old"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "content", ["raw data", "documents", "home", "store with raw data", "array", "link to raw data"]
)
@pytest.mark.parametrize("name", FOLDERS)
def test_no_folder_with_anything_else_is_replaced(
    raw: Path, tmp_path: Path, name: str, content: str, overwrite: bool
) -> None:
    write, suffix = FOLDERS[name]
    dest = tmp_path / f"out{suffix}"
    if content == "raw data":
        dest = raw.parent
    elif content == "home":
        dest = Path("~")
    elif content == "documents":
        (dest / "thesis").mkdir(parents=True)
        (dest / "thesis" / "thesis.docx").write_bytes(b"chapter 1")
    elif content == "array":
        zarr.create_array(dest, shape=(3,), dtype="u1")
    elif content == "link to raw data":
        dest.symlink_to(raw.parent)
    else:
        write(raw, str(dest), False)
        (dest / "raw").mkdir()
        (dest / "raw" / "A.ND2").write_bytes(b"")
    before = state(tmp_path)
    with pytest.raises(FileExistsError):
        write(raw, str(dest), overwrite)
    assert state(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", [*EXPORTS, *COPIES, *NEW])
def test_no_file_replaces_a_folder(raw: Path, name: str, overwrite: bool) -> None:
    write, suffix = WRITERS[name]
    (raw.parent / f"out{suffix}").mkdir()
    with pytest.raises((IsADirectoryError, FileExistsError)):
        write(raw, f"out{suffix}", overwrite)


WRONG = {".tif": ".png", ".ome.tif": ".jpg", ".png": ".bmp", ".nd2": ".tif", ".zarr": ".zip"}


@pytest.mark.parametrize("name", WRITERS)
def test_suffixes_of_other_formats_are_refused(raw: Path, name: str) -> None:
    write, suffix = WRITERS[name]
    before = state(raw.parent)
    for wrong in (WRONG.get(suffix, ".gif"), ".nd2" if suffix != ".nd2" else ".json"):
        with pytest.raises((ValueError, FileExistsError)):
            write(raw, f"new{wrong}", True)
    assert state(raw.parent) == before


@pytest.mark.parametrize("name", WRITERS)
def test_home_is_expanded(raw: Path, name: str) -> None:
    write, suffix = WRITERS[name]
    write(raw, f"~/new{suffix}", False)
    assert (raw.parent / f"new{suffix}").exists()
    assert not Path("~").exists()


def test_home_is_expanded_where_files_are_read(raw: Path) -> None:
    expected = nd2.imread(raw)
    np.testing.assert_array_equal(nd2.imread("~/raw.nd2"), expected)
    assert nd2.is_supported_file("~/raw.nd2")
    np.testing.assert_array_equal(xr.open_dataset("~/raw.nd2", engine="nd2").image, expected)
    with nd2.ND2File("~/raw.nd2") as file:
        assert file.path == str(raw)
    assert nd2.save_index("~/raw.nd2") == f"{raw}.index"
    np.testing.assert_array_equal(nd2.imread("~/raw.nd2", index=True), expected)
    assert [row["name"] for row in nd2.index.index_files(["~"])] == ["other.nd2", "raw.nd2"]
    write_kerchunk("~/raw.nd2", "~/refs.json")
    from xarray_nd2 import open_references

    np.testing.assert_array_equal(open_references("~/refs.json").image, expected)


def test_what_is_in_memory_may_replace_the_file_it_came_from(raw: Path) -> None:
    pixels = nd2.imread(raw) + 1
    nd2.imwrite(raw, pixels, axes="TYX", overwrite=True)
    np.testing.assert_array_equal(nd2.imread(raw), pixels)


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """Let each write fail that would make a file longer than `room` bytes."""
    resource = pytest.importorskip("resource", reason="there is no limit of the size of files")
    limit, maximum = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, maximum))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, maximum))


@pytest.mark.parametrize(
    ("name", "old"),
    [
        *((name, True) for name in WRITERS if name != "ND2Writer, in place"),
        ("write_tiff", False),
        ("write_ome_zarr, zarr", False),
        ("write_ome_zarr, tensorstore", False),
        ("ND2Writer", False),
    ],
)
def test_a_full_disk(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, old: bool) -> None:
    """Python ignores SIGXFSZ, so a write beyond the limit raises EFBIG, where a full disk raises ENOSPC."""
    write, suffix = WRITERS[name]
    source, dest = tmp_path / "big.nd2", tmp_path / "out" / f"out{suffix}"
    build(source, loops=[("T", 30)], height=64, width=64)
    dest.parent.mkdir()
    if old:
        write(raw, str(dest), True)
    before = state(dest.parent)
    with full_disk(80), pytest.raises(OSError, match=r".") as raised:
        write(source, str(dest), True)
    out, err = capsys.readouterr()
    message = f"{raised.value}{out}{err}"
    assert os.strerror(errno.EFBIG) in message
    if not name.startswith("nd2 "):
        assert raised.value.errno == errno.EFBIG
    assert "Traceback" not in message
    assert ".part" not in message
    assert state(dest.parent) == before
