"""Catalogs of many files: in buckets, brought up to date, on a cluster, as tables."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nd2._core import catalog
from nd2._core.catalog import COLUMNS, Record, encode, format_table, read_table
from nd2._core.cli import main
from nd2.index import index_files
from tests.builder import Nd2Spec, build
from tests.servers import range_server, s3_bucket

SPEC = Nd2Spec(loops=[("T", 2)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    for name in ("a", "b", "c", "sub/d"):
        build(folder / f"{name}.nd2", SPEC)
    (folder / "bad.nd2").write_bytes(b"no ND2 file at all")
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read."""
    names: list[str] = []
    original = catalog.index_file

    def index_file(path: Any, **options: Any) -> Any:
        names.append(Path(path).name)
        return original(path, **options)

    monkeypatch.setattr(catalog, "index_file", index_file)
    return names


def test_patterns(folder: Path) -> None:
    rows = index_files([folder / "[ab].nd2", folder / "*" / "*.nd2"])
    assert [row["name"] for row in rows] == ["a.nd2", "b.nd2", "d.nd2"]
    [row] = index_files([folder / "*.tif"])
    assert "matches no file" in row["error"]


def test_only_new_and_changed_files_are_read(folder: Path, read: list[str]) -> None:
    first = index_files([folder], recurse=True)
    stat = (folder / "a.nd2").stat()
    assert (first[0]["file_size"], first[0]["file_version"]) == (stat.st_size, str(stat.st_mtime_ns))
    read.clear()
    again = index_files([folder], recurse=True, update=first)
    assert read == []
    assert again == first
    os.utime(folder / "a.nd2", ns=(1, 1))
    build(folder / "b.nd2", loops=[("T", 3)])
    (folder / "c.nd2").unlink()
    build(folder / "new.nd2", SPEC)
    read.clear()
    rows = index_files([folder], recurse=True, update=pd.DataFrame(first))
    assert sorted(read) == ["a.nd2", "b.nd2", "new.nd2"]
    assert [row["name"] for row in rows] == ["a.nd2", "b.nd2", "bad.nd2", "new.nd2", "d.nd2"]
    assert rows[1]["shape"] == [3, 6, 8]
    assert rows == index_files([folder], recurse=True)


