"""The command ``nd2`` on good files and on bad ones."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

import nd2
from nd2._core.cli import COMMANDS, main, parse_storage_options
from tests.builder import Nd2Spec, build

if TYPE_CHECKING:
    from fsspec.implementations.memory import MemoryFileSystem

PROGRAM = str(Path(sys.executable).with_name("nd2"))


def run(*arguments: object, cwd: Path | None = None, status: int = 0) -> str:
    """Run the command in this process, check its exit status; return its output, with errors for status 1."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd or "."), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            found = main([str(argument) for argument in arguments])
        except SystemExit as exit:
            found = int(exit.code or 0)
    assert found == status, err.getvalue()
    if status == 1:
        assert err.getvalue().startswith(f"nd2 {arguments[0]}: ") or arguments[0] == "index"
    return out.getvalue() if status == 0 else out.getvalue() + err.getvalue()


def run_process(*arguments: object, status: int = 0) -> str:
    """Run the command in a process of its own, check its exit status and that it shows no traceback."""
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def good(tmp_path: Path) -> tuple[Path, Nd2Spec]:
    path = tmp_path / "good.nd2"
    return path, build(path, loops=[("T", 3), ("Z", 2)], channels=2, channel_names=["DAPI", "GFP"])


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.nd2"
    path.write_bytes(b"no ND2 file at all")
    return path


def test_info(good: tuple[Path, Nd2Spec], bad: Path) -> None:
    text = run("info", good[0])
    assert "T 3 x Z 2 x C 2 x Y 6 x X 8 (uint16" in text
    assert "DAPI (#00FF00)" in text
    found = json.loads(run("info", "--json", good[0]))
    assert found["sizes"] == {"T": 3, "Z": 2, "C": 2, "Y": 6, "X": 8}
    assert found["duration_s"] == 0.5
    assert "bad.nd2" in run("info", bad, status=1)
    assert "none.nd2" in run("info", "none.nd2", status=1)


def test_index(good: tuple[Path, Nd2Spec], bad: Path) -> None:
    assert "TZCYX" in run("index", good[0])
    text = run("index", good[0].parent, "-f", "csv", "-i", "name,error", status=1)
    assert text.splitlines()[0] == "name,error"
    assert "bad.nd2,NotND2Error" in text
    run("index", bad, "-s", "nothing", status=2)


def test_events(good: tuple[Path, Nd2Spec], bad: Path, tmp_path: Path) -> None:
    lines = run("events", good[0]).splitlines()
    assert lines[0].startswith("Time [s],Index,T Index,Z Index")
    assert len(lines) == 7
    rows = json.loads(run("events", good[0], "-f", "json"))
    assert [row["Index"] for row in rows] == list(range(6))
    table = tmp_path / "events.parquet"
    run("events", good[0], "-o", table)
    assert list(pd.read_parquet(table)["Index"]) == list(range(6))
    assert "exists" in run("events", good[0], "-o", table, status=1)
    assert "give an output file" in run("events", good[0], "-f", "parquet", status=1)
    run("events", good[0], "events.json", cwd=tmp_path)
    assert len(json.loads((tmp_path / "events.json").read_text())) == 6
    run("events", bad, status=1)


def test_tiff(good: tuple[Path, Nd2Spec], bad: Path, tmp_path: Path) -> None:
    path, spec = good
    assert run("tiff", path, cwd=tmp_path) == "good.ome.tif\n"
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "good.ome.tif"), spec.array)
    before = (tmp_path / "good.ome.tif").read_bytes()
    assert "--overwrite" in run("tiff", path, cwd=tmp_path, status=1)
    assert (tmp_path / "good.ome.tif").read_bytes() == before
    run("tiff", path, "good.ome.tif", "--overwrite", cwd=tmp_path)
    run("tiff", bad, "bad.tif", cwd=tmp_path, status=1)
    assert not (tmp_path / "bad.tif").exists()


def test_zarr(good: tuple[Path, Nd2Spec], bad: Path, tmp_path: Path) -> None:
    path, spec = good
    options = ["--levels", "2", "--chunks", "1,1,1,6,8", "--shards", "1,2,2,6,8"]
    assert run("zarr", path, *options, cwd=tmp_path) == "good.ome.zarr\n"
    array = zarr.open_array(tmp_path / "good.ome.zarr" / "0", mode="r")
    assert array.shards == (1, 2, 2, 6, 8)
    np.testing.assert_array_equal(np.asarray(array[...]), spec.array.transpose(0, 2, 1, 3, 4))
    assert "--overwrite" in run("zarr", path, cwd=tmp_path, status=1)
    run("zarr", path, "--overwrite", "--backend", "zarr", cwd=tmp_path)
    run("zarr", path, "out.zarr", "--chunks", "1,1", cwd=tmp_path, status=1)
    run("zarr", path, "out.zarr", "--chunks", "a", cwd=tmp_path, status=2)
    run("zarr", bad, "out.zarr", cwd=tmp_path, status=1)
    assert not (tmp_path / "out.zarr").exists()


