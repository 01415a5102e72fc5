"""Names that do not exist: every message suggests those that are like them, or lists those that there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import nd2
from nd2._core.errors import hint, no_such
from nd2._core.filter import Filter
from tests.builder import build
from xarray_nd2 import open_references, to_kerchunk

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = str(Path(sys.executable).with_name("nd2"))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("names") / "a.nd2"
    build(path, loops=[("T", 2), ("P", 3)], channels=3, channel_names=["DAPI", "GFP-L", "mCherry"])
    return path


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("dapi", ["DAPI", "GFP"], "; did you mean 'DAPI'?"),
        ("A11", ["A1", "A12", "B7"], "; did you mean 'A1' or 'A12'?"),
        ("mcherry", ["mCherry", "MCHERRY"], "; did you mean 'mCherry' or 'MCHERRY'?"),
        ("x", ["DAPI", None, "", "DAPI", "GFP"], "; there are 'DAPI', 'GFP'"),
        ("x", [None, ""], "; there are none"),
        ("x", [f"name {i}" for i in range(23)], "'name 19' and 3 more"),
    ],
)
def test_hints(name: str, known: list[str | None], expected: str) -> None:
    assert hint(name, known).endswith(expected)
    error = no_such("channel", name, known, path="a.nd2", kind=KeyError)
    assert isinstance(error, KeyError)
    assert error.args[0].startswith(f"there is no channel {name!r}; ")
    assert error.args[0].endswith("(file 'a.nd2')")


FILE: dict[str, tuple[Callable[[nd2.ND2File], Any], type[Exception], str]] = {
    "asarray": (lambda f: f.asarray("A11"), ValueError, "position 'A11'; did you mean 'A1'"),
    "to_xarray": (lambda f: f.to_xarray(position="a2"), ValueError, "'A2'"),
    "write_ome_zarr": (
        lambda f: f.write_ome_zarr("never.zarr", position="A4"),
        ValueError,
        "no position 'A4'; there are 'A1', 'A2', 'A3'",
    ),
    "write_nd2 position": (lambda f: f.write_nd2("never.nd2", "A33"), ValueError, "'A3'"),
    "write_nd2 loop": (
        lambda f: f.write_nd2("never.nd2", Z=0),
        IndexError,
        r"no loop 'Z'; there are 'T', 'P' \(file '.*a.nd2'\)",
    ),
    "thumbnail": (
        lambda f: f.thumbnail(channels=["mcherry"]),
        ValueError,
        "no channel 'mcherry'; did you mean 'mCherry'",
    ),
    "thumbnail, index": (
        lambda f: f.thumbnail(channels=[3]),
        IndexError,
        "channel 3 is out of range for 3 channels",
    ),
}


@pytest.mark.parametrize("case", FILE)
def test_methods_of_a_file(case: str, path: Path) -> None:
    call, error, message = FILE[case]
    with nd2.ND2File(path) as file, pytest.raises(error, match=message):
        call(file)


def test_metadata_chunks(path: Path) -> None:
    with nd2.ND2File(path) as file, pytest.warns(UserWarning, match="did you mean 'ImageAttri"):
        file.unstructured_metadata(include={"ImageAttributeLV"})


def test_loops_of_a_writer(tmp_path: Path) -> None:
    with (
        pytest.raises(IndexError, match="no loop 't'; did you mean 'T'"),
        nd2.ND2Writer(tmp_path / "a.nd2", {"T": 2, "Y": 2, "X": 2}, "u2") as writer,
    ):
        writer.write_frame({"t": 0}, np.zeros((2, 2), "u2"))


def test_names_of_the_module() -> None:
    code = "import nd2; nd2.imred"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "has no attribute 'imred'. Did you mean: 'imread'?" in done.stderr


ENGINE: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "option": (
        lambda path: xr.open_dataset(path, engine="nd2", positon=1),
        TypeError,
        "no option 'positon'; did you mean 'position'",
    ),
    "option of a tree": (
        lambda path: xr.open_datatree(path, engine="nd2", flatframes=True),
        TypeError,
        "did you mean 'flat_frames'",
    ),
    "position of a tree": (
        lambda path: xr.open_datatree(path, engine="nd2", position=1),
        TypeError,
        "no option 'position'; there are",
    ),
    "position": (
        lambda path: xr.open_dataset(path, engine="nd2", position="A22"),
        ValueError,
        "no position 'A22'; did you mean 'A2'",
    ),
    "sel_position": (
        lambda path: xr.open_dataset(path, engine="nd2").nd2.sel_position("a3"),
        ValueError,
        "no position 'a3'; did you mean 'A3'",
    ),
    "rgb": (
        lambda path: xr.open_dataset(path, engine="nd2").nd2.rgb("GFPL"),
        ValueError,
        "no channel 'GFPL'; did you mean 'GFP-L'",
    ),
    "plot": (
        lambda path: xr.open_dataset(path, engine="nd2").nd2.plot(["DAPI", "GFP"]),
        ValueError,
        "no channel 'GFP'; did you mean 'GFP-L'",
    ),
    "axis of rgb": (
        lambda path: xr.open_dataset(path, engine="nd2").nd2.rgb(t=1),
        ValueError,
        "no frame axis 't'; did you mean 'T'",
    ),
    "group of references": (
        lambda path: open_references(to_kerchunk(path, layout="positions"), group="P11"),
        ValueError,
        "no group 'P11'; did you mean 'P1'",
    ),
    "group of references, format 3": (
        lambda path: open_references(
            to_kerchunk(path, layout="positions", zarr_format=3), group="p2"
        ),
        ValueError,
        "no group 'p2'; did you mean 'P2'",
    ),
}


@pytest.mark.parametrize("case", ENGINE)
def test_engine_and_references(case: str, path: Path) -> None:
    pytest.importorskip("matplotlib")
    call, error, message = ENGINE[case]
    with pytest.raises(error, match=message):
        call(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("nam == 'x'", "no column 'nam'; did you mean 'name'"), ("q > 3", "no column 'q'; there are")],
)
def test_columns_of_filters(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Filter(text, ["name", "kb", "axes"])


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["idnex"], "nd2: error: there is no command 'idnex'; did you mean 'index'", 2),
        (["index", "--recursive", "."], "no option '--recursive'; did you mean '--recurse'", 2),
        (["show", "--chanel=x", "FILE"], "no option '--chanel'; did you mean '--channel'", 2),
        (["show", "--channel", "dapi", "FILE"], "no channel 'dapi'; did you mean 'DAPI'", 1),
        (["index", "-F", "kbb > 1", "FILE"], "no column 'kbb'; did you mean 'kb'", 2),
        (["index", "-i", "nam", "FILE"], "no column 'nam'; did you mean 'name'", 2),
        (["index", "-e", "shap", "FILE"], "no column 'shap'; did you mean 'shape'", 2),
        (["index", "-s", "axe-", "FILE"], "no column 'axe'; did you mean 'axes'", 2),
        (["zarr", "FILE", "n.zarr", "-p", "A11"], "no position 'A11'; did you mean 'A1'", 1),
        (["crop", "FILE", "n.nd2", "--position", "a1"], "no position 'a1'; did you mean 'A1'", 1),
    ],
)
def test_command(arguments: list[str], message: str, status: int, path: Path) -> None:
    command = [PROGRAM, *(str(path) if item == "FILE" else item for item in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=path.parent, timeout=120)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [item.name for item in path.parent.iterdir()] == ["a.nd2"]


# ----------------------------------------------------------------------------------------------- names that do exist


def test_channels_of_pictures(path: Path) -> None:
    with nd2.ND2File(path) as file:
        both = file.thumbnail(channels=["mCherry", "DAPI", 0], split=True).pixels
        one, other = (file.thumbnail(channels=[i]).pixels for i in (2, "DAPI"))
        every = file.thumbnail().pixels
    pictures = xr.open_dataset(path, engine="nd2").nd2
    np.testing.assert_array_equal(pictures.rgb("DAPI"), pictures.rgb([0]))
    np.testing.assert_array_equal(pictures.rgb(["DAPI", "GFP-L", -1]), pictures.rgb())
    assert (one != other).any()
    assert (every != one).any()
    assert both.shape != one.shape


def test_binary_layers_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    masks = {"cells": np.ones((2, 3, 4), "u1"), "nuclei": np.zeros((2, 3, 4), "u1")}
    nd2.imwrite(path, np.zeros((2, 3, 4), "u2"), axes="TYX", labels=masks)
    with nd2.ND2File(path) as file:
        layers = file.binary_data
        assert layers is not None
        assert layers["cells"] is layers[0]
        with pytest.raises(KeyError, match="no binary layer 'cell'; did you mean 'cells'"):
            layers["cell"]
