"""Boxes, the box map and the dialect of the XML of legacy files."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nd2._core.format import jp2
from tests import boxes

KINDS = st.sampled_from([b"jp2c", b"xml ", b"uuid", b"jp2h"])
TAGS = st.sampled_from([b"LUNK", b"VCAL", b"VIMD", b"TINF"])


@given(KINDS, st.binary(max_size=50), st.integers(0, 1 << 40))
def test_box_round_trip(kind: bytes, payload: bytes, position: int) -> None:
    data = boxes.encode_box(kind, payload)
    box = jp2.parse_box(data, position, position + len(data) + 7)
    assert (box.kind, box.position, box.end) == (kind, position, position + len(data))
    assert data[box.payload_offset - position :] == payload


def test_box_with_long_length() -> None:
    data = struct.pack(">I4sQ", 1, b"jp2c", (5 << 32) + 16)
    box = jp2.parse_box(data, 100, 6 << 32)
    assert (box.payload_offset, box.length) == (116, (5 << 32) + 16)


def test_box_of_length_zero_reaches_to_the_end() -> None:
    assert jp2.parse_box(struct.pack(">I4s", 0, b"xml "), 10, 99).end == 99


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\0\0\0\x10jp",
        struct.pack(">I4s", 7, b"jp2c"),
        struct.pack(">I4s", 1000, b"jp2c"),
        struct.pack(">I4s", 1, b"jp2c"),
        struct.pack(">I4sQ", 1, b"jp2c", 15),
        struct.pack(">I4sQ", 1, b"jp2c", (1 << 64) - 1),
    ],
)
def test_damaged_box(head: bytes) -> None:
    with pytest.raises(ValueError, match=r"offset 3"):
        jp2.parse_box(head, 3, 200)


@pytest.mark.parametrize("components", [1, 3])
def test_image_header_round_trip(components: int) -> None:
    size = jp2.ImageSize(7, 9, components, 12)
    box = boxes.encode_image_header(size)
    assert jp2.parse_image_header(box[8:]) == size


def test_image_header_without_size() -> None:
    assert jp2.parse_image_header(b"") is None
    assert jp2.parse_image_header(boxes.encode_box(b"colr", b"abc")) is None
    varying = struct.pack(">IIHBBBB", 7, 9, 3, 255, 7, 0, 0)
    assert jp2.parse_image_header(boxes.encode_box(b"ihdr", varying)) is None


def test_codestream_size() -> None:
    codecs = pytest.importorskip("imagecodecs")
    stream = codecs.jpeg2k_encode(np.zeros((5, 8, 3), "u1"), codecformat="j2k", level=0)
    assert jp2.parse_codestream_size(stream) == jp2.ImageSize(5, 8, 3, 8)


@pytest.mark.parametrize("data", [b"", b"\xff\x4f\xff\x51", bytes(100)])
def test_no_codestream(data: bytes) -> None:
    with pytest.raises(ValueError, match="no JPEG 2000 codestream"):
        jp2.parse_codestream_size(data)


@given(st.lists(st.tuples(KINDS, TAGS, st.integers(0, 1 << 40)), max_size=30))
def test_map_round_trip(entries: list[tuple[bytes, bytes, int]]) -> None:
    start = 1 << 41
    data = boxes.encode_map(entries)
    size = start + len(data)
    position = jp2.parse_tail(data[-40:], size)
    assert position is not None
    found = jp2.parse_map(data[position - start :], position)
    for tag in (b"LUNK", b"VCAL", b"VIMD", b"TINF"):
        expected = [at for kind, t, at in entries if t == tag and kind != b"jp2h"]
        assert found.of(tag).tolist() == expected
    assert found.of(b"jp2h").tolist() == [at for kind, _, at in entries if kind == b"jp2h"]


def test_room_is_the_distance_to_the_next_box_wherever_the_map_lists_it() -> None:
    entries = [(b"jp2c", b"LUNK", 900), (b"jp2c", b"LUNK", 100), (b"xml ", b"VCAL", 250)]
    data = boxes.encode_map(entries)
    found = jp2.parse_map(data[24:], 5000)
    assert found.room(found.of(b"LUNK")).tolist() == [4100, 150]


def test_no_map() -> None:
    assert jp2.parse_tail(b"", 0) is None
    assert jp2.parse_tail(bytes(40), 1000) is None


@pytest.mark.parametrize("distance", [0, 40, 1001, (1 << 64) - 1])
def test_tail_that_leads_out_of_the_file(distance: int) -> None:
    with pytest.raises(ValueError, match=r"box map cannot start .*a\.nd2"):
        jp2.parse_tail(jp2.TAIL.pack(jp2.MAP_SIGNATURE, distance), 1000, path="a.nd2")


def test_map_that_is_too_short_for_its_count() -> None:
    data = boxes.encode_map([(b"jp2c", b"LUNK", 0)])[24:]
    with pytest.raises(ValueError, match="too short for its 4294967295 entries"):
        jp2.parse_map(b"\xff\xff\xff\xff" + data[4:], 5000)


def test_map_that_leads_behind_itself() -> None:
    data = boxes.encode_map([(b"jp2c", b"LUNK", 6000)])[24:]
    with pytest.raises(ValueError, match="lists a box at 6000"):
        jp2.parse_map(data, 5000)


def test_walk_finds_what_the_map_would_list() -> None:
    parts = [
        (b"jp2h", b"", boxes.encode_image_header(jp2.ImageSize(1, 1, 1, 8))),
        (b"jp2c", b"LUNK", boxes.encode_box(b"jp2c", b"stream")),
        (b"xml ", b"VCAL", b'<?xml version="1.0"?>\n<CalibrationSeq/>'),
        (b"xml ", b"AIM1", b"<variant><no_name><Metadata_V1.2/></no_name></variant>"),
        (b"xml ", b"AIMD", b"<Metadata/>"),
        (b"xml ", b"", b"<Whatever/>"),
    ]
    content, starts = bytearray(), []
    for kind, _, part in parts:
        starts.append(len(content))
        content += part if kind != b"xml " else boxes.encode_box(kind, part)
    content += boxes.encode_box(b"jp2c", b"cut")[:-1]
    found = jp2.walk(lambda at, n: bytes(content[at : at + n]), len(content))
    for start, (_, tag, _) in zip(starts, parts, strict=True):
        if tag:
            assert found.of(tag).tolist() == [start]
    assert found.of(b"jp2h").tolist() == [0]
    assert found.end == starts[-1] + 8 + len(b"<Whatever/>")
