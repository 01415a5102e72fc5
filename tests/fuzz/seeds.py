"""Small files of every kind, for the fuzzers to start from, and mutations that keep the container sound."""

from __future__ import annotations

import io
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nd2
from nd2._core.format import chunks, clx_lite, clx_xml
from nd2._core.io import open_source
from nd2._core.readers.scan import scan_chunks
from nd2.structures import ROI, AnimParam, BoxShape, ExperimentEvent, InterpType, RoiInfo, RoiShapeType
from tests.builder import build, compressed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

REGRESSIONS = Path(__file__).parent / "regressions"

SPECS: tuple[Mapping[str, Any], ...] = (
    {"loops": [("T", 2)], "height": 3, "width": 5},
    {"loops": [("P", 2), ("Z", 2)], "channels": 2, "height": 2, "width": 3},
    {"loops": [("N", 2)], "version": (2, 1), "height": 3, "width": 4},
    {"samples": 3, "dtype": "u1", "height": 3, "width": 3},
    {"loops": [("T", 3)], "zlib": True, "height": 4, "width": 4, "missing": frozenset([1])},
)


@cache
def files() -> tuple[bytes, ...]:
    """Files without the padding that makes real ones start every chunk on a page."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.nd2"
        found = []
        for spec in SPECS:
            build(path, **spec)
            parts = split(path.read_bytes())
            found.append(join([*parts, *extras()]))
        return tuple(found)


@cache
def extras() -> tuple[tuple[bytes, bytes], ...]:
    """Chunks that the builder does not write: regions, events, layers, recorded data, the user's form."""
    with tempfile.TemporaryDirectory() as folder:
        return _written_extras(Path(folder) / "extras.nd2")


def _written_extras(path: Path) -> tuple[tuple[bytes, bytes], ...]:
    roi = ROI(1, RoiInfo(RoiShapeType.Rectangle, InterpType.StandardROI, label="a"), "{a}")
    roi.animParams.append(AnimParam(boxShape=BoxShape(0.1, 0.2, 0.0)))
    with nd2.ND2Writer(
        path,
        {"T": 2, "Y": 4, "X": 4},
        "uint16",
        columns={"Laser [%]": [1.0, 2.0]},
        rois=[roi],
        events=[ExperimentEvent(1, 5.0, 5.0, 7, "command")],
        labels={"cells": np.eye(8, 4, dtype=np.uint16).reshape(2, 4, 4)},
        custom={"Camera_V1_0": {"a": 1}},
    ) as writer:
        for k in range(2):
            writer.write_frame(k, np.full((4, 4), k, np.uint16))
    known = {name for name, _ in split(build_bytes())}
    return tuple(
        (name, data)
        for name, data in split(path.read_bytes())
        if name not in known and not name.startswith(chunks.FRAME_PREFIX) and len(data) < 2000
    )


def build_bytes() -> bytes:
    """Return one file as the builder writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.nd2"
        build(path, **SPECS[0])
        return path.read_bytes()


def split(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return name and data of each chunk that a file holds whole, without its map."""
    found = scan_chunks(open_source(io.BytesIO(data)))
    return [
        (chunk.header.name, data[chunk.header.data_offset : chunk.header.end])
        for chunk in found
        if chunk.whole and chunk.header.name != chunks.MAP_NAME
    ]


def join(parts: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Make a file of chunks, without padding, and its map."""
    out = bytearray()
    entries = []
    for name, payload in parts:
        entries.append((name, len(out), len(payload)))
        out += chunks.HEADER.pack(chunks.MAGIC, len(name), len(payload)) + name + payload
    position = len(out)
    tail = chunks.TAIL.pack(chunks.MAP_SIGNATURE, position)
    body = b"".join(name + at.to_bytes(8, "little") + size.to_bytes(8, "little") for name, at, size in entries)
    body += tail + tail
    out += chunks.HEADER.pack(chunks.MAGIC, len(chunks.MAP_NAME), len(body)) + chunks.MAP_NAME
    return bytes(out + body)


def mutate_chunk(data: bytes, choose: int, mutate: Callable[[bytes], bytes]) -> bytes:
    """Change the data of one chunk, and rewrite its header and the map; a file without a chunk is changed as it is."""
    parts = split(data)
    if not parts:
        return mutate(data)
    place = choose % len(parts)
    parts[place] = (parts[place][0], mutate(parts[place][1]))
    return join(parts)


@cache
def seeds() -> tuple[tuple[str, bytes], ...]:
    """Return pairs of target and input."""
    tree = {"SLxA": {"uiA": 1, "wsB": "text", "dC": 0.5, "baD": b"\1\2", "e": {"i0000000000": True}}}
    whole = [(target, data) for data in files() for target in ("file", "rescue", "references", "frames", "validate")]
    decoders = [
        ("lite", clx_lite.encode(tree)),
        ("lite", compressed(tree)),
        ("xml", clx_xml.encode(tree)),
        ("map", files()[0][-700:]),
        ("scan", files()[0]),
        ("boxes", _box_file()),
    ]
    for name, data in split(files()[0]) + split(files()[2]):
        if not name.startswith(chunks.FRAME_PREFIX):
            decoders.append(("xml" if data[:1] == b"<" else "lite", data))
    return tuple(whole + decoders)


def _box_file() -> bytes:
    from nd2._core.format import jp2
    from tests import boxes

    size = jp2.ImageSize(4, 4, 1, 16)
    parts = [jp2.SIGNATURE, boxes.encode_image_header(size), boxes.encode_box(b"xml ", b"<variant/>")]
    return b"".join([*parts, boxes.encode_map([(b"xml ", b"AIM1", len(parts[0]) + len(parts[1]))])])
