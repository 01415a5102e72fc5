"""Files whose chunk map is wrong about sizes or places: what stands in the chunks counts, or is named in the error."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import nd2
from nd2._core.format import chunks, names
from tests.builder import Nd2Spec, build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nd2._core.format.chunks import ChunkMap


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
def test_sizes_that_the_map_does_not_know_stand_in_the_chunks(
    path: Path, zlib: bool, name_field: int
) -> None:
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


def test_frames_that_are_said_to_be_compressed_and_are_not(path: Path) -> None:
    spec = build(path, Nd2Spec(loops=[("T", 3)], overrides={"eCompression": 0}))
    with nd2.ND2File(path) as file:
        assert file.attributes.compressionType == "lossless"
        np.testing.assert_array_equal(file.asarray(), spec.array)


@pytest.mark.parametrize("name_field", [0, 40])
def test_a_place_where_another_frame_stands_is_named(path: Path, name_field: int) -> None:
    build(path, loops=[("T", 5)], name_field=name_field)

    def change(known: ChunkMap) -> ChunkMap:
        return replace(known, frame_position=np.roll(known.frame_position, 1))

    rewrite_map(path, change)
    with (
        nd2.ND2File(path) as file,
        pytest.raises(ValueError, match=r"another chunk stands here: b'Image.*frame \d, offset"),
    ):
        file.asarray()


@pytest.mark.parametrize("name", [names.ATTRIBUTES[0], names.TEXT_INFO[0], names.FRAME_TIMES])
def test_a_place_where_another_chunk_stands_is_named(path: Path, name: bytes) -> None:
    build(path, loops=[("T", 5)])

    def change(known: ChunkMap) -> ChunkMap:
        other = known.others[names.EXPERIMENT[0]]
        return replace(known, others={**known.others, name: other})

    rewrite_map(path, change)
    message = rf"another chunk stands here: b'ImageMetadataLV!'.*a\.nd2.*{name.decode()[:10]}"
    with pytest.raises(ValueError, match=message), nd2.ND2File(path) as file:
        _ = file.attributes, file.text_info, file.frame_metadata(1)


def test_a_chunk_that_is_said_to_lie_beyond_the_end_is_named(path: Path) -> None:
    build(path, loops=[("T", 5)])
    place = (1 << 40, 8)
    rewrite_map(
        path, lambda known: replace(known, others={**known.others, names.TEXT_INFO[0]: place})
    )
    with (
        pytest.raises(ValueError, match=rf"beyond the file's end.*Text.*offset {1 << 40}"),
        nd2.ND2File(path) as file,
    ):
        _ = file.text_info
