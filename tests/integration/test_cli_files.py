"""The command ``nd2`` over several files, in any terminal and under any locale."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

import nd2
from nd2._core.cli import COMMANDS, Command, arguments, main
from tests.builder import Nd2Spec, build

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = str(Path(sys.executable).with_name("nd2"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Nd2Spec]:
    """A working folder with two files, a broken one, and an empty folder for outputs."""
    spec = build(tmp_path / "a.nd2", loops=[("T", 3), ("Z", 2)], channels=2, channel_names=["DAPI", "GFP"])
    build(tmp_path / "b.nd2", loops=[("T", 3), ("Z", 2)], channels=2)
    (tmp_path / "broken.nd2").write_bytes(b"not an ND2 file")
    monkeypatch.chdir(tmp_path)
    return tmp_path, spec


@pytest.mark.parametrize(
    ("command", "suffix"),
    [
        (["tiff"], ".ome.tif"),
        (["zarr"], ".ome.zarr"),
        (["refs"], ".json"),
        (["refs", "--format", "parquet"], ".parq"),
        (["show"], ".png"),
        (["events"], ".csv"),
        (["events", "--format", "json"], ".json"),
        (["crop", "-T", "0"], ".nd2"),
        (["rescue"], ".nd2"),
    ],
)
def test_a_pattern_and_a_folder(
    folder: tuple[Path, Nd2Spec], command: list[str], suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in folder[0].iterdir()}
    assert main([*command, "*.nd2", "--out-dir", "out/new"]) == 1
    out, err = capsys.readouterr()
    assert sorted(path.name for path in Path("out/new").iterdir()) == [f"a{suffix}", f"b{suffix}"]
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        str(Path("out", "new", f"{name}{suffix}")) for name in "ab"
    ]
    assert err.startswith(f"nd2 {command[0]}: ")
    assert "broken.nd2" in err
    assert {p.name: p.read_bytes() for p in folder[0].iterdir() if p.is_file()} == before


def test_the_exit_status_says_how_many_files_failed(
    folder: tuple[Path, Nd2Spec], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", "broken.nd2", "a.nd2", "none.nd2"]) == 2
    out, err = capsys.readouterr()
    assert "a.nd2" in out
    assert [line.split(": ")[0] for line in err.splitlines()] == ["nd2 info"] * 2
    assert main(["tiff", "*.lif"]) == 1
    assert capsys.readouterr().err == "nd2 tiff: '*.lif' matches no file\n"


def test_outputs_in_the_folder_of_the_files_do_not_replace_them(
    folder: tuple[Path, Nd2Spec], capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("a.nd2").read_bytes()
    Path("out").mkdir()
    Path("out/a.nd2").write_bytes(before)
    for out_dir in (".", "out"):
        command = ["crop", "a.nd2", "--out-dir", out_dir, "-T", "0"]
        assert main(command) == 1
        assert main([*command, "--overwrite"]) == 1
        assert "name it with --output" in capsys.readouterr().err
        assert Path(out_dir, "a.nd2").read_bytes() == before
    assert main(["crop", "a.nd2", "--output", "a.nd2", "--overwrite"]) == 1
    assert "it is the file that is read" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["crop", "rescue"])
def test_a_pattern_that_a_shell_expands_to_two_files_replaces_none(
    folder: tuple[Path, Nd2Spec], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("b.nd2").read_bytes()
    assert main([command, "a.nd2", "b.nd2"]) == 1
    assert main([command, "a.nd2", "b.nd2", "--overwrite"]) == 1
    assert "to replace 'b.nd2', name it with --output" in capsys.readouterr().err
    assert Path("b.nd2").read_bytes() == before
    assert main([command, "a.nd2", "--output", "b.nd2", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("command", "dest"),
    [
        (["tiff"], "x.tif"),
        (["zarr"], "x.zarr"),
        (["refs"], "x.json"),
        (["show"], "x.png"),
        (["events"], "x.csv"),
        (["crop"], "x.nd2"),
        (["rescue"], "x.nd2"),
    ],
)
@pytest.mark.parametrize("between", [False, True])
def test_the_output_is_the_second_path(
    folder: tuple[Path, Nd2Spec], command: list[str], dest: str, between: bool
) -> None:
    option = ["--overwrite"]
    tail = [*option, dest] if between else [dest, *option]
    assert main([*command, "a.nd2", *tail]) == 0
    assert Path(dest).exists()
    assert main([*command, "a.nd2", "--output", f"new.{dest}"]) == 0
    assert Path(f"new.{dest}").exists()


def test_a_second_pattern_is_not_the_output(folder: tuple[Path, Nd2Spec], capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in folder[0].iterdir())
    assert main(["events", "a.nd2", "b*"]) == 1
    assert "give --out-dir for the tables of several files" in capsys.readouterr().err
    assert sorted(path.name for path in folder[0].iterdir()) == before


def test_single_fields(folder: tuple[Path, Nd2Spec], capsys: pytest.CaptureFixture[str]) -> None:
    def ask(*options: str) -> str:
        assert main(["info", *options]) == 0
        return capsys.readouterr().out

    assert ask("--shape", "a.nd2") == "3 2 2 6 8\n"
    assert ask("a.nd2", "--axes") == "TZCYX\n"
    assert ask("--dtype", "a.nd2") == "uint16\n"
    assert ask("--voxel", "a.nd2") == "0.325 0.325 2\n"
    assert ask("--channels", "a.nd2") == "DAPI\nGFP\n"
    assert ask("--positions", "a.nd2") == "\n"
    assert ask("--frames", "a.nd2", "b.nd2") == "a.nd2: 6\nb.nd2: 6\n"
    with nd2.ND2File("a.nd2") as file:
        expected = file.ome_metadata(include_unstructured=False)
    from ome_types import from_xml

    assert from_xml(ask("--ome", "a.nd2")).images[0].pixels.size_z == 2
    assert expected.images[0].pixels.size_z == 2
    both = json.loads(ask("--json", "a.nd2", "b.nd2"))
    assert [item["sizes"]["T"] for item in both] == [3, 3]


def test_a_summary_fits_the_terminal(folder: tuple[Path, Nd2Spec]) -> None:
    text = _in_terminal([PROGRAM, "info", "a.nd2"], columns=40)
    lines = text.splitlines()
    assert all(len(line) <= 40 for line in lines if "/" not in line)
    assert any(line.startswith(" " * 11) for line in lines)


@pytest.mark.parametrize("columns", [30, 40, 200])
def test_a_table_of_events_fits_the_terminal(folder: tuple[Path, Nd2Spec], columns: int) -> None:
    lines = _in_terminal([PROGRAM, "events", "a.nd2"], columns=columns).splitlines()
    names, *rows = lines[:7]
    assert names.startswith("Time [s]  Index")
    assert len(rows) == 6
    assert max(map(len, lines[:7])) <= columns
    assert any("--format csv shows all" in line for line in lines[7:]) == (columns < 200)
    assert main(["events", "a.nd2", "--format", "table", "--output", "x.csv"]) == 1


def _in_terminal(command: Sequence[str], columns: int) -> str:
    """Return the output of a command in a terminal."""
    pty = pytest.importorskip("pty")
    reading, writing = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns)}
    with subprocess.Popen(command, stdout=writing, stderr=writing, env=environment) as process:
        os.close(writing)
        data = b""
        while True:
            try:
                part = os.read(reading, 1 << 16)
            except OSError:  # the end, on Linux
                break
            if not part:
                break
            data += part
    os.close(reading)
    assert process.returncode == 0
    return data.decode()


@pytest.mark.parametrize("name", ["LC_ALL", "PYTHONIOENCODING"])
def test_an_ascii_locale(folder: tuple[Path, Nd2Spec], name: str) -> None:
    build(folder[0] / "zellen_ü.nd2", channel_names=["Kanal ä"])
    value = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}[name]
    environment = {**os.environ, name: value}
    if name == "PYTHONIOENCODING":
        environment["LC_ALL"] = "C"
    done = subprocess.run([PROGRAM, "info", "zellen_ü.nd2"], capture_output=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    if name == "PYTHONIOENCODING":
        text = done.stdout.decode("ascii")
        assert "0.325 x 0.325 um (x, y)" in text
        assert "Kanal \\xe4" in text


def test_a_warning_is_one_line(
    folder: tuple[Path, Nd2Spec], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn(_: object) -> None:
        for _ in range(3):
            warnings.warn("the frames\n  are odd", stacklevel=1)

    monkeypatch.setitem(COMMANDS, "info", Command("warn", "nd2 info", arguments(), warn))
    assert main(["info"]) == 0
    assert capsys.readouterr().err == "warning: the frames are odd\n"


def test_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["versions", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["numpy"] == np.__version__
    assert found["tifffile"] == tifffile.__version__
    assert {"xarray-nd2", "Python", "system", "installed in"} <= set(found)
    assert main(["versions"]) == 0
    assert f"numpy:            {np.__version__}\n" in capsys.readouterr().out


def test_versions_name_a_package_that_replaced_modules(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{len(name)}.0")
    assert main(["versions", "--json"]) == 0
    conflict = json.loads(capsys.readouterr().out)["conflict"]
    assert conflict.startswith("nd2 3.0 is installed over xarray-nd2; repair it by: pip uninstall")


@pytest.mark.skipif(sys.platform == "win32", reason="bash has other paths there")
def test_completion(folder: tuple[Path, Nd2Spec], capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("zsh", "fish", "tcsh", "powershell"):
        assert main(["completion", shell]) == 0
        assert "versions" in capsys.readouterr().out
    assert main(["completion", "bash"]) == 0
    Path("nd2.bash").write_text(capsys.readouterr().out)
    script = "source nd2.bash; COMP_WORDS=(nd2 {}); COMP_CWORD={}; _shtab_nd2; echo ${{COMPREPLY[@]}}"

    def complete(words: str, place: int) -> list[str]:
        command = ["bash", "-c", script.format(words, place)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return sorted(done.stdout.split())

    assert complete("in", 1) == ["index", "info"]
    assert complete("refs --zarr-f", 2) == ["--zarr-format"]
    assert complete("info b", 2) == ["b.nd2", "broken.nd2"]


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        (["--help"], ["numpy", "xarray", "shtab"]),
        (["completion", "--help"], ["numpy", "importlib.metadata"]),
        (["info", "a.nd2"], ["pandas", "xarray", "dask", "zarr", "fsspec", "asyncio", "logging"]),
    ],
)
def test_a_command_imports_only_what_it_needs(
    folder: tuple[Path, Nd2Spec], command: list[str], absent: list[str]
) -> None:
    code = (
        "import contextlib, sys\n"
        "from nd2._core.cli import main\n"
        "with contextlib.suppress(SystemExit):\n"
        f"    main({command})\n"
        f"print([name for name in {absent} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == "[]\n"
