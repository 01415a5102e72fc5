"""Messages of common mistakes: each says what is wrong and what to do, in one plain sentence.

``one_line`` is how the command prints them; the folder of the test is replaced by ``~~``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import nd2
import xarray_nd2
from nd2._core.cli import main
from nd2._core.errors import one_line
from tests.builder import build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STACK = np.zeros((3, 4, 4), np.uint16)
RESCUE = "rescue=True or the command 'nd2 rescue' finds what is left of a damaged file"
SEVERAL = "xarray.open_mfdataset(files, engine='nd2') opens several files as one dataset"


def opened(action: Callable[[nd2.ND2File], object], name: str = "a.nd2") -> Callable[[], object]:
    """Return a function that does something with an open file."""

    def run() -> object:
        with nd2.ND2File(name) as file:
            return action(file)

    return run


def engine(**options: Any) -> xr.Dataset:
    return xr.open_dataset("plate.nd2", engine="nd2", **options)


# Numbers are those of a review in which users rated messages; letters are similar mistakes.
MESSAGES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "7 only position": (
        opened(lambda f: f.asarray(1)),
        IndexError,
        "position 1 is out of range: the file has 1 position (file '~~/a.nd2')",
    ),
    "7a position of several": (
        opened(lambda f: f.asarray(9), "plate.nd2"),
        IndexError,
        "position 9 is out of range: the file has 3 positions (file '~~/plate.nd2')",
    ),
    "11 frame": (
        opened(lambda f: f.read_frame(99)),
        IndexError,
        "frame index 99 is out of range: the file has 6 frames (file '~~/a.nd2')",
    ),
    "12 frame is text": (
        opened(lambda f: f.read_frame("T0")),  # type: ignore[arg-type]
        TypeError,
        "frame index must be an integer, not 'T0'",
    ),
    "13 loop indices": (
        opened(lambda f: f.frame_metadata((1, 2, 3))),
        IndexError,
        "loop indices (1, 2, 3): one index is needed for each of 2 loops: T, Z",
    ),
    "13a one loop index": (
        opened(lambda f: f.frame_metadata((1, 9))),
        IndexError,
        "loop indices (1, 9): 9 is out of range for loop 'Z' of size 2",
    ),
    "14 folder": (lambda: nd2.ND2File("folder"), IsADirectoryError, "'~~/folder' is a folder, not an ND2 file"),
    "7b position is a list": (
        opened(lambda f: f.asarray([0])),  # type: ignore[arg-type]
        TypeError,
        "position must be an integer or a name, not [0]",
    ),
    "12a frame of metadata": (
        opened(lambda f: f.frame_metadata("x")),  # type: ignore[arg-type]
        TypeError,
        "frame index must be an integer or a tuple, not 'x'",
    ),
    "16 TIFF": (lambda: nd2.ND2File("tiff.nd2"), OSError, "not an ND2 file: it is a TIFF file (file '~~/tiff.nd2')"),
    "16a unknown": (
        lambda: nd2.ND2File("text.nd2"),
        OSError,
        "not an ND2 file: it starts with b'some' (file '~~/text.nd2')",
    ),
    "17 empty": (
        lambda: nd2.ND2File("empty.nd2"),
        OSError,
        "not an ND2 file: it is empty (0 bytes) (file '~~/empty.nd2')",
    ),
    "18 cut short": (
        opened(lambda f: f.sizes, "cut.nd2"),
        ValueError,
        "the file does not end with a chunk map signature; it was cut short, or its acquisition did "
        f"not finish; {RESCUE} (file '~~/cut.nd2', chunk 'ND2 FILEMAP SIGNATURE NAME 0001!', "
        "offset 80880)",
    ),
    "19 home": (lambda: nd2.ND2File("~/x.nd2"), FileNotFoundError, "'~~/x.nd2': No such file or directory"),
    "22 list": (
        lambda: xr.open_dataset(["a.nd2", "plate.nd2"], engine="nd2"),  # type: ignore[arg-type]
        TypeError,
        f"expected one file, got a list of 2; {SEVERAL}",
    ),
    "23 pattern": (
        lambda: nd2.imread("*.nd2"),
        FileNotFoundError,
        f"'*.nd2' does not exist; patterns are not expanded: {SEVERAL}",
    ),
    "27 option of the engine": (
        lambda: engine(postion=1),
        TypeError,
        "there is no option 'postion'; did you mean 'position'?",
    ),
    "32 no axes": (
        lambda: nd2.imwrite("w.nd2", STACK),
        ValueError,
        "an array of 3 dimensions needs axes, such as axes='TYX'; its shape is (3, 4, 4)",
    ),
    "32a no image": (
        lambda: nd2.imwrite("w.nd2", np.uint16(3)),
        ValueError,
        "an image has at least the dimensions Y and X; the array has the shape ()",
    ),
    "32b sizes": (
        lambda: nd2.ND2Writer("w.nd2", (3, 4, 4), "uint16"),  # type: ignore[arg-type]
        TypeError,
        "sizes must map axes to sizes, as {'T': 3, 'Y': 512, 'X': 512}, not (3, 4, 4)",
    ),
    "32c axes": (lambda: nd2.ND2Writer("w.nd2", {"T": 3}, "uint16"), ValueError, "the axes 'T' lack Y and X"),
    "34 axis twice": (
        lambda: nd2.imwrite("w.nd2", STACK, axes="YYX"),
        ValueError,
        "axis 'Y' occurs twice in axes 'YYX'",
    ),
    "34a too few axes": (
        lambda: nd2.imwrite("w.nd2", STACK, axes="YX"),
        ValueError,
        "axes 'YX' name 2 dimensions, but the array has 3: its shape is (3, 4, 4)",
    ),
    "35 one channel of two": (
        lambda: nd2.imwrite("w.nd2", STACK[:2], axes="CYX", channels=["a"]),
        ValueError,
        "1 channel for an axis C of 2",
    ),
    "36 voxel size": (
        lambda: nd2.imwrite("w.nd2", STACK, axes="TYX", voxel_size=0.3),  # type: ignore[arg-type]
        ValueError,
        "voxel_size must be (x, y) or (x, y, z) in micrometers, not 0.3",
    ),
    "37 swapped arguments": (
        lambda: nd2.imwrite(STACK, "w.nd2"),  # type: ignore[arg-type]
        TypeError,
        "the first argument must be the path of the file to write, not ndarray; the second is the array",
    ),
    "39 no folder": (
        lambda: nd2.imwrite("none/w.nd2", STACK, axes="TYX"),
        FileNotFoundError,
        "'none/w.nd2' cannot be written: the folder 'none' does not exist",
    ),
    "39a no folder for TIFF": (
        opened(lambda f: f.write_tiff("none/w.tif")),
        FileNotFoundError,
        "'none/w.tif' cannot be written: the folder 'none' does not exist",
    ),
    "40 a URL": (
        lambda: nd2.imwrite("s3://bucket/w.nd2", STACK, axes="TYX"),
        ValueError,
        "ND2 is written to local paths only, not to 's3://bucket/w.nd2'",
    ),
    "43 store exists": (
        opened(lambda f: f.write_ome_zarr("old.zarr")),
        FileExistsError,
        "'old.zarr' already exists; pass overwrite=True (--overwrite) to replace it",
    ),
    "45 no such axis": (
        opened(lambda f: f.write_nd2("w.nd2", Q=0)),
        IndexError,
        "there is no axis 'Q'; there are 'T', 'Z', 'C', 'Y', 'X' (file '~~/a.nd2')",
    ),
    "45a no such channel": (
        opened(lambda f: f.write_nd2("w.nd2", C="GFb")),
        ValueError,
        "there is no channel 'GFb'; did you mean 'GFP'? (file '~~/a.nd2')",
    ),
    "45b text as an index": (
        opened(lambda f: f.write_nd2("w.nd2", T="x")),
        TypeError,
        "the selection of loop 'T' must be integers or a slice, not 'x'",
    ),
    "47 position of a plot": (
        lambda: engine().nd2.plot(P="B3"),
        ValueError,
        "there is no position 'B3'; there are 'A1', 'B2', 'C3'",
    ),
    "47a index of a plot": (
        lambda: engine().nd2.plot(P=7),
        IndexError,
        "index 7 is out of range for axis 'P' of size 3",
    ),
    "47b number of a plot": (
        lambda: engine().nd2.plot(P=1.5),
        TypeError,
        "the index on axis 'P' must be an integer, not 1.5",
    ),
    "48 another dataset": (
        lambda: xr.Dataset({"a": ("x", [1])}).nd2.plot(),
        ValueError,
        "the dataset has no variable 'image': open an ND2 file with engine='nd2', or use the accessor "
        "of a variable, as in ds.image.nd2",
    ),
    "51 no references": (
        lambda: xarray_nd2.open_references("a.nd2"),
        ValueError,
        "'a.nd2' is an ND2 file; xarray_nd2.write_kerchunk writes references to it",
    ),
    "51a a pattern of references": (
        lambda: xarray_nd2.combine_references("*.json"),
        TypeError,
        "expected several references, got one path, '*.json'; for a pattern, use sorted(glob.glob(pattern))",
    ),
    "51b a number as references": (
        lambda: xarray_nd2.open_references(3),  # type: ignore[arg-type]
        TypeError,
        "references are a path, a URL or a mapping, not int",
    ),
    "59 endpoint": (
        lambda: nd2.ND2File(
            "s3://bucket/a.nd2",
            storage_options={
                "key": "a",
                "secret": "b",
                "client_kwargs": {"endpoint_url": "http://127.0.0.1:9"},
                "config_kwargs": {"retries": {"max_attempts": 0}},
            },
        ),
        OSError,
        "cannot connect to the server '127.0.0.1:9' (file 's3://bucket/a.nd2')",
    ),
    "61 connection refused": (
        lambda: nd2.ND2File("http://127.0.0.1:9/a.nd2"),
        OSError,
        "cannot connect to the server '127.0.0.1:9' (file 'http://127.0.0.1:9/a.nd2')",
    ),
    "62 protocol": (
        lambda: nd2.ND2File("foo://bucket/a.nd2"),
        ValueError,
        "fsspec does not know the protocol 'foo' (URL 'foo://bucket/a.nd2')",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files that mistakes are made with."""
    folder = tmp_path_factory.mktemp("messages")
    names = ["DAPI", "GFP"]
    build(folder / "a.nd2", loops=[("T", 3), ("Z", 2)], channels=2, channel_names=names)
    with nd2.ND2Writer(
        folder / "plate.nd2", {"P": 3, "Y": 4, "X": 4}, "uint16", positions=["A1", "B2", "C3"]
    ) as writer:
        for index in range(3):
            writer.write_frame(index, STACK[0])
    data = (folder / "a.nd2").read_bytes()
    (folder / "cut.nd2").write_bytes(data[:-1000])
    (folder / "tiff.nd2").write_bytes(b"II*\0" + bytes(100))
    (folder / "text.nd2").write_bytes(b"something else")
    (folder / "empty.nd2").write_bytes(b"")
    (folder / "folder").mkdir()
    with nd2.ND2File(folder / "a.nd2") as file:
        file.write_ome_zarr(folder / "old.zarr")
    return folder


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    action, kind, expected = MESSAGES[name]
    with pytest.raises(kind) as caught:
        action()
    assert one_line(caught.value).replace(str(folder), "~~") == expected
    assert not (folder / "w.nd2").exists()


