"""``nd2.index``: one row for each file, whatever is wrong with it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

import nd2
import nd2.index
from nd2._core.catalog import COLUMNS
from nd2._core.cli.index import parse_condition
from nd2.index import index_file, index_files
from tests.builder import build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build(tmp_path / "b.nd2", loops=[("T", 3), ("Z", 2)], channels=2)
    build(tmp_path / "a.nd2", samples=3, dtype="u1", height=30, width=40)
    (tmp_path / "sub").mkdir()
    build(tmp_path / "sub" / "c.nd2", loops=[("P", 2)])
    (tmp_path / "bad.nd2").write_bytes(b"no ND2 file at all")
    (tmp_path / "cut.nd2").write_bytes((tmp_path / "b.nd2").read_bytes()[:5000])
    (tmp_path / "other.txt").write_text("text")
    return tmp_path


def test_rows(folder: Path) -> None:
    rows = index_files([folder])
    assert [row["name"] for row in rows] == ["a.nd2", "b.nd2", "bad.nd2", "cut.nd2"]
    a, b, bad, cut = rows
    assert (b["axes"], b["shape"], b["dtype"]) == ("TZCYX", [3, 2, 2, 6, 8], "uint16")
    assert b["experiment"] == "TimeLoop:3;ZStackLoop:2"
    assert b["kb"] == round((folder / "b.nd2").stat().st_size / 1000, 2)
    assert b["version"] == "3.0"
    assert b["path"] == str(folder / "b.nd2")
    assert not b["error"]
    assert a["axes"] == "YXS"
    assert "ND2" in bad["error"]
    assert "chunk map" in cut["error"]
    assert cut["kb"] == 5.0


def test_folders_within_and_patterns(folder: Path) -> None:
    assert [row["name"] for row in index_files([folder], recurse=True, glob="[ac].nd2")] == ["a.nd2", "c.nd2"]
    assert [row["name"] for row in index_files([folder / "b.nd2", folder / "sub"])] == ["b.nd2", "c.nd2"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "FileNotFoundError" in index_file(tmp_path / "none.nd2")["error"]


def test_a_folder_by_its_url(folder: Path) -> None:
    fs = fsspec.filesystem("memory")
    for name in ("a.nd2", "b.nd2", "bad.nd2", "sub/c.nd2"):
        fs.pipe_file(f"/index/{name}", (folder / name).read_bytes())
    rows = index_files(["memory://index"])
    assert [(row["name"], row["axes"]) for row in rows] == [("a.nd2", "YXS"), ("b.nd2", "TZCYX"), ("bad.nd2", "")]
    assert len(index_files(["memory://index"], recurse=True)) == 4
    assert index_files(["memory://index/b.nd2"])[0]["path"] == "memory://index/b.nd2"


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    capsys.readouterr()
    status = nd2.index.main([str(argument) for argument in arguments])
    return status, capsys.readouterr().out


def test_json_and_csv(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = printed(capsys, folder, "-f", "json")
    rows = json.loads(text)
    assert status == 1  # two files are bad
    assert [row["name"] for row in rows] == ["a.nd2", "b.nd2", "bad.nd2", "cut.nd2"]
    assert list(rows[0]) == COLUMNS
    status, text = printed(capsys, folder / "b.nd2", "-f", "csv")
    assert status == 0
    [row] = csv.DictReader(io.StringIO(text))
    assert row["shape"] == "[3, 2, 2, 6, 8]"
    assert "error" not in row


def test_columns_order_and_header(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [folder / "a.nd2", folder / "b.nd2"]
    _, text = printed(capsys, *files, "-i", "name, axes", "-s", "name-", "--no-header", "-f", "csv")
    assert text == "b.nd2,TZCYX\na.nd2,YXS\n"
    _, text = printed(capsys, *files, "-e", "path,kb", "-s", "name")
    lines = text.splitlines()
    assert lines[0].split()[:2] == ["name", "version"]
    assert [line.split()[0] for line in lines[1:]] == ["a.nd2", "b.nd2"]
    assert "3 x 2 x 2 x 6 x 8" in lines[2]


def test_filters(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def names(*conditions: str) -> list[str]:
        options = [part for condition in conditions for part in ("-F", condition)]
        _, text = printed(capsys, folder, "-r", "-i", "name", "--no-header", *options)
        return text.split()

    assert names("axes == 'YXS'") == ["a.nd2"]
    assert names("'T' in axes and not error", "shape[0] >= 3") == ["b.nd2"]
    assert names("error") == ["bad.nd2", "cut.nd2"]
    assert names("1 < len(shape) <= 3 and not error") == ["a.nd2", "c.nd2"]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "path.upper() == 'A'",
        "().__class__",
        "(lambda: 1)()",
        "[x for x in shape]",
        "f'{path}'",
        "(kb := 3)",
        "open('a')",
        "len(path, path)",
        "2 ** 999999999 > kb",
        "kb >",
        "nothing == 1",
        "print",
        "kb if kb else kb",
        "{1: 2}",
        "1; 2",
        "",
        "not " * 900 + "kb",
        "(" * 400 + "kb" + ")" * 400,
    ],
)
def test_nothing_but_conditions_is_a_filter(text: str) -> None:
    with pytest.raises(ValueError, match="filter"):
        parse_condition(text, COLUMNS)({"kb": 1.0})


@pytest.mark.parametrize("text", ["kb > 'a'", "shape[9] == 1", "1 / (kb - kb) > 2", "path * 1000000 == ''", "-path"])
def test_a_filter_that_does_not_fit_the_values(text: str) -> None:
    row: dict[str, Any] = {"kb": 1.0, "shape": [1], "path": "a"}
    with pytest.raises(ValueError, match="does not fit"):
        parse_condition(text, COLUMNS)(row)


@pytest.mark.parametrize("arguments", [["-F", "nothing == 1"], ["-i", "nothing"], ["-e", "nothing"], ["-s", "nothing"]])
def test_wrong_options(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert nd2.index.main([str(folder), *arguments]) == 2
    assert "nothing" in capsys.readouterr().err


def test_is_a_public_module() -> None:
    assert nd2.index.index_file is index_file


@pytest.mark.parametrize(
    ("text", "message"), [("nam == 'x'", "no column 'nam'; did you mean 'name'"), ("q > 3", "no column 'q'; there are")]
)
def test_a_misspelled_column_in_a_filter_suggests_the_right_one(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_condition(text, ["name", "kb", "axes"])
