"""Byte sources: exact reads, clear errors, no leaked handle."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest

import nd2
from nd2._core import errors
from nd2._core.io import ByteSource, open_source
from nd2._core.open import open_reader
from tests.builder import Nd2Spec, build
from tests.handles import count_handles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DATA = bytes(range(256)) * 40


@pytest.fixture(params=["path", "handle", "bytesio", "memory", "openfile", "fsspec handle", "wrapped"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ByteSource]:
    path = tmp_path / "a file.bin"
    path.write_bytes(DATA)
    memory = fsspec.filesystem("memory")
    memory.pipe("/nd2-io/a.bin", DATA)
    handles: list[Any] = []

    def keep(handle: Any) -> Any:
        handles.append(handle)
        return handle

    make: dict[str, Callable[[], Any]] = {
        "path": lambda: path,
        "handle": lambda: keep(path.open("rb")),
        "bytesio": lambda: io.BytesIO(DATA),
        "memory": lambda: "memory://nd2-io/a.bin",
        "openfile": lambda: fsspec.open("memory://nd2-io/a.bin"),
        "fsspec handle": lambda: keep(fsspec.filesystem("file").open(str(path), "rb")),
        "wrapped": lambda: keep(io.BufferedReader(keep(Wrapped(path)))),
    }
    opened = open_source(make[request.param]())
    yield opened
    opened.close()
    for handle in reversed(handles):
        handle.close()


class Wrapped(io.RawIOBase):
    """A raw file whose bytes are not those of its file descriptor, as in a decompressing wrapper."""

    def __init__(self, path: Path) -> None:
        self._inner = io.BytesIO(path.read_bytes())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._inner.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        return self._inner.readinto(buffer)


def test_reads_are_exact(source: ByteSource) -> None:
    assert source.size == len(DATA)
    assert source.read(3, 5) == DATA[3:8]
    assert source.read(len(DATA), 0) == b""
    assert source.read_many([(0, 2), (300, 4), (5, 0)]) == [DATA[:2], DATA[300:304], b""]
    first, second = bytearray(4), bytearray(6)
    source.read_into([(10, memoryview(first)), (1000, memoryview(second))])
    assert bytes(first) == DATA[10:14]
    assert bytes(second) == DATA[1000:1006]


@pytest.mark.parametrize(("offset", "nbytes"), [(len(DATA) - 1, 2), (len(DATA) + 1, 1), (0, 1 << 60), (-1, 2)])
def test_a_range_that_the_file_lacks_is_an_error_not_fewer_bytes(source: ByteSource, offset: int, nbytes: int) -> None:
    with pytest.raises(OSError, match=f"beyond the file's end.*offset {offset}"):
        source.read(offset, nbytes)


def test_a_closed_source_raises_an_error_and_its_copy_still_reads(source: ByteSource) -> None:
    copy = source.reopen()
    source.close()
    source.close()
    assert source.closed
    with pytest.raises(ValueError, match="closed"):
        source.read(0, 1)
    assert copy.read(0, 4) == DATA[:4]
    copy.close()


def test_release_gives_the_handle_back_until_the_next_read(source: ByteSource) -> None:
    assert source.read(0, 1) == DATA[:1]
    source.release()
    assert not source.closed
    assert source.read(1, 1) == DATA[1:2]


def test_local_handles_are_released(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    source = open_source(path)
    assert count_handles(path) == 1
    source.release()
    assert count_handles(path) == 0
    source.read(0, 1)
    assert count_handles(path) == 1
    del source
    assert count_handles(path) == 0


@pytest.mark.parametrize("make", [lambda p: p, lambda p: p.as_uri(), lambda p: io.BytesIO(DATA)])
def test_sources_pickle_by_what_reopens_them(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    source = open_source(make(path))
    copy = pickle.loads(pickle.dumps(source))
    assert copy.read(7, 3) == DATA[7:10]
    source.close()
    copy.close()


def test_a_file_that_changed_since_it_was_pickled_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    with_old = open_source(path)
    pickled = pickle.dumps(with_old)
    with_old.close()
    path.write_bytes(DATA + b"more")
    with pytest.raises(OSError, match=r"changed since.*a\.bin"):
        pickle.loads(pickled).read(0, 1)


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    source = open_source(path)
    os.truncate(path, 100)
    with pytest.raises(OSError, match="too early"):
        source.read(50, 200)
    source.close()


def test_what_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_source(tmp_path / "missing.nd2")
    with pytest.raises(IsADirectoryError):
        open_source(tmp_path)
    with pytest.raises(TypeError, match="binary"), (tmp_path / "t").open("w+") as text:
        open_source(text)
    with pytest.raises(TypeError, match="int"):
        open_source(3)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        open_source(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["ä µ 漢.nd2", "a b.nd2", "per%20cent.nd2", "a:b.nd2", "it's.nd2"])
def test_names_with_any_character(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(DATA)
    for spelling in (path, str(path), os.fsencode(path)):
        source = open_source(spelling)
        assert source.read(0, 2) == DATA[:2]
        source.close()


class Minimal(ByteSource):
    """The least that a new kind of source has."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def identity(self) -> tuple[str, int, str]:
        return f"minimal://{self.path.name}", self.path.stat().st_size, "1"

    def read(self, offset: int, nbytes: int) -> bytes:
        if self.closed:
            raise errors.closed(self.url)
        return self.path.read_bytes()[offset : offset + nbytes]

    def reopen(self) -> Minimal:
        return Minimal(self.path)


def test_a_source_needs_four_methods(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", Nd2Spec(loops=[("T", 3)], zlib=True))
    source = Minimal(tmp_path / "a.nd2")
    with open_reader(source) as reader:
        frames = reader.frames.read(np.arange(3))
    with pytest.raises(ValueError, match="closed file"):
        reader.frames.read(np.arange(3))
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        np.testing.assert_array_equal(frames.reshape(file.shape), file.asarray())