@pytest.mark.parametrize("name", ["table.parquet", "table.csv", "table.json"])
def test_a_table_that_the_command_keeps_up_to_date(
    name: str, folder: Path, read: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / name
    command = ["index", str(folder), "-r", "--update", str(table)]
    assert main(command) == 1  # one file is bad
    assert capsys.readouterr().out == f"{table}: 5 files, 5 new, 0 changed, 0 removed\n"
    assert len(read) == 5
    found = read_table(table)
    assert list(found.columns) == COLUMNS
    assert found.to_dict("records") == [dict(row) for row in index_files([folder], recurse=True)]
    build(folder / "c.nd2", loops=[("T", 3)])
    (folder / "bad.nd2").unlink()
    build(folder / "new.nd2", SPEC)
    read.clear()
    assert main(command) == 0
    assert sorted(read) == ["c.nd2", "new.nd2"]
    assert capsys.readouterr().out == f"{table}: 5 files, 1 new, 1 changed, 1 removed\n"
    assert main([*command, "-F", "axes == 'TYX'"]) == 2
    assert "keeps its header and all rows" in capsys.readouterr().err
    assert main([*command, "--no-header"]) == 2
    assert "keeps its header" in capsys.readouterr().err
    selection = tmp_path / "selection.csv"
    assert main([*command, "-F", "shape[0] == 3", "-o", str(selection)]) == 0
    assert list(pd.read_csv(selection)["name"]) == ["c.nd2"]
    assert len(read_table(table)) == 5


def test_a_table_that_pandas_read(folder: Path, read: list[str], tmp_path: Path) -> None:
    """Empty texts are NaN there, and shapes are texts."""
    rows = index_files([folder])
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    read.clear()
    again = index_files([folder], update=pd.read_csv(tmp_path / "table.csv"))
    assert read == []
    assert again == rows


def test_files_that_could_not_be_reached_are_read_again(folder: Path, read: list[str]) -> None:
    rows = index_files([folder])
    away = [{**row, "error": "SourceError: timeout"} if row["name"] == "b.nd2" else row for row in rows]
    read.clear()
    assert index_files([folder], update=pd.DataFrame(away)) == rows
    assert read == ["b.nd2"]


def test_a_server_that_is_away_empties_no_table(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.parquet"
    assert main(["index", str(folder), "--update", str(table)]) == 1
    before = table.read_bytes()
    folder.rename(tmp_path / "away")
    assert main(["index", str(folder), "--update", str(table)]) == 1
    assert main(["index", str(folder / "*.nd2"), "--update", str(table)]) == 1
    assert main(["index", "memory://no-such-folder", "--update", str(table)]) == 1
    assert table.read_bytes() == before
    err = capsys.readouterr().err
    assert "No such file" in err
    assert "matches no file" in err
    assert "no-such-folder" in err


def test_an_update_of_something_else_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.csv"
    other.write_text("name,count\na,1\n")
    assert main(["index", str(folder), "--update", str(other)]) == 2
    assert "not a catalog" in capsys.readouterr().err
    assert other.read_text() == "name,count\na,1\n"
    notes = tmp_path / "notes.txt"
    notes.write_text("one line, which is also a header\n")
    assert main(["index", str(folder), "--update", str(notes)]) == 2
    assert "not a catalog" in capsys.readouterr().err
    assert notes.read_text() == "one line, which is also a header\n"


@pytest.mark.parametrize(
    "data", [b"", b"no table", b"PAR1", b"\x8c" * 200, b"PAR1\xff\xff\0\0PAR1", b"PAR1" + b"\x8c" * 50 + b"\x32\0\0\0"]
)
def test_a_file_that_is_not_parquet_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """fastparquet reads beyond the end of such files, which may crash the process."""
    table = tmp_path / "a.parquet"
    table.write_bytes(data)
    monkeypatch.setattr(pd, "read_parquet", lambda _: pytest.fail("parsed"))
    with pytest.raises(ValueError, match=r"a\.parquet' is not a table in Parquet: .* may be cut off"):
        index_files([], update=table)


def test_tables_are_not_replaced_unasked(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "a.parquet"
    command = ["index", str(folder / "a.nd2"), "-o", str(table)]
    assert main(command) == 0
    assert main(command) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert main(["index", str(folder / "a.nd2"), "-f", "parquet"]) == 2


def test_only_errors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(folder), "--errors", "-i", "name", "--no-header"]) == 1
    assert capsys.readouterr().out == "bad.nd2\n"


def test_an_empty_table(tmp_path: Path) -> None:
    empty = pd.DataFrame(columns=COLUMNS)
    for name, form in (("a.parquet", "parquet"), ("a.csv", "csv"), ("a.json", "json")):
        (tmp_path / name).write_bytes(encode(empty, form))
        assert len(read_table(tmp_path / name)) == 0


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_a_table_fits_the_terminal(
    width: int, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(folder / f"{'long' * 20}.nd2", SPEC)
    monkeypatch.setattr("nd2._core.cli.index.terminal_width", lambda: width)
    main(["index", str(folder)])
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 6
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("name")
    assert "error" in lines[0] or width < 80
    assert "no room for" in err
    assert "…" in out
    main(["index", str(folder), "-i", "path,name,error"])
    out, err = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= width
    assert out.split()[:3] == ["path", "name", "error"]
    assert not err


def test_a_table_without_a_limit_has_all_columns() -> None:
    table = pd.DataFrame({"name": ["x" * 300], "shape": [[2, 3]], "binary": [True]})
    text, left_out = format_table(table, 0)
    assert text.splitlines()[1] == f"{'x' * 300}  2 x 3  yes"
    assert not left_out


def test_requests_to_a_bucket(tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    with s3_bucket(dict.fromkeys("abcd", SPEC), tmp_path) as options:
        import s3fs

        calls: list[str] = []
        original = s3fs.S3FileSystem._call_s3

        async def count(self: Any, method: str, *arguments: Any, **keywords: Any) -> Any:
            calls.append(method)
            return await original(self, method, *arguments, **keywords)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(s3fs.S3FileSystem, "_call_s3", count)
            rows = index_files(["s3://images"], storage_options=options)
            assert [row["name"] for row in rows] == ["a.nd2", "b.nd2", "c.nd2", "d.nd2"]
            assert [row["error"] for row in rows] == [""] * 4
            assert all(row["file_version"].startswith('"') for row in rows)
            assert calls.count("get_object") == 8  # the two ends of each file
            assert len(calls) <= 8 + 2
            calls.clear()
            fs = s3fs.S3FileSystem(**options)
            build(tmp_path / "b.nd2", loops=[("T", 3)])
            fs.put_file(str(tmp_path / "b.nd2"), "images/b.nd2")
            fs.rm_file("images/c.nd2")
            calls.clear()
            again = index_files(["s3://images"], storage_options=options, update=rows)
            assert calls.count("get_object") == 2
            assert len(calls) <= 2 + 2
        assert [row["name"] for row in again] == ["a.nd2", "b.nd2", "d.nd2"]
        assert again[1]["shape"] == [3, 6, 8]
        patterns = index_files(["s3://images/[ad].nd2"], storage_options=options)
        assert patterns == [rows[0], rows[3]]
        table = "s3://images/tables/catalog.parquet"
        args = ["--storage-option", f"client_kwargs.endpoint_url={options['client_kwargs']['endpoint_url']}"]
        args += ["--storage-option", "key=test-key", "--storage-option", "secret=test-secret"]
        command = ["index", "s3://images", "--update", table, *args]
        assert main(command) == 0
        assert main(command) == 0
        assert len(read_table(table, options)) == 3


def test_single_urls_are_asked_for_their_version(tmp_path: Path, read: list[str]) -> None:
    for name in "ab":
        build(tmp_path / f"{name}.nd2", SPEC)
    with range_server(tmp_path) as server:
        urls = [server.url(f"{name}.nd2") for name in "ab"]
        rows = index_files(urls)
        assert [row["error"] for row in rows] == ["", ""]
        os.utime(tmp_path / "b.nd2", ns=(1, 1))
        server.reset()
        read.clear()
        again = index_files(urls, update=rows)
        assert read == ["b.nd2"]
        assert sorted(seen.method for seen in server.seen) == ["GET", "GET", "HEAD", "HEAD"]
        assert again == index_files(urls)
        server.tagged = False  # without a version, nothing shows that a file is the same
        read.clear()
        assert len(index_files(urls, update=again)) == 2
        assert sorted(read) == ["a.nd2", "b.nd2"]


def test_thirty_two_requests_at_once(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", SPEC)
    with range_server(tmp_path) as server:
        server.gather = 32
        urls = [server.url(f"a.nd2?{number}") for number in range(64)]
        assert not any(row["error"] for row in index_files(urls))
        assert server.requests == 128
        assert server.most_in_flight == 32


def test_a_cluster_reads_the_files(
    folder: Path, client: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = index_files([folder], recurse=True)
    assert index_files([folder], recurse=True, client=client) == rows
    table = tmp_path / "table.parquet"
    address = client.scheduler.address
    assert main(["index", str(folder), "-r", "--dask", address, "-o", str(table)]) == 1
    assert read_table(table).to_dict("records") == [dict(row) for row in rows]
    assert index_files([folder], recurse=True, client=client, update=table) == rows


def test_an_object_that_is_not_a_client(folder: Path) -> None:
    with pytest.raises(TypeError, match=r"distributed\.Client, not str"):
        index_files([folder], client="tcp://127.0.0.1:8786")


def test_a_scheduler_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nd2._core.batch._TIMEOUT", 1)
        assert main(["index", str(folder), "--dask", "tcp://127.0.0.1:9"]) == 1
    assert "nd2 index: " in capsys.readouterr().err


def test_the_public_module_is_a_command(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nd2.index", str(folder / "a.nd2"), "-f", "csv", "-i", "name,axes"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "name,axes\na.nd2,TYX\n"


def test_catalogs_need_no_version_of_numpy_types(folder: Path, tmp_path: Path) -> None:
    """Other tools write shapes as arrays, and integers of other types."""
    rows = index_files([folder / "a.nd2"])
    table = pd.DataFrame(rows)
    table["shape"] = table["shape"].map(np.array)
    table["file_size"] = table["file_size"].astype("uint32")
    assert index_files([folder / "a.nd2"], update=table) == rows


def test_several_files_of_a_slow_disk_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "0.nd2")
    for number in range(1, 80):
        shutil.copy(tmp_path / "0.nd2", tmp_path / f"{number}.nd2")
    threads: set[int] = set()
    read = catalog.index_file
    several = threading.Event()

    def wait(path: str, **options: Any) -> Record:
        threads.add(threading.get_ident())
        if len(threads) > 2:  # the main thread, and two that wait for each other
            several.set()
        if threading.current_thread() is not threading.main_thread():
            assert several.wait(20)
        return read(path, **options)

    monkeypatch.setattr(catalog, "index_file", wait)
    monkeypatch.setattr(time, "process_time", lambda: 0.0)  # reading is waiting
    rows = index_files([tmp_path])
    assert [row["name"] for row in rows] == sorted(f"{number}.nd2" for number in range(80))
    assert len(threads) > 2
