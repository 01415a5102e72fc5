"""Where frames lie: damaged headers and maps give right pixels, an error or a warning, never other pixels."""

from __future__ import annotations

import struct
import warnings
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import nd2
from nd2._core.format import chunks
from nd2._core.format.clx_lite import I32
from nd2._core.format.pixels import PixelLayout
from nd2._core.io import open_source
from nd2._core.open import open_reader
from nd2._core.readers.frame_table import frame_codec
from nd2._core.readers.sidecar import Recorder
from tests.builder import Nd2Spec, build

if TYPE_CHECKING:
    from pathlib import Path

HEADER = chunks.HEADER.size


def chunk_start(data: bytes | bytearray, name: bytes) -> int:
    """Return where the chunk of a name starts: its first copy is not in the map."""
    return data.index(name) - HEADER


def map_entry(data: bytes | bytearray, name: bytes) -> int:
    """Return where position and size of a chunk are in the map."""
    return data.rindex(name) + len(name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.nd2"


@pytest.mark.parametrize("field", [4, 8], ids=["name length", "data length"])
@pytest.mark.parametrize("bit", range(32))
@pytest.mark.parametrize("validate", [False, True])
def test_one_bit_in_the_first_header_shifts_no_frame(path: Path, field: int, bit: int, validate: bool) -> None:
    spec = build(path, loops=[("T", 5)], height=40, width=60)
    data = bytearray(path.read_bytes())
    place = chunk_start(data, b"ImageDataSeq|0!") + field + bit // 8
    data[place] ^= 1 << bit % 8
    path.write_bytes(data)
    np.testing.assert_array_equal(nd2.imread(path, validate_frames=validate), spec.array)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("zlib", [False, True])
@pytest.mark.parametrize("size", [(4, 4), (64, 64)])
def test_one_bit_in_a_name_length_shifts_no_frame(path: Path, count: int, zlib: bool, size: tuple[int, int]) -> None:
    loops = [("T", count)] if count > 1 else []
    spec = build(path, loops=loops, height=size[0], width=size[1], zlib=zlib)
    data = path.read_bytes()
    for frame in {0, count - 1}:
        place = chunk_start(data, chunks.frame_name(frame)) + 4
        for bit in range(32):
            changed = bytearray(data)
            changed[place + bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            np.testing.assert_array_equal(nd2.imread(path), spec.array, f"frame {frame}, {bit}")


@pytest.mark.parametrize("bit", [0, 3, 4, 7])
def test_one_bit_in_a_name_length_off_the_page_shifts_no_frame(path: Path, bit: int) -> None:
    spec = build(path, loops=[("T", 5)], name_field=40)
    data = bytearray(path.read_bytes())
    data[chunk_start(data, b"ImageDataSeq|0!") + 4] ^= 1 << bit
    path.write_bytes(data)
    np.testing.assert_array_equal(nd2.imread(path), spec.array)


def test_names_of_other_lengths_shift_no_frame(path: Path) -> None:
    spec = Nd2Spec(loops=[("T", 12)], times=[0.0] * 12, missing=frozenset(range(1, 10)))
    build(path, spec)
    data = bytearray(path.read_bytes())
    for frame in (0, 10, 11):  # a writer that does not pad names
        name = chunks.frame_name(frame)
        start, nbytes = chunk_start(data, name), 8 + spec.layout.frame_bytes
        pixels = data[start + chunks.PAGE - 8 :][:nbytes]
        chunk = chunks.HEADER.pack(chunks.MAGIC, len(name), nbytes) + name + pixels
        room = chunks.page_up(chunks.PAGE - 8 + nbytes)
        data[start : start + room] = chunk.ljust(room, b"\0")
    path.write_bytes(data)
    np.testing.assert_array_equal(nd2.imread(path), spec.array)


def test_the_only_frame_keeps_its_header(path: Path) -> None:
    spec = build(path, name_field=37)
    np.testing.assert_array_equal(nd2.imread(path), spec.array)


def test_one_header_is_enough_for_a_sound_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(path, loops=[("T", 50)])
    source = open_source(path)
    spans: list[tuple[int, int]] = []
    read_many = source.read_many

    def note(asked: list[tuple[int, int]]) -> list[bytes]:
        spans.extend(asked)
        return read_many(asked)

    monkeypatch.setattr(source, "read_many", note)
    with open_reader(source) as reader:
        _ = reader.frames
        starts = set(reader.frame_positions.tolist())
    assert len([place for place, _ in spans if place in starts]) == 1


def test_a_map_entry_within_a_frame_changes_nothing(path: Path) -> None:
    spec = build(path, loops=[("T", 5)], height=40, width=60)
    data = bytearray(path.read_bytes())
    frame = chunk_start(data, b"ImageDataSeq|2!")
    struct.pack_into("<Q", data, map_entry(data, b"CustomData|AcqTimesCache!"), frame + 4500)
    path.write_bytes(data)
    np.testing.assert_array_equal(nd2.imread(path), spec.array)


@pytest.mark.parametrize("size", [0, 1, 8])
def test_a_compressed_frame_of_wrong_size_in_the_map_is_read(path: Path, size: int) -> None:
    spec = build(path, loops=[("T", 3)], zlib=True)
    data = bytearray(path.read_bytes())
    struct.pack_into("<Q", data, map_entry(data, b"ImageDataSeq|1!") + 8, size)
    path.write_bytes(data)
    np.testing.assert_array_equal(nd2.imread(path), spec.array)
    with nd2.ND2File(path) as file:
        np.testing.assert_array_equal(file.read_frame(1), spec.array[1])


@pytest.mark.parametrize("loops", [[], [("T", 3)]])
def test_a_chunk_that_is_too_short_is_an_error(path: Path, loops: list[tuple[str, int]]) -> None:
    build(path, loops=loops)
    data = bytearray(path.read_bytes())
    struct.pack_into("<Q", data, map_entry(data, b"ImageDataSeq|0!") + 8, 8)
    struct.pack_into("<Q", data, chunk_start(data, b"ImageDataSeq|0!") + 8, 8)
    path.write_bytes(data)
    with nd2.ND2File(path) as file:
        with pytest.raises(ValueError, match=r"too short .*a\.nd2.*frame 0"):
            file.read_frame(0)
        with pytest.raises(ValueError, match=r"too short .*a\.nd2.*frame 0"):
            file.asarray()


@pytest.mark.parametrize("raw", [[0], [2], [0, 1, 3]])
def test_raw_frames_among_compressed_ones_are_read(path: Path, raw: list[int]) -> None:
    spec = Nd2Spec(loops=[("T", 4)], zlib=True)
    frames = {chunks.frame_name(k): spec.layout.encode(spec.frames[k]) for k in raw}
    build(
        path,
        Nd2Spec(
            loops=[("T", 4)],
            zlib=True,
            missing=frozenset(raw),
            chunks={name: bytes(8) + pixels for name, pixels in frames.items()},
        ),
    )
    np.testing.assert_array_equal(nd2.imread(path), spec.array)


@pytest.mark.parametrize("options", [{}, {"validate_frames": True}, {"rescue": True}])
@pytest.mark.parametrize(
    "layout",
    [
        {"height": 4, "width": 4},  # streams are longer than the pixels
        {"height": 64, "width": 64},
        {"height": 4, "width": 4, "version": (2, 1)},
        {"loops": [], "height": 4, "width": 4},
    ],
)
def test_frames_are_compressed_whatever_the_attributes_state(
    path: Path, layout: dict[str, Any], options: dict[str, Any]
) -> None:
    spec = build(path, **{"loops": [("T", 3)], **layout}, zlib=True, overrides={"eCompression": I32(2)})
    with nd2.ND2File(path, **options) as file:
        assert file.attributes.compressionType is None
        np.testing.assert_array_equal(file.asarray(), spec.array)
        np.testing.assert_array_equal(file.read_frame(0).squeeze(), spec.frames[0].squeeze())


def test_a_few_of_many_frames_show_that_they_are_compressed(path: Path) -> None:
    streams = [zlib.compress(bytes(8), 0).ljust(length, b"\0") for length in range(20, 20 + 5000)]
    path.write_bytes(b"".join(streams))
    lengths = np.array([len(stream) for stream in streams], np.uint64)
    pixels = PixelLayout(1, 4, 1, 1, np.dtype("<u2"), 8)
    with closing(open_source(path)) as file:
        source = Recorder(file)
        assert frame_codec(source, lengths.cumsum() - lengths, lengths, pixels) == "zlib"
        assert len(source.blocks) <= 1024 + 16


def test_an_index_keeps_how_frames_are_stored(path: Path) -> None:
    spec = build(path, loops=[("T", 3)], zlib=True, overrides={"eCompression": I32(2)})
    nd2.save_index(path)
    with nd2.ND2File(path, index=True) as file:
        np.testing.assert_array_equal(file.asarray(), spec.array)


def test_raw_frames_with_more_bytes_than_pixels_stay_raw(path: Path) -> None:
    spec = Nd2Spec(loops=[("T", 3)])
    names = map(chunks.frame_name, range(3))
    # They begin like a zlib stream, and are not one.
    pixels = [b"\x78\x9c" + spec.layout.encode(frame)[2:] for frame in spec.frames]
    payloads = {name: bytes(8) + data + bytes(16) for name, data in zip(names, pixels, strict=True)}
    build(path, Nd2Spec(loops=[("T", 3)], missing=frozenset(range(3)), chunks=payloads))
    image = nd2.imread(path)
    assert [frame.tobytes() for frame in image] == pixels


@pytest.mark.parametrize("row_bytes", [0, 1, 100])
def test_rows_shorter_than_their_pixels_are_padded_rows(path: Path, row_bytes: int) -> None:
    spec = build(path, width=99, overrides={"uiWidthBytes": row_bytes})
    np.testing.assert_array_equal(nd2.imread(path), spec.array)


@pytest.mark.parametrize("rescue", [False, True])
def test_a_number_with_a_leading_zero_is_not_a_frame(path: Path, rescue: bool) -> None:
    other = bytes(8) + bytes(96)
    spec = build(path, loops=[("T", 5)], chunks={b"ImageDataSeq|03!": other})
    np.testing.assert_array_equal(nd2.imread(path, rescue=rescue), spec.array)


def remove(path: Path, place: int, count: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:place] + data[place + count :])


@pytest.mark.parametrize(("count", "offset"), [(1, 0), (7, 1000), (16, 4700), (4096, 4700)])
@pytest.mark.parametrize("zlib", [False, True])
def test_a_frame_that_lost_bytes_is_missing_under_validation(path: Path, count: int, offset: int, zlib: bool) -> None:
    spec = build(path, loops=[("T", 5)], height=40, width=60, zlib=zlib)
    pixels = chunk_start(path.read_bytes(), b"ImageDataSeq|2!") + chunks.PAGE
    remove(path, pixels + (offset if not zlib else offset // 4), count)
    lost = [2] if count < 4096 or not offset else [2, 3]  # the header of frame 3 goes, too
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        image = nd2.imread(path, validate_frames=True)
    messages = " ".join(str(warning.message) for warning in record)
    assert "1 of 5 frames are cut, or hold other bytes, and count as missing (frames 2;" in messages
    expected = spec.array.copy()
    expected[lost] = 0
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("count", [1, 16, 5000])
def test_a_frame_that_gained_bytes_is_missing_under_validation(path: Path, count: int) -> None:
    spec = build(path, loops=[("T", 5)], height=40, width=60)
    data = path.read_bytes()
    place = chunk_start(data, b"ImageDataSeq|2!") + chunks.PAGE + 1001
    path.write_bytes(data[:place] + b"\xda" * count + data[place:])
    with pytest.warns(UserWarning, match=r"1 of 5 frames are cut, or hold other bytes.*frames 2;"):
        image = nd2.imread(path, validate_frames=True)
    expected = spec.array.copy()
    expected[2] = 0
    np.testing.assert_array_equal(image, expected)


def test_exchanged_entries_of_the_map_are_put_right_under_validation(path: Path) -> None:
    spec = build(path, loops=[("T", 5)])
    data = bytearray(path.read_bytes())
    one, two = (data.rfind(b"ImageDataSeq|%d!" % frame) + 15 for frame in (1, 2))
    data[one : one + 8], data[two : two + 8] = data[two : two + 8], data[one : one + 8]
    path.write_bytes(data)
    assert (nd2.imread(path) != spec.array).any()
    np.testing.assert_array_equal(nd2.imread(path, validate_frames=True), spec.array)


def test_a_map_that_moved_beyond_the_end_is_found(path: Path) -> None:
    spec = build(path, loops=[("T", 9)], height=40, width=60)
    first = chunk_start(path.read_bytes(), b"ImageDataSeq|1!")
    remove(path, first, 3 * 12288)  # more bytes than follow the position of the map
    with pytest.raises(ValueError, match=r"chunk map.*a\.nd2"):
        nd2.imread(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = nd2.imread(path, validate_frames=True)
    expected = spec.array.copy()
    expected[1:4] = 0
    np.testing.assert_array_equal(image, expected)
