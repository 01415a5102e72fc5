"""Files of folders, patterns and buckets."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from nd2._core.io.listing import expand, has_pattern, list_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("b.nd2", "a.nd2", "sub/c.nd2", "a.txt", "[x].nd2"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def names(paths: list[str]) -> list[str]:
    return [Path(path).name for path in paths]


def test_patterns(folder: Path) -> None:
    assert names(expand(folder / "*.nd2")) == ["[x].nd2", "a.nd2", "b.nd2"]
    assert names(expand(folder / "**" / "[ac].nd2")) == ["a.nd2", "c.nd2"]
    assert expand("plain.nd2") == ["plain.nd2"]
    with pytest.raises(FileNotFoundError, match="matches no file"):
        expand(folder / "*.tif")


def test_a_name_with_brackets_is_not_a_pattern_if_it_exists(folder: Path) -> None:
    assert expand(folder / "[x].nd2") == [str(folder / "[x].nd2")]
    assert not has_pattern("https://server/a.nd2?version=2")
    assert has_pattern("s3://bucket/a?.nd2")


def test_local_files_have_length_and_time(folder: Path) -> None:
    found = list(list_files(folder, recurse=True))
    assert names([file.path for file in found]) == ["[x].nd2", "a.nd2", "b.nd2", "c.nd2"]
    stat = (folder / "sub" / "c.nd2").stat()
    assert (found[-1].size, found[-1].version) == (stat.st_size, str(stat.st_mtime_ns))
    [missing] = list_files(folder / "none.nd2")
    assert (missing.size, missing.version) == (-1, "")


def test_remote_files(folder: Path) -> None:
    fs = fsspec.filesystem("memory")
    for name in ("b.nd2", "a.nd2", "sub/c.nd2", "a.txt"):
        fs.pipe_file(f"/listing/{name}", name.encode())
    found = list(list_files("memory://listing"))
    assert [file.path for file in found] == ["memory:///listing/a.nd2", "memory:///listing/b.nd2"]
    assert [file.size for file in found] == [5, 5]
    assert all(file.version for file in found)
    assert len(list(list_files("memory://listing", recurse=True))) == 3
    assert [f.path for f in list_files("memory://listing/*/*.nd2")] == ["memory:///listing/sub/c.nd2"]
    with pytest.raises(FileNotFoundError, match="matches no file"):
        list(list_files("memory://listing/*.tif"))
    [file] = list_files("memory://listing/a.txt")
    assert (file.path, file.size) == ("memory:///listing/a.txt", 5)
    with pytest.raises(FileNotFoundError, match="neither a file nor a folder"):
        list(list_files("memory://listing/none"))
