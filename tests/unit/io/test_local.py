"""Open files are a bounded resource, and a file that changes is noticed."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nd2._core.io import local
from nd2._core.io.local import LocalSource

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Five files, each filled with its own number."""
    found = [tmp_path / f"{i}.bin" for i in range(5)]
    for i, path in enumerate(found):
        path.write_bytes(bytes([i]) * 8192)
    return found


@pytest.fixture
def two_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()
    before = len(local._handles)
    monkeypatch.setattr(local, "max_handles", lambda: before + 2)


@pytest.mark.usefixtures("two_handles")
def test_the_file_that_was_not_read_recently_is_closed_first(paths: list[Path]) -> None:
    before = len(local._handles)
    first, others = LocalSource(str(paths[0])), [LocalSource(str(paths[1]))]
    for path in paths[2:]:
        first.read(0, 1)
        others.append(LocalSource(str(path)))
        assert first._handle is not None
        assert len(local._handles) == before + 2
    assert [source.read(5, 1)[0] for source in (first, *others)] == [0, 1, 2, 3, 4]
    del first, others
    assert len(local._handles) == before


@pytest.mark.usefixtures("two_handles")
def test_threads_read_their_own_files_while_handles_are_closed(paths: list[Path]) -> None:
    sources = [LocalSource(str(path)) for path in paths]
    wrong: list[int] = []

    def read(start: int) -> None:
        for k in range(400):
            number = (start + k) % len(sources)
            buffer = bytearray(64)
            sources[number].read_into([(k, memoryview(buffer))])
            if buffer != bytes([number]) * 64:
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from nd2._core.io.local import LocalSource
others = [os.open(sys.argv[1], os.O_RDONLY) for _ in range(int(sys.argv[2]))]
sources = [LocalSource(sys.argv[1]) for _ in range(80)]
assert all(source.read(i, 1) == b"x" for _ in range(3) for i, source in enumerate(sources))
print(len(os.listdir("/proc/self/fd")))
"""


@pytest.mark.parametrize("others", [0, 45])
def test_more_files_than_the_process_may_open(tmp_path: Path, others: int) -> None:
    (tmp_path / "a.bin").write_bytes(b"x" * 100)
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "a.bin"), str(others)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert int(done.stdout) <= 64


def test_the_limit_is_half_of_the_process_or_what_xarray_is_set_to() -> None:
    import xarray as xr

    own = local.max_handles()
    assert 0 < own <= 2048
    with xr.set_options(file_cache_maxsize=7):  # type: ignore[no-untyped-call]
        assert local.max_handles() == min(own, 7)
    assert local.max_handles() == own


def test_a_file_that_is_written_to_is_noticed(paths: list[Path]) -> None:
    source = LocalSource(str(paths[0]))
    buffer = memoryview(bytearray(4))
    source.read_into([(0, buffer)])
    with paths[0].open("r+b") as handle:
        handle.write(b"other")
    os.utime(paths[0], ns=(0, os.stat(paths[0]).st_mtime_ns + 1_000_000))
    with pytest.raises(OSError, match=r"changed since it was opened; open it again.*0\.bin"):
        source.read_into([(0, buffer)])
    with pytest.raises(OSError, match="changed since it was opened"):
        source.read(100, 4)
    assert LocalSource(str(paths[0])).read(0, 5) == b"other"


@pytest.mark.parametrize("unit", [100, 1000, 1_000_000, SECOND])
def test_a_mount_with_coarser_times_shows_the_same_file(paths: list[Path], unit: int) -> None:
    exact = 1_700_000_001 * SECOND + 123_456_789
    os.utime(paths[1], ns=(exact, exact))
    source = LocalSource(str(paths[1]))
    copy = source.reopen()
    os.utime(paths[1], ns=(exact, exact - exact % unit))
    assert copy.read(0, 1) == b"\1"
    source = LocalSource(str(paths[1])).reopen()
    os.utime(paths[1], ns=(exact, exact))
    assert source.read(0, 1) == b"\1"


def test_coarse_times_do_not_hide_another_file(paths: list[Path]) -> None:
    exact = 1_700_000_001 * SECOND + 123_456_789
    os.utime(paths[1], ns=(exact, exact))
    later, other_end = (LocalSource(str(paths[1])).reopen() for _ in range(2))
    os.utime(paths[1], ns=(exact, 1_700_000_003 * SECOND))
    with pytest.raises(OSError, match="changed since"):
        later.read(0, 1)
    paths[1].write_bytes(bytes([1]) * 8191 + b"2")
    os.utime(paths[1], ns=(exact, exact - exact % SECOND))
    with pytest.raises(OSError, match="changed since"):
        other_end.read(0, 1)


@pytest.mark.parametrize("code", [errno.ESTALE, errno.ENOTCONN])
def test_a_handle_that_the_server_lost_is_replaced_once(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    source = LocalSource(str(paths[3]))
    failures = [1]
    preadinto, pread = local._preadinto, local._pread

    def lost(read: Any) -> Any:
        def call(*arguments: Any) -> Any:
            if failures[0]:
                failures[0] -= 1
                raise OSError(code, os.strerror(code))
            return read(*arguments)

        return call

    monkeypatch.setattr(local, "_preadinto", lost(preadinto))
    monkeypatch.setattr(local, "_pread", lost(pread))
    buffer = bytearray(4)
    source.read_into([(0, memoryview(buffer))])
    assert bytes(buffer) == b"\3" * 4
    assert failures == [0]
    failures[0] = 1
    assert source.read(0, 2) == b"\3\3"
    failures[0] = 2
    with pytest.raises(OSError, match=os.strerror(code)):
        source.read_into([(0, memoryview(buffer))])
    failures[0] = 1
    paths[3].write_bytes(b"shorter")
    with pytest.raises(OSError, match="changed since"):
        source.read_into([(0, memoryview(buffer))])


def test_short_reads_fill_an_array_of_several_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(250)) * 40)
    expected = np.frombuffer(path.read_bytes(), np.uint8)
    preadinto, sizes = local._preadinto, []

    def short(fd: int, view: memoryview, offset: int) -> int:
        sizes.append(view.nbytes)
        return preadinto(fd, view.cast("B")[:700], offset)

    source = LocalSource(str(path))
    monkeypatch.setattr(local, "_preadinto", short)
    array = np.empty((3, 50, 8), np.uint8)
    source.read_into([(100, array.data)])
    np.testing.assert_array_equal(array.ravel(), expected[100:1300])
    assert sizes == [1200, 500]
    monkeypatch.setattr(local, "_MAX_READ", 512)
    assert source.read(100, 1200) == expected[100:1300].tobytes()
    assert sizes[2:] == [512, 512, 176]
