"""Files made to hurt: each claims more than it holds, or asks for more than it is worth."""

from __future__ import annotations

import base64
import json
import struct
import tempfile
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.format import chunks, clx_lite, clx_xml, jp2
from nd2._core.format.clx_lite import I32, U32
from tests import boxes
from tests.builder import build
from tests.fuzz.seeds import files, join, split

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = 0xFFFFFFFF


def _with(base: int, changes: Mapping[bytes, bytes]) -> bytes:
    """Return a seed with some chunks replaced or added."""
    parts = dict(split(files()[base]))
    return join((parts | dict(changes)).items())


def _built(**options: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nd2"
        build(path, **options)
        return join(split(path.read_bytes()))


def _lite_bomb(nbytes: int, claimed: int) -> bytes:
    return b"LV0Z" + struct.pack("<Q", claimed) + zlib.compress(bytes(nbytes))


def _dense_bomb() -> bytes:
    """A compressed tree of as many items as fit into its bytes."""
    count = 300_000
    payload = clx_lite.encode({"a": [False] * count})
    return b"LV0Z" + struct.pack("<Q", len(payload)) + zlib.compress(payload)


def _loops(*counts: int) -> bytes:
    tree: dict[str, Any] | None = None
    for count in reversed(counts):
        node: dict[str, Any] = {
            "eType": U32(1),
            "uLoopPars": {"uiCount": U32(count), "dPeriod": 1.0},
            "uiNextLevelCount": U32(0 if tree is None else 1),
        }
        if tree is not None:
            node["ppNextLevelEx"] = [tree]
        tree = node
    return clx_lite.encode({"SLxExperiment": tree or {}})


def _attributes(**values: int) -> bytes:
    names = ("uiWidth", "uiHeight", "uiComp", "uiBpcInMemory", "uiBpcSignificant", "eCompression")
    tree = dict(zip(names, (5, 3, 1, 16, 16, 2), strict=True)) | values
    return clx_lite.encode({"SLxImageAttributes": {key: I32(value) for key, value in tree.items()}})


def _layer(width: int, height: int, *numbers: int) -> dict[bytes, bytes]:
    item = {
        "FileTag": "RleZipBinarySequence_1_v1",
        "Name": "cells",
        "BinLayerID": U32(1),
        "BinWidth": U32(width),
        "BinHeight": U32(height),
    }
    block = np.array([3, width, height, *numbers], "<u4").tobytes()
    return {
        b"CustomDataVar|BinaryMetadata_v1!": clx_xml.encode({"BinaryMetadata_v1": {"i0000000000": item}}),
        b"CustomDataSeq|RleZipBinarySequence_1_v1|0!": struct.pack("<I", len(block)) + zlib.compress(block),
    }


def _columns(size: int) -> dict[bytes, bytes]:
    tag = {"ID": "X", "Type": I32(3), "Group": I32(1), "Size": I32(size), "Desc": "X", "Unit": ""}
    table = clx_xml.encode({"CustomTagDescription_v1.0": {"Tag0": tag}})
    return {b"CustomDataVar|CustomDataV2_0!": table, b"CustomData|X!": bytes(16)}


def _codestream(width: int, height: int, components: int) -> bytes:
    """The head of a codestream, and nothing behind it."""
    fields = (0, width, height, 0, 0, width, height, 0, 0, components)
    return b"\xff\x4f\xff\x51" + struct.pack(">HHIIIIIIIIH", 38 + 3 * components % 99, *fields) + b"\x0f\1\1"


def _legacy(width: int, height: int, count: int | None = None) -> bytes:
    parts = [jp2.SIGNATURE, boxes.encode_box(b"jp2c", _codestream(width, height, 1))]
    entries = [(b"jp2c", jp2.CODESTREAM, len(parts[0]))]
    end = bytearray(boxes.encode_map(entries))
    if count is not None:
        at = len(end) - jp2.TAIL.size - 16 - 4
        end[at : at + 4] = count.to_bytes(4, "big")
    return b"".join([*parts, end])


def _many(names: int) -> bytes:
    """A map that lists very many frames, all at one place."""
    body = b"".join(b"ImageDataSeq|%d!" % i + struct.pack("<QQ", 0, 0) for i in range(names))
    tail = chunks.TAIL.pack(chunks.MAP_SIGNATURE, 1)
    signature = chunks.encode_signature()
    head = chunks.HEADER.pack(chunks.MAGIC, len(chunks.MAP_NAME), len(body) + 2 * len(tail))
    tail = chunks.TAIL.pack(chunks.MAP_SIGNATURE, len(signature))
    return signature + head + chunks.MAP_NAME + body + tail + tail


def _entities() -> bytes:
    declared = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    return f'<!DOCTYPE v [<!ENTITY a0 "aaaaaaaaaa">{declared}]><variant><b value="&a9;"/></variant>'.encode()


@cache
def hostile() -> dict[str, bytes]:
    """Return the files by what is wrong with them."""
    stolen = b'<!DOCTYPE v [<!ENTITY x SYSTEM "file:///etc/passwd">]><variant><b>&x;</b></variant>'
    signature = chunks.encode_signature()
    roi = {"RoiMetadata_v1": {f"{kind}_Count": U32(_MOST) for kind in ("Global", "2D", "3D")}}
    event = {"RLxExperimentRecord": {"uiCount": U32(_MOST), "pEvents": []}}
    raster = [{"BinLayerID": 1, "TileWidth": 1 << 30, "TileHeight": 1 << 30, "Name": "a"}]
    attributes = b"ImageAttributesLV!"
    picture = b"ImageMetadataSeqLV|0!"
    experiment = b"ImageMetadataLV!"
    form = b"CustomData|CustomDescriptionV1_0!"
    deep: Any = "end"
    for _ in range(98):
        deep = [deep]
    return {
        "width and height": _with(0, {attributes: _attributes(uiWidth=1 << 30, uiHeight=1 << 30)}),
        "one long row": _with(0, {attributes: _attributes(uiWidth=(1 << 31) - 1, uiHeight=1)}),
        "compressed and large": _with(4, {attributes: _attributes(uiWidth=4000, uiHeight=4000, eCompression=0)}),
        "components": _with(0, {attributes: _attributes(uiComp=65536)}),
        "channels": _with(0, {attributes: _attributes(uiComp=65536), picture: clx_lite.encode({"a": 1})}),
        "row bytes": _with(0, {attributes: _attributes(uiWidthBytes=(1 << 31) - 1)}),
        "significant bits": _with(0, {attributes: _attributes(uiBpcSignificant=(1 << 31) - 1)}),
        "frame count": _with(0, {attributes: _attributes(uiSequenceCount=(1 << 31) - 1)}),
        "loop of 2**32": _with(0, {experiment: _loops(_MOST)}),
        "nested loops": _with(0, {experiment: _loops(*[60_000] * 8)}),
        "loops that are just plausible": _with(0, {experiment: _loops(160, 200)}),
        "missing frames": join(
            [
                (chunks.FILE_SIGNATURE, b"Ver3.0".ljust(64, b"\0")),
                (experiment, _loops(30_000)),
                (attributes, _attributes(uiWidth=1000, uiHeight=1000)),
            ]
        ),
        "frame number": _with(0, {b"ImageDataSeq|999999999999999!": bytes(38)}),
        "many frames in one place": _many(30_000),
        "inflated tree": _with(0, {picture: _lite_bomb(100 << 20, 100 << 20)}),
        "inflated tree that lies": _with(0, {picture: _lite_bomb(10, 1 << 62)}),
        "dense tree": _with(0, {form: _dense_bomb()}),
        "deep tree": _with(0, {picture: clx_lite.encode({"a": deep})}),
        "deep XML": _with(2, {b"ImageMetadataSeq|0!": b"<a>" * 50_000}),
        "wide XML": _with(2, {b"ImageMetadataSeq|0!": b"<variant>" + b"<a/>" * 10_000}),
        "entities": _with(2, {b"ImageMetadataSeq|0!": _entities()}),
        "foreign file": _with(2, {b"ImageMetadataSeq|0!": stolen}),
        "inflated frames": _with(4, {b"ImageDataSeq|0!": bytes(8) + zlib.compress(bytes(50 << 20))}),
        "inflated frame, no attributes": join(
            [
                (chunks.FILE_SIGNATURE, b"Ver3.0".ljust(64, b"\0")),
                (b"ImageDataSeq|0!", bytes(8) + zlib.compress(bytes(200 << 20))),
            ]
        ),
        "inflated JSON": _with(
            0, {b"CustomData|WellPlateFrameInfoZJSON!": zlib.compress(b"[" + b"[]," * 3_000_000 + b"1]")}
        ),
        "deep JSON": _with(0, {b"CustomData|WellPlateDescJSON_0!": b"[" * 200_000}),
        "recorded columns": _with(0, _columns((1 << 31) - 1)),
        "negative column": _with(0, _columns(-(1 << 31))),
        "events": _with(0, {b"CustomData|ExperimentEventsV1_0!": clx_lite.encode(event)}),
        "regions": _with(0, {b"CustomData|RoiMetadata_v1!": clx_lite.encode(roi)}),
        "mask size": _with(0, _layer(1 << 31, 1 << 31, 1, 0, 0, 0, 0)),
        "mask runs": _with(0, _layer(5, 3, _MOST, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, _MOST, 0, _MOST)),
        "mask bomb": _with(
            0,
            {
                **_layer(5, 3, 0),
                b"CustomDataSeq|RleZipBinarySequence_1_v1|0!": struct.pack("<I", 100 << 20)
                + zlib.compress(bytes(100 << 20)),
            },
        ),
        "raster tiles": _with(0, {b"CustomData|BinaryMetadata_v2!": json.dumps(raster).encode()}),
        "base64": _with(
            2,
            {
                b"CustomDataVar|A!": b'<variant><a runtype="CLxByteArray" value="'
                + base64.b64encode(bytes(9000))
                + b'"/></variant>'
            },
        ),
        "magic numbers only": signature + chunks.MAGIC_BYTES * 5000,
        "heads only": signature + (chunks.HEADER.pack(chunks.MAGIC, 15, 1 << 62) + b"ImageDataSeq|0!") * 1000,
        "chunks within chunks": signature
        + b"".join(chunks.HEADER.pack(chunks.MAGIC, 15, 31 * (1000 - i)) + b"ImageDataSeq|0!" for i in range(1000)),
        "map that is itself": signature
        + chunks.HEADER.pack(chunks.MAGIC, len(chunks.MAP_NAME), 1 << 63)
        + chunks.MAP_NAME
        + chunks.TAIL.pack(chunks.MAP_SIGNATURE, len(signature)),
        "codestream size": _legacy(1 << 31, 1 << 31),
        "codestream of a megapixel": _legacy(1 << 15, 1 << 10),
        "box map count": _legacy(16, 12, _MOST),
    }
