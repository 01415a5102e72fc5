"""Chunk headers, the file signature and the chunk map."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nd2._core.format import chunks

NAMES = st.text("ABCDEFGHIJabcdefghij_ .-0123456789|", min_size=1, max_size=30).map(lambda text: text.encode() + b"!")

# Positions that hold 0x21 ("!") bytes would mislead a parser that looks for the end of names only.
NUMBERS = st.one_of(st.integers(0, 2**63 - 1), st.sampled_from([0x21, 0x2121, 0x2121212121212121]))


@given(NAMES, st.binary(max_size=9000), st.integers(0, 100_000))
def test_a_chunk_header_comes_back_and_its_data_ends_on_a_page(name: bytes, head: bytes, tail: int) -> None:
    chunk = chunks.encode_chunk(name, head, tail)
    header = chunks.parse_header(chunk, 4096)
    assert header.name == name
    assert header.data_length == len(head) + tail
    assert chunk[header.data_offset - 4096 :] == head
    if head:
        assert len(chunk) % chunks.PAGE == 0


def test_pixels_of_a_frame_start_a_page_behind_its_chunk() -> None:
    assert len(chunks.encode_chunk(chunks.frame_name(123), b"\0" * 8, 1000)) == 4096


@given(
    st.dictionaries(NAMES, st.tuples(NUMBERS, NUMBERS), max_size=20),
    st.dictionaries(st.integers(0, 10**12), st.tuples(NUMBERS, NUMBERS), max_size=40),
)
def test_a_chunk_map_comes_back(others: dict[bytes, tuple[int, int]], frames: dict[int, tuple[int, int]]) -> None:
    others = {k: v for k, v in others.items() if not k.startswith(chunks.FRAME_PREFIX)}
    entries = [(name, *where) for name, where in others.items()]
    entries += [(chunks.frame_name(index), *where) for index, where in frames.items()]
    encoded = chunks.encode_map(entries, 1 << 40)
    header = chunks.parse_header(encoded, 1 << 40)
    data = encoded[header.data_offset - (1 << 40) :]
    found = chunks.parse_map(data, 1 << 40)
    assert found.others == others
    where = zip(found.frame_position.tolist(), found.frame_size.tolist(), strict=True)
    assert dict(zip(found.frame_index.tolist(), where, strict=True)) == frames
    assert len(encoded) % chunks.PAGE == 0
    assert chunks.parse_tail(encoded[-40:], (1 << 40) + len(encoded)) == 1 << 40


@given(
    st.dictionaries(NAMES, st.just((4096, 8)), max_size=20),
    st.sets(st.integers(0, 10**6), min_size=1, max_size=40),
    st.booleans(),
)
def test_entries_of_a_chunk_map_are_sorted_by_name_from_the_last(
    others: dict[bytes, tuple[int, int]], frames: set[int], as_arrays: bool
) -> None:
    others = {k: v for k, v in others.items() if not k.startswith(chunks.FRAME_PREFIX)}
    entries = [(name, *where) for name, where in others.items()]
    names = [chunks.frame_name(index) for index in frames]
    index = np.array(sorted(frames))
    table = (index, np.full(len(index), 4096, np.uint64), np.full(len(index), 8, np.uint64))
    if not as_arrays:
        entries += [(name, 4096, 8) for name in names]
    data = chunks.encode_map(entries, 8192, table if as_arrays else None)[48:]
    data = data[: data.index(chunks.MAP_SIGNATURE)]
    fields = np.array([4096, 8], "<u8").tobytes()
    assert data.split(fields)[:-1] == sorted([*names, *others], reverse=True)


def test_a_name_that_only_looks_like_a_frame_is_not_one() -> None:
    names = [b"ImageDataSeq|!", b"ImageDataSeq|1a!", b"xImageDataSeq|1!", b"ImageDataSeq|1|2!"]
    encoded = chunks.encode_map([(name, 4096, 8) for name in names], 8192)
    found = chunks.parse_map(encoded[48:], 8192)
    assert sorted(found.others) == sorted(names)
    assert len(found.frame_index) == 0


def test_room_reaches_to_the_next_chunk_and_to_the_map() -> None:
    entries = [(b"A!", 4096, 8), (b"B!", 12288, 8)]
    found = chunks.parse_map(chunks.encode_map(entries, 20480)[48:], 20480)
    assert found.room(4096) == 8192
    assert found.room(12288) == 8192
    assert found.room(20480) == 0


@pytest.mark.parametrize("cut", [0, 10, 40])
def test_a_map_without_its_end_is_corrupt(cut: int) -> None:
    data = chunks.encode_map([(b"A!", 4096, 8)], 8192)[48 : 48 + cut]
    with pytest.raises(ValueError, match=r"no end.*offset 8192"):
        chunks.parse_map(data, 8192, path="f.nd2")


def test_a_tail_that_is_not_a_signature_is_corrupt() -> None:
    with pytest.raises(ValueError, match=r"cut short.*'f\.nd2'.*offset 60"):
        chunks.parse_tail(b"\0" * 40, 100, path="f.nd2")


@pytest.mark.parametrize("position", [0, 60, 2**63])
def test_a_map_position_outside_the_file_is_corrupt(position: int) -> None:
    tail = chunks.TAIL.pack(chunks.MAP_SIGNATURE, position)
    with pytest.raises(ValueError, match="in a file of 100 bytes"):
        chunks.parse_tail(tail, 100, path="f.nd2")


@pytest.mark.parametrize(
    ("head", "version"),
    [
        (chunks.encode_signature((3, 0)), (3, 0)),
        (chunks.encode_signature((2, 1)), (2, 1)),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", (1, 0)),
    ],
)
def test_versions(head: bytes, version: tuple[int, int]) -> None:
    assert chunks.parse_version(head[:112]) == version


@pytest.mark.parametrize("head", [b"", b"hell", b"\0\0\0\x0cftyp", b"PK\x03\x04"])
def test_what_is_not_nd2_is_an_os_error_that_names_the_file(head: bytes) -> None:
    with pytest.raises(OSError, match=r"not an ND2 file.*'f\.nd2'"):
        chunks.parse_version(head, path="f.nd2")


def test_a_signature_without_a_version_is_corrupt() -> None:
    with pytest.raises(ValueError, match="no format version"):
        chunks.parse_version(chunks.encode_signature()[:50], path="f.nd2")


def test_a_million_entries_are_arrays() -> None:
    count = 1_000_000
    names = (chunks.frame_name(i) for i in range(count))
    entries = [(name, 4096 + 12288 * i, 8200) for i, name in enumerate(names)]
    found = chunks.parse_map(chunks.encode_map(entries, 1 << 40)[48:], 1 << 40)
    order = np.argsort(found.frame_index)
    assert np.array_equal(found.frame_index[order], np.arange(count))
    assert np.array_equal(found.frame_position[order], 4096 + 12288 * np.arange(count))
    assert not found.others


@settings(max_examples=60)
@given(data=st.data())
def test_maps_of_arrays_and_of_entries_are_the_same(data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.integers(0, 10**9), unique=True, max_size=60))
    index = np.array(indices, np.int64)
    position = np.arange(len(index), dtype=np.uint64) * np.uint64(4096)
    size = position + np.uint64(7)
    others = [(b"CustomData|X!", 5, 6), (b"ImageTextInfoLV!", 7, 8), (b"Z!", 1, 1)]
    one_by_one = [
        (chunks.frame_name(i), p, s) for i, p, s in zip(indices, position.tolist(), size.tolist(), strict=True)
    ]
    expected = chunks.encode_map([*others, *one_by_one], 1 << 40)
    assert chunks.encode_map(others, 1 << 40, (index, position, size)) == expected


def test_a_map_of_many_frames_is_read_back() -> None:
    index = np.random.default_rng(0).permutation(200_000).astype(np.int64)
    position = (index.astype(np.uint64) + np.uint64(1)) * np.uint64(8192)
    data = chunks.encode_map([], 1 << 40, (index, position, position))
    found = chunks.parse_map(data[chunks.HEADER.size + len(chunks.MAP_NAME) :], 1 << 40)
    assert sorted(found.frame_index.tolist()) == list(range(200_000))
    np.testing.assert_array_equal(
        found.frame_position, (found.frame_index.astype(np.uint64) + np.uint64(1)) * np.uint64(8192)
    )


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", r"it is empty \(0 bytes\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS.*git lfs pull"),
        (b"II*\0\x08\0\0\0", "a TIFF file"),
        (b"MM\0+\0\x08\0\0", "a BigTIFF file"),
        (b"<!doctype html><html>", "a web page"),
        (bytes(112), "starts with zeros.*rescue=True"),
        (b"nothing known", r"it starts with b'noth'"),
    ],
)
def test_other_files_are_named_as_what_they_are(head: bytes, kind: str) -> None:
    with pytest.raises(OSError, match=rf"not an ND2 file.*{kind}.*'f\.nd2'"):
        chunks.parse_version(head, path="f.nd2")


def test_a_map_of_exclamation_marks_takes_little_memory_and_time() -> None:
    body = b"!" * 3_000_000
    data = body + chunks.TAIL.pack(chunks.MAP_SIGNATURE, 4096)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="chunk map has no end"):
            chunks.parse_map(data, 4096)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(data)
    finally:
        tracemalloc.stop()


def test_a_dense_map_reads_like_any_other() -> None:
    entries = [(b"!", 0x2121212121212121, 0x2121212121212121)] * 5 + [(b"a!", 33, 33)]
    data = chunks.encode_map(entries, 4096)
    header = chunks.parse_header(data, 4096)
    found = chunks.parse_map(data[header.data_offset - 4096 :], 4096)
    assert found.others == {b"!": (0x2121212121212121,) * 2, b"a!": (33, 33)}