def test_show(good: tuple[Path, Nd2Spec], bad: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = good[0]
    assert run("show", path, cwd=tmp_path) == "good.png\n"
    with image.open(tmp_path / "good.png") as picture:
        assert picture.mode == "RGB"
        assert max(picture.size) <= 1024
    assert "exists" in run("show", path, cwd=tmp_path, status=1)
    run("show", path, "-n", "0", "--split", "-o", "one.png", "--size", "17", cwd=tmp_path)
    with image.open(tmp_path / "one.png") as picture:
        assert max(picture.size) <= 18
    run("show", path, "-n", "99", "-o", "none.png", cwd=tmp_path, status=1)
    run("show", bad, "-o", "none.png", cwd=tmp_path, status=1)
    assert not (tmp_path / "none.png").exists()


def test_the_picture_has_the_colors_of_the_file(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "a.nd2"
    spec = build(path, samples=3, dtype="u1", height=30, width=40)
    run("show", path, "--plain", "-o", tmp_path / "a.png")
    with image.open(tmp_path / "a.png") as picture:
        shown = np.asarray(picture)
    zoom = shown.shape[0] // 30
    np.testing.assert_array_equal(shown[::zoom, ::zoom], spec.array[..., ::-1])


def test_refs(good: tuple[Path, Nd2Spec], bad: Path, tmp_path: Path) -> None:
    run("refs", good[0], "good.json", cwd=tmp_path)
    assert json.loads((tmp_path / "good.json").read_text())["refs"]
    assert "--overwrite" in run("refs", good[0], "good.json", cwd=tmp_path, status=1)
    run("refs", bad, "bad.json", cwd=tmp_path, status=1)
    assert not (tmp_path / "bad.json").exists()


def test_rescue(good: tuple[Path, Nd2Spec], bad: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.nd2"
    cut.write_bytes(good[0].read_bytes()[:-40])  # without the place of the chunk map
    run("info", cut, status=1)
    assert "6 frames are whole" in run("rescue", cut, "whole.nd2", cwd=tmp_path)
    np.testing.assert_array_equal(nd2.imread(tmp_path / "whole.nd2"), good[1].array)
    run("rescue", bad, "none.nd2", cwd=tmp_path, status=1)
    assert not (tmp_path / "none.nd2").exists()


def test_crop(good: tuple[Path, Nd2Spec], bad: Path, tmp_path: Path) -> None:
    run("crop", good[0], "part.nd2", "-T", "1:", "-Z", "0", cwd=tmp_path)
    np.testing.assert_array_equal(nd2.imread(tmp_path / "part.nd2"), good[1].array[1:, 0])
    assert "--overwrite" in run("crop", good[0], "part.nd2", "-T", "0", cwd=tmp_path, status=1)
    run("crop", good[0], "none.nd2", "-T", "x", cwd=tmp_path, status=2)
    run("crop", good[0], "none.nd2", "-T", "9", cwd=tmp_path, status=1)
    run("crop", bad, "none.nd2", cwd=tmp_path, status=1)
    assert not (tmp_path / "none.nd2").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for another process")
def test_serve(good: tuple[Path, Nd2Spec], bad: Path) -> None:
    run("serve", bad, status=1)
    assert "not a number from 0 to 65535" in run("serve", good[0], "--port", "99999", status=2)
    command = [PROGRAM, "serve", str(good[0])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        with urllib.request.urlopen(f"{url}/zarr.json", timeout=30) as answer:
            assert json.load(answer)["zarr_format"] == 3
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in errors


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for another process")
def test_view(good: tuple[Path, Nd2Spec], bad: Path) -> None:
    run("view", bad, status=1)
    command = [PROGRAM, "view", "--no-browser", "-v", str(good[0])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        assert url.endswith("/view")
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"ssh -N -L " in errors
    assert b'"GET /view HTTP/1.1" 302, ' in errors
    assert b"Traceback" not in errors


def test_urls_with_options(good: tuple[Path, Nd2Spec]) -> None:
    url = f"file://{good[0]}"
    assert "uint16" in run("info", url, "--storage-option", "auto_mkdir=false")
    assert "key=value" in run("info", url, "--storage-option", "nothing", status=1)


def test_options_of_file_systems() -> None:
    assert parse_storage_options(["anon=true", "key=a=b", "client_kwargs.endpoint_url=http://localhost:9000"]) == {
        "anon": True,
        "key": "a=b",
        "client_kwargs": {"endpoint_url": "http://localhost:9000"},
    }


def test_info_of_channels_without_a_name(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", channels=2, channel_names=["", ""])
    assert "Channel 0 (#" in run("info", tmp_path / "a.nd2")
    found = json.loads(run("info", "--json", tmp_path / "a.nd2"))
    assert [channel["name"] for channel in found["channels"]] == ["Channel 0", "Channel 1"]


@pytest.mark.parametrize("name", [*COMMANDS, "refs", "serve", "view"])
def test_help_has_examples(name: str) -> None:
    text = run(name, "--help")
    assert "examples:" in text
    assert re.search(rf"  nd2 {name}\b", text)
    if name != "versions":
        run(name, status=2)


def test_the_program(good: tuple[Path, Nd2Spec], bad: Path) -> None:
    text = run("--help")
    assert all(name in text for name in (*COMMANDS, "refs", "serve", "view"))
    assert run_process("--version").startswith(
        f"xarray-nd2 {version('xarray-nd2')} (API of nd2 {nd2.__version__}), Python "
    )
    run(status=2)
    assert "TZCYX" in run_process("index", good[0])
    assert run_process("info", bad, status=1).startswith("nd2 info: ")
    assert "there is no command 'nothing'" in run_process("nothing", status=2)
    done = subprocess.run([sys.executable, "-m", "nd2", "--version"], capture_output=True)
    assert done.returncode == 0


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_enough(good: tuple[Path, Nd2Spec], unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [PROGRAM, "events", str(good[0])],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writing)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


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
def test_a_misspelled_name_suggests_the_right_one(arguments: list[str], message: str, status: int, named: Path) -> None:
    given = [str(named) if item == "FILE" else item for item in arguments]
    assert message in run(*given, cwd=named.parent, status=status)
    assert [item.name for item in named.parent.iterdir()] == ["a.nd2"]


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
