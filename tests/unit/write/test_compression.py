"""Compression of frames in the background."""

from __future__ import annotations

import threading
import zlib

import pytest

from nd2._core.frames import pool
from nd2._core.write.compression import BackgroundCompression


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
