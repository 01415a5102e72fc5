"""Damaged files: errors that name file, chunk, frame and offset."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import nd2
from nd2._core.chunks import attributes, experiment, recorded_data, texts
from nd2._core.format import chunks
from tests.builder import Nd2Spec, build
from tests.fuzz.seeds import files
from tests.handles import no_handle_is_left

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nd2._core.format.chunks import ChunkMap


def test_truncated_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    path.write_bytes(files()[0])
    with nd2.ND2File(path) as file:
        _ = file.sizes, file._reader.frames
        os.truncate(path, 3000)
        with pytest.raises(OSError, match=r"cut while it was read.*a\.nd2"):
            file.read_frame(1)


@pytest.mark.parametrize("content", [b"", b"hello world", b"\xda\xce", b"\0" * 200])
def test_what_is_not_nd2(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.nd2"
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"not an ND2 file.*bad\.nd2"):
        nd2.ND2File(path)
    assert no_handle_is_left(path)


def test_folders_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        nd2.ND2File(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"missing\.nd2"):
        nd2.ND2File(tmp_path / "missing.nd2")


@pytest.mark.parametrize("keep", [0.002, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.nd2"
    build(path, loops=[("T", 20)], height=30, width=40)
    os.truncate(path, int(path.stat().st_size * keep))
    with nd2.ND2File(path) as file, pytest.raises(ValueError, match=r"cut short.*cut\.nd2.*offset"):
        file.sizes  # noqa: B018
    assert no_handle_is_left(path)


@pytest.mark.parametrize("position", [0, 5, 1 << 62, 1 << 30])
def test_a_tail_that_leads_astray(tmp_path: Path, position: int) -> None:
    path = tmp_path / "map.nd2"
    build(path)
    data = path.read_bytes()
    path.write_bytes(data[:-8] + position.to_bytes(8, "little"))
    with nd2.ND2File(path) as file, pytest.raises(ValueError, match=r"map\.nd2"):
        file.sizes  # noqa: B018


def patched_map(path: Path, name: bytes, position: int) -> None:
    """Let the map of a file say that a chunk is somewhere else."""
    data = bytearray(path.read_bytes())
    at = data.rindex(name) + len(name)
    data[at : at + 8] = position.to_bytes(8, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("position", [1 << 62, 4096 * 1000, 4097])
@pytest.mark.parametrize("name", [b"ImageAttributesLV!", b"ImageMetadataSeqLV|0!"])
def test_a_map_that_points_past_the_end(tmp_path: Path, name: bytes, position: int) -> None:
    path = tmp_path / "map.nd2"
    build(path)
    patched_map(path, name, position)
    with (
        nd2.ND2File(path) as file,
        pytest.raises(ValueError, match=rf"map\.nd2.*{name.decode().replace('|', '.')}.*offset {position}"),
    ):
        file.attributes  # noqa: B018
    assert no_handle_is_left(path)


def test_a_frame_beyond_the_end_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "map.nd2"
    spec = build(path, loops=[("T", 3)])
    patched_map(path, b"ImageDataSeq|1!", 1 << 40)
    with nd2.ND2File(path) as file:
        np.testing.assert_array_equal(file.read_frame(2), spec.frames[2].squeeze())
        with pytest.raises(ValueError, match=r"beyond the file's end.*map\.nd2.*frame 1"):
            file.read_frame(1)
        with pytest.raises(ValueError, match=r"frame 1"):
            file.asarray()


def test_a_frame_that_does_not_inflate(tmp_path: Path) -> None:
    path = tmp_path / "zip.nd2"
    spec = build(path, loops=[("T", 3)], zlib=True)
    data = bytearray(path.read_bytes())
    at = data.index(b"ImageDataSeq|1!") - 16 + chunks.PAGE
    data[at + 2 : at + 12] = b"\xff" * 10
    path.write_bytes(data)
    with nd2.ND2File(path) as file:
        with pytest.raises(ValueError, match=r"zlib stream.*zip\.nd2.*frame 1, offset"):
            file.asarray()
        np.testing.assert_array_equal(file.read_frame(2), spec.frames[2].squeeze())


@pytest.mark.parametrize(("overrides", "message"), [({"uiBpcInMemory": 24}, "24 bits"), ({"eCompression": 1}, "lossy")])
def test_what_is_not_supported(tmp_path: Path, overrides: dict[str, Any], message: str) -> None:
    from nd2._core.format.clx_lite import I32

    path = tmp_path / "a.nd2"
    build(path, overrides={key: I32(value) for key, value in overrides.items()})
    with nd2.ND2File(path) as file:
        assert file.attributes.widthPx == 8
        with pytest.raises(NotImplementedError, match=message):
            file.read_frame(0)


def test_a_failed_opening_leaves_a_file_that_can_be_deleted(tmp_path: Path) -> None:
    path = tmp_path / "bad.nd2"
    path.write_bytes(b"nothing")
    with pytest.raises(OSError, match="not an ND2 file"):
        nd2.imread(path)
    path.unlink()
    assert no_handle_is_left(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.nd2"


def rewrite_map(path: Path, change: Callable[[ChunkMap], ChunkMap]) -> None:
    """Put another chunk map in the place of the file's own."""
    data = path.read_bytes()
    at = chunks.parse_tail(data[-40:], len(data))
    head = chunks.parse_header(data[at:], at)
    new = change(chunks.parse_map(data[head.data_offset : head.end], at))
    others = [(name, *where) for name, where in new.others.items()]
    frames = (new.frame_index, new.frame_position, new.frame_size)
    path.write_bytes(data[:at] + chunks.encode_map(others, at, frames))


def pixels(path: Path) -> Any:
    with nd2.ND2File(path) as file:
        return file.asarray()


