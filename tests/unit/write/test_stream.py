"""The stream of chunks under the writer: what it leaves behind when something goes wrong."""

from __future__ import annotations

import errno
import threading
import zlib
from pathlib import Path

import pytest

from nd2._core.frames import pool
from nd2._core.write.stream import BackgroundCompression, ChunkStream

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
def test_a_full_disk_is_told_with_the_place_and_what_was_written() -> None:
    with pytest.raises(OSError, match=r"the file signature.*/dev/full") as caught:
        ChunkStream(FULL, 1, in_place=True)
    assert caught.value.errno == errno.ENOSPC


def test_a_destination_that_became_a_folder_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    stream = ChunkStream(path, 1)
    stream.append_frame(0, bytes(8), bytes(100))
    path.mkdir()
    with pytest.raises(OSError, match=r"a\.nd2"):
        stream.finish()
    assert stream.closed
    assert [item.name for item in tmp_path.iterdir()] == ["a.nd2"]


def test_nothing_is_written_behind_the_end(tmp_path: Path) -> None:
    stream = ChunkStream(tmp_path / "a.nd2", 2)
    stream.append_frame(0, bytes(8), bytes(100))
    stream.finish()
    with pytest.raises(ValueError, match=r"closed.*a\.nd2"):
        stream.append_frame(1, bytes(8), bytes(100))


def test_frames_stay_where_a_file_was_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    stream = ChunkStream(path, 1, in_place=True)
    stream.append_frame(0, bytes(8), bytes(100))
    stream.abandon()
    stream.abandon()
    assert path.stat().st_size > 4096


def test_all_frames_are_written_before_wait_returns() -> None:
    written: dict[int, bytes] = {}

    def write(index: int, stamp: bytes, data: bytes) -> None:
        written[index] = stamp + zlib.decompress(data)

    compression = BackgroundCompression(write, lambda _: None)
    for index in range(50):
        compression.submit(index, b"t", memoryview(bytes([index]) * 100))
    compression.wait()
    assert written == {index: b"t" + bytes([index]) * 100 for index in range(50)}
    assert compression.failure is None


def test_the_first_error_is_kept_and_its_frame_released() -> None:
    released: list[int] = []

    def write(index: int, stamp: bytes, data: bytes) -> None:
        if index == 3:
            raise OSError(28, "full")

    compression = BackgroundCompression(write, released.append)
    for index in range(6):
        compression.submit(index, b"", memoryview(b"x"))
    compression.wait()
    assert released == [3]
    with pytest.raises(OSError, match="full"):
        raise compression.failure or AssertionError


def test_pending_frames_are_bounded() -> None:
    gate, started = threading.Event(), threading.Semaphore(0)

    def write(index: int, stamp: bytes, data: bytes) -> None:
        started.release()
        gate.wait(10)

    compression = BackgroundCompression(write, lambda _: None)
    room = pool.workers() + 1
    for index in range(room):
        compression.submit(index, b"", memoryview(b"x"))
    late = threading.Thread(target=compression.submit, args=(room, b"", memoryview(b"x")))
    late.start()
    assert started.acquire(timeout=10)
    late.join(0.1)
    assert late.is_alive()
    gate.set()
    late.join(10)
    assert not late.is_alive()
    compression.wait()
