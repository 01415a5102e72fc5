"""The calls of this package in the tables of the page on migrating run as printed."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest

from nd2._core.cli import main

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "migrating.md").read_text(encoding="utf-8")
SETUP = next(block for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S) if "path =" in block)
ROW = re.compile(r"^\| .*? \| (.*?) \| .*\|$", re.MULTILINE)
TABLES = re.findall(r"^\| theirs \| ours \|.*?\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
OURS = [code for table in TABLES for row in ROW.findall(table) for code in re.findall("`(.+?)`", row)]


def test_the_tables_are_found() -> None:
    assert len(TABLES) == 2
    assert len(OURS) > 30


# A damaged file is among those that are read.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_ours_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(DOCS / "example_files.py"))["write_example_files"](tmp_path)
    names: dict[str, object] = {}
    exec(SETUP, names)
    for code in OURS:
        if code.startswith("nd2 "):
            assert main(shlex.split(code)[1:]) == 0, code
        else:
            eval(code, names)
    assert {path.name for path in tmp_path.glob("*.tif")} == {
        f"{name}.ome.tif" for name in ("out", "all", "well", "experiment")
    }