@pytest.mark.parametrize("zlib", [False, True])
@pytest.mark.parametrize("name_field", [0, 40])
def test_sizes_that_the_map_does_not_know_stand_in_the_chunks(path: Path, zlib: bool, name_field: int) -> None:
    spec = build(path, loops=[("T", 5)], zlib=zlib, name_field=name_field)
    rewrite_map(path, lambda known: replace(known, frame_size=known.frame_position))
    np.testing.assert_array_equal(pixels(path), spec.array)


def test_sizes_of_frames_as_they_are_that_the_map_has_wrong(path: Path) -> None:
    spec = build(path, loops=[("T", 5)])
    wrong = np.array([3, 1 << 40, 0, 104, 9], np.uint64)
    rewrite_map(path, lambda known: replace(known, frame_size=wrong))
    np.testing.assert_array_equal(pixels(path), spec.array)


def test_a_frame_that_is_shorter_than_the_others_is_named(path: Path) -> None:
    build(path, loops=[("T", 5)])
    short = chunks.TIMESTAMP + 20

    def change(known: ChunkMap) -> ChunkMap:
        sizes = known.frame_size.copy()
        sizes[known.frame_index == 3] = short
        return replace(known, frame_size=sizes)

    rewrite_map(path, change)
    data = bytearray(path.read_bytes())
    at = data.index(chunks.MAGIC_BYTES, data.index(chunks.frame_name(3)) - chunks.HEADER.size)
    struct.pack_into("<Q", data, at + 8, short)
    path.write_bytes(data)
    with nd2.ND2File(path) as file:
        file.read_frame(2)
        with pytest.raises(ValueError, match=r"too short.*ImageDataSeq\|3!.*frame 3"):
            file.read_frame(3)


def test_raw_frames_that_the_attributes_call_compressed(path: Path) -> None:
    spec = build(path, Nd2Spec(loops=[("T", 3)], overrides={"eCompression": 0}))
    with nd2.ND2File(path) as file:
        assert file.attributes.compressionType == "lossless"
        np.testing.assert_array_equal(file.asarray(), spec.array)


@pytest.mark.parametrize("name_field", [0, 40])
def test_a_place_of_another_frame_is_named(path: Path, name_field: int) -> None:
    build(path, loops=[("T", 5)], name_field=name_field)

    def change(known: ChunkMap) -> ChunkMap:
        return replace(known, frame_position=np.roll(known.frame_position, 1))

    rewrite_map(path, change)
    with (
        nd2.ND2File(path) as file,
        pytest.raises(ValueError, match=r"another chunk is here: b'Image.*frame \d, offset"),
    ):
        file.asarray()


@pytest.mark.parametrize("name", [attributes.NAMES[0], texts.NAMES[0], recorded_data.TIMES])
def test_a_place_of_another_chunk_is_named(path: Path, name: bytes) -> None:
    build(path, loops=[("T", 5)])

    def change(known: ChunkMap) -> ChunkMap:
        other = known.others[experiment.NAMES[0]]
        return replace(known, others={**known.others, name: other})

    rewrite_map(path, change)
    message = rf"another chunk is here: b'ImageMetadataLV!'.*a\.nd2.*{name.decode()[:10]}"
    with pytest.raises(ValueError, match=message), nd2.ND2File(path) as file:
        _ = file.attributes, file.text_info, file.frame_metadata(1)


def test_a_chunk_that_is_said_to_lie_beyond_the_end_is_named(path: Path) -> None:
    build(path, loops=[("T", 5)])
    place = (1 << 40, 8)
    rewrite_map(path, lambda known: replace(known, others={**known.others, texts.NAMES[0]: place}))
    with pytest.raises(ValueError, match=rf"beyond the file's end.*Text.*offset {1 << 40}"), nd2.ND2File(path) as file:
        _ = file.text_info


@pytest.mark.parametrize("how", ["cut", "no map", "no attributes"])
def test_the_error_of_a_damaged_file_names_the_way_out(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 3)], chunks={b"ImageAttributesLV!": None} if how[3:] == "attributes" else {})
    data = bytearray(path.read_bytes())
    if how == "cut":
        del data[-5000:]
    elif how == "no map":
        place = data.rindex(b"ND2 FILEMAP SIGNATURE NAME 0001!")
        data[place - 16 : place] = bytes(16)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"rescue=True or the command 'nd2 rescue'.*a\.nd2"):
        nd2.imread(path)


def test_a_moved_chunk_names_the_way_out(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 3)], name_field=40)
    data = bytearray((tmp_path / "a.nd2").read_bytes())
    place = data.index(b"ImageDataSeq|1!") - 16
    data[place : place + 16] = bytes(16)
    (tmp_path / "a.nd2").write_bytes(data)
    with pytest.raises(ValueError, match=r"validate_frames=True searches.*frame 1"):
        nd2.imread(tmp_path / "a.nd2")


def test_a_chunk_of_zeros_is_bytes(tmp_path: Path) -> None:
    zeros = bytes(24)
    build(tmp_path / "a.nd2", chunks={b"CustomData|X!": zeros, b"CustomDataVar|Y!": b""})
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert file.unstructured_metadata(include={"CustomData|X"}) == {"CustomData|X": zeros}


def test_a_file_that_cannot_be_opened_again_can_be_later(tmp_path: Path) -> None:
    path, hidden = tmp_path / "a.nd2", tmp_path / "b"
    spec = build(path, loops=[("T", 3)])
    file = nd2.ND2File(path)
    file.close()
    path.rename(hidden)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            file.open()
        assert file.closed
        assert file.path == str(path)
        assert "closed" in repr(file)
    file.close()
    hidden.rename(path)
    with file:
        np.testing.assert_array_equal(file.asarray(), spec.array)