COMMANDS = {
    "3.9 no folder": (
        "tiff a.nd2 none/a.tif",
        "a.nd2: 'none/a.tif' cannot be written: the folder 'none' does not exist",
    ),
    "65 levels": ("zarr a.nd2 --levels x", "argument --levels: 'x' is not a number from 1 or 'auto'"),
    "65a chunks": ("zarr a.nd2 --chunks a", "argument --chunks: 'a' is not a list of numbers separated by commas"),
    "65b size": ("show a.nd2 --size 0", "argument --size: '0' is not a number from 1"),
    "65c indices": (
        "crop a.nd2 w.nd2 -T x",
        "argument -T: 'x' is not an index, a range (first:stop:step) or a list of indices",
    ),
    "66 port": ("serve a.nd2 --port 99999", "argument --port: '99999' is not a number from 0 to 65535"),
    "pipe": ("tiff a.nd2 -", "the output must be a path: '-' is not supported"),
    "folder": ("tiff a.nd2 folder", "a.nd2: 'folder' is a folder; name a file in it, or write into it with --out-dir"),
    "two sources": (
        "tiff a.nd2 plate.nd2 x.tif",
        "'x.tif' does not exist; the outputs of several files need --out-dir",
    ),
    "no output": ("crop a.nd2 -T 0", "say where to write: a second path for one file, --out-dir for several"),
    "nothing left": ("crop a.nd2 w.nd2 -T 5:", "a.nd2: the selection of loop 'T' of size 3 is empty"),
    "no match": ("info *.lif", "'*.lif' matches no file"),
    "missing": ("info none.nd2", "'~~/none.nd2': No such file or directory"),
    "mapping": ("info a.nd2 --storage-option x", "--storage-option 'x' is not of the form key=value"),
    "option": ("info a.nd2 --jsn", "there is no option '--jsn'; did you mean '--json'?"),
    "argument": ("versions a.nd2", "unexpected argument: a.nd2"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_messages_of_the_command(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    command, expected = COMMANDS[name]
    # a wrong option exits with the usage, and "error: " before the message
    with contextlib.suppress(SystemExit):
        assert main(command.split()) == 1
    last = capsys.readouterr().err.replace(str(folder), "~~").splitlines()[-1]
    program, _, message = last.partition(": ")
    assert program == f"nd2 {command.split()[0]}"
    assert message.removeprefix("error: ") == expected


def test_67_a_port_in_use(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "a.nd2", "--port", str(port)]) == 1
    expected = f"nd2 serve: '127.0.0.1:{port}' cannot be listened on: address already in use\n"
    assert capsys.readouterr().err == expected


def test_49_a_missing_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ImportError) as caught:
        opened(lambda f: f.write_tiff("w.tif"))()
    assert str(caught.value) == (
        "tifffile is needed to write TIFF files: pip install tifffile, or pip install 'xarray-nd2[tiff]'"
    )


def test_52_references_of_a_file_that_moved(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "a.nd2", "here.nd2")
    xarray_nd2.write_kerchunk("here.nd2", "here.json")
    os.rename("here.nd2", "there.nd2")
    moved = "cannot be reached: .*here.nd2': No such file or directory; if it moved, pass url="
    with pytest.warns(xarray_nd2.StaleReferencesWarning, match=moved):
        dataset = xarray_nd2.open_references("here.json")
    with pytest.raises(OSError, match="if it moved, open them with url=") as caught:
        dataset.image.values  # noqa: B018
    assert "here.nd2" in str(caught.value)
    with xarray_nd2.open_references("here.json", url=str(tmp_path / "there.nd2")) as dataset:
        np.testing.assert_array_equal(dataset.image.isel(T=0, Z=0, C=0), nd2.imread("there.nd2")[0, 0, 0])


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.EROFS, "the folder 'folder' is read-only"),
        (errno.EACCES, "no permission to write to the folder 'folder'"),
    ],
)
def test_56_a_folder_that_cannot_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int, reason: str
) -> None:
    monkeypatch.chdir(folder)
    original = os.open

    def refuse(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(code, os.strerror(code), path)
        return original(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="cannot be written") as caught:
        opened(lambda f: f.write_tiff("folder/w.tif"))()
    assert one_line(caught.value) == f"'folder/w.tif' cannot be written: {reason}"


@pytest.mark.parametrize(("count", "text"), [(1, "1 frame is whole"), (2, "2 frames are whole")])
def test_plurals_of_a_rescue(tmp_path: Path, count: int, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "a.nd2", loops=[("T", count)])
    assert main(["rescue", str(tmp_path / "a.nd2"), str(tmp_path / "b.nd2")]) == 0
    assert text in capsys.readouterr().out
