"""The stream of chunks under the writer: what it leaves behind when something goes wrong."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from nd2._core.write.stream import ChunkStream

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
