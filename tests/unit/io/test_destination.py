"""Atomic outputs: the old file or folder, or the new one, and no rests of processes that are gone."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import nd2
from nd2._core.io.destination import atomic_path
from tests.exports import killed

if TYPE_CHECKING:
    from pathlib import Path


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
