"""Several files by one command."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from nd2._core.batch import Task, plan_tasks, run_batch

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.nd2", "a.nd2"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_one_file_and_its_destination() -> None:
    assert plan_tasks(["a.nd2"], ".zarr") == [Task("a.nd2", "a.zarr")]
    assert plan_tasks(["x/a.nd2", "b.zarr"], ".zarr") == [Task("x/a.nd2", "b.zarr")]
    assert plan_tasks(["a.nd2"], ".zarr", dest="c") == [Task("a.nd2", "c")]
    assert plan_tasks(["a.nd2", "b.nd2"], ".nd2") == [Task("a.nd2", "b.nd2")]
    # a misspelled suffix: the destination then says that it is not one of Zarr
    assert plan_tasks(["a.nd2", "b.nd2"], ".zarr") == [Task("a.nd2", "b.nd2")]


def test_two_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert plan_tasks(["a.nd2", "b.nd2"], ".zarr") == [Task("a.nd2", "a.zarr"), Task("b.nd2", "b.zarr")]


def test_patterns_and_folders_of_outputs(folder: Path) -> None:
    found = plan_tasks([str(folder / "*.nd2")], ".zarr", out_dir="s3://bucket/x/")
    assert found == [
        Task(str(folder / "a.nd2"), "s3://bucket/x/a.zarr"),
        Task(str(folder / "b.nd2"), "s3://bucket/x/b.zarr"),
    ]
    [task] = plan_tasks(["s3://bucket/c.nd2"], ".tif", out_dir=str(folder))
    assert task.dest == str(folder / "c.tif")


def test_what_cannot_be_planned(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"would both be written to 'a\.zarr'"):
        plan_tasks(["s3://x/a.nd2", "s3://y/a.nd2"], ".zarr")
    with pytest.raises(ValueError, match=r"'c\.zarr' does not exist; the outputs .* --out-dir"):
        plan_tasks(["a.nd2", "b.nd2", "c.zarr"], ".zarr")
    with pytest.raises(ValueError, match="the output must be a path"):
        plan_tasks(["a.nd2", "-"], ".tif")
    with pytest.raises(ValueError, match="2 files cannot be written to one destination"):
        plan_tasks([str(folder / "*.nd2"), "out.zarr"], ".zarr")
    with pytest.raises(ValueError, match="not both"):
        plan_tasks(["a.nd2"], ".zarr", dest="a", out_dir="b")
    with pytest.raises(ValueError, match="say where"):
        plan_tasks(["a.nd2"], ".nd2")
    with pytest.raises(FileNotFoundError, match="matches no file"):
        plan_tasks([str(folder / "*.tif")], ".zarr")


def test_others_go_on_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    done = []

    def work(task: Task) -> None:
        if task.source != "b.nd2":
            raise ValueError("it is\nbroken" if task.source == "a.nd2" else "c.nd2 is broken")
        done.append(task.dest)

    tasks = [Task(f"{name}.nd2", f"{name}.zarr") for name in "abc"]
    assert run_batch("zarr", tasks, work) == 2
    assert done == ["b.zarr"]
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["nd2 zarr: a.nd2: it is broken", "nd2 zarr: c.nd2 is broken"]


def test_several_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    barrier = threading.Barrier(3, timeout=10)

    def work(task: Task) -> None:
        barrier.wait()
        if task.source == "1.nd2":
            raise ValueError("it is broken")

    tasks = [Task(f"{number}.nd2", "") for number in range(6)]
    assert run_batch("zarr", tasks, work, at_once=3, progress=True) == 1
    err = capsys.readouterr().err
    assert "nd2 zarr: 1.nd2: it is broken" in err
    assert "6/6" in err

    def stop(task: Task) -> None:
        raise ImportError

    with pytest.raises(ImportError):
        run_batch("zarr", tasks, stop, at_once=2)
    capsys.readouterr()


def test_the_status_has_a_limit(capsys: pytest.CaptureFixture[str]) -> None:
    def work(task: Task) -> None:
        raise ValueError

    assert run_batch("zarr", [Task("a.nd2", "a")] * 300, work) == 100
    capsys.readouterr()


@pytest.mark.parametrize("error", [ImportError, BrokenPipeError, KeyboardInterrupt])
def test_what_stops_a_batch(error: type[BaseException]) -> None:
    def work(task: Task) -> None:
        raise error

    with pytest.raises(error):
        run_batch("zarr", [Task("a.nd2", "a")], work)
