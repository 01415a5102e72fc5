"""Chunks that a file may have, encoded by hand: recorded data, events, binary layers; for ``build(chunks=...)``."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.format import clx_lite, clx_xml
from nd2._core.format.clx_lite import I32, U32, Items

if TYPE_CHECKING:
    from collections.abc import Mapping


def recorded(columns: Mapping[str, tuple[str, str, Any]]) -> dict[bytes, bytes]:
    """Return the chunks of a recorded-data table: identifier -> title, unit, values."""
    tags, chunks = {}, {}
    for i, (identifier, (title, unit, values)) in enumerate(columns.items()):
        if isinstance(values[0], str):
            kind, data = 1, b"".join(v.encode("utf-16-le").ljust(512, b"\0") for v in values)
        else:
            array = np.asarray(values)
            kind = 3 if array.dtype.kind == "f" else 2
            data = array.astype("<f8" if kind == 3 else "<i4").tobytes()
        size = I32(len(values))
        tags[f"Tag{i}"] = {
            "ID": identifier,
            "Type": I32(kind),
            "Group": I32(1),
            "Size": size,
            "Desc": title,
            "Unit": unit,
        }
        chunks[f"CustomData|{identifier}!".encode()] = data
    table = clx_xml.encode({"CustomTagDescription_v1.0": tags})
    return {b"CustomDataVar|CustomDataV2_0!": table, **chunks}


def events_chunk(*events: dict[str, Any]) -> dict[bytes, bytes]:
    record = {"RLxExperimentRecord": {"uiCount": U32(len(events)), "pEvents": list(events)}}
    return {b"CustomData|ExperimentEventsV1_0!": clx_lite.encode(record)}


def runs(mask: np.ndarray[Any, Any], *, version: int = 3) -> bytes:
    """Encode a mask as run lengths, by hand."""
    words: list[int] = []
    labels = [int(label) for label in np.unique(mask) if label]
    for label in labels:
        rows = []
        for y in np.flatnonzero((mask == label).any(axis=1)):
            edges = np.flatnonzero(np.diff(np.r_[0, mask[y] == label, 0]))
            spans = [(int(a), int(b - a)) for a, b in edges.reshape(-1, 2)]
            rows.append([int(y), len(spans), *(n for span in spans for n in span)])
        body = [n for row in rows for n in row]
        words += [label, 0, 0, 0, 0, 36 + 4 * len(body), len(rows), 0, 0, *([0, 0] * (version == 2))]
        words += body
    height, width = mask.shape
    block = struct.pack(f"<{7 + len(words)}I", version, width, height, len(labels), 0, 0, 0, *words)
    return struct.pack("<I", len(block)) + zlib.compress(block)


def layer_table(*tags: str) -> bytes:
    pairs = [
        (
            "BinaryItem",
            Items(
                [
                    ("uiBinLayerID", U32(i + 1)),
                    ("uiState", U32(0x80000)),
                    ("uiColor", U32(255)),
                    ("strName", f"layer {i}"),
                    ("strCompName", "Channel 0"),
                    ("uiCompOrder", U32(2)),
                    ("strFileTag", tag),
                    ("uiColorMode", U32(8)),
                ]
            ),
        )
        for i, tag in enumerate(tags)
    ]
    return clx_xml.encode(Items([("BinaryMetadata_v1", Items(pairs))]))


TAG = "RleZipBinarySequence_1_v1"
