"""Benchmarks of metadata: opening, channels, loops, the table of events, the metadata of each frame.

Each piece of work is done once before the clock starts, and then several times: what counts is the reading of a file,
not the loading of modules.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.files import CACHE
from bench.harness import Case
from nd2._core.format import chunks, clx_xml
from nd2._core.format.clx_lite import I32
from tests.builder import build
from tests.samples import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = ("X", "Y", "Z", "Z1", "Camera_ExposureTime1", "CameraTemp1", "PFS_OFFSET", "PFS_STATUS")


def _recorded(count: int) -> dict[bytes, bytes | None]:
    """Return the chunks of a recorded-data table as a microscope fills it."""
    tags, made = {}, {}
    for i, name in enumerate(COLUMNS):
        whole = name.startswith("PFS")
        tags[f"Tag{i}"] = {
            "ID": name,
            "Type": I32(2 if whole else 3),
            "Group": I32(1),
            "Size": I32(count),
            "Desc": name,
            "Unit": "" if whole else "µm",
        }
        values = np.arange(count, dtype="<i4" if whole else "<f8")
        made[f"CustomData|{name}!".encode()] = values.tobytes()
    table = clx_xml.encode({"CustomTagDescription_v1.0": tags})
    return {b"CustomDataVar|CustomDataV2_0!": table, **made}


@cache
def _file(name: str, loops: Sequence[tuple[str, int]]) -> str:
    """Write a file whose frames are in the chunk map only: nothing here reads pixels."""
    path = CACHE / f"metadata_{name}.nd2"
    if path.exists():
        return str(path)
    CACHE.mkdir(parents=True, exist_ok=True)
    count = int(np.prod([n for _, n in loops]))
    part = path.with_suffix(".part")
    build(part, loops=loops, missing=frozenset(range(1, count)), chunks=_recorded(count))
    data = part.read_bytes()
    end = chunks.parse_tail(data[-chunks.TAIL.size :], len(data), path=str(part))
    header = chunks.parse_header(data[end : end + 4096], end)
    found = chunks.parse_map(data[header.data_offset : header.end], end, path=str(part))
    frame = int(found.frame_size[0])
    stride = chunks.page_up(chunks.PAGE + frame)
    entries = [(key, at, size) for key, (at, size) in found.others.items()]
    entries += [(chunks.frame_name(i), end + i * stride, frame) for i in range(1, count)]
    entries.append((chunks.frame_name(0), int(found.frame_position[0]), frame))
    with part.open("r+b") as handle:
        handle.seek(end + count * stride)  # leaves a hole, which takes no space on the disk
        handle.write(chunks.encode_map(entries, handle.tell()))
    part.rename(path)
    return str(path)


LARGE = (("T", 100_000),)
POSITIONS = (("T", 4), ("P", 500), ("Z", 3))

_DEFINE = """
import nd2
from pathlib import Path
def look(path, orient):
    with nd2.ND2File(path) as f:
        f.metadata, f.experiment, f.attributes, f.sizes, f.events(orient=orient)
files = [FILE] if FILE.endswith(".nd2") else sorted(Path(FILE).glob("*.nd2"))
for file in files[:1]:
    look(file, "list"), look(file, "records")
"""
_FRAMES = """
import nd2
f = nd2.ND2File(FILE)
f.frame_metadata(0)
"""


def _look(title: str, file: str, orient: str, times: int) -> Case:
    run = f"for _ in range({times}):\n    for file in files: look(file, {orient!r})"
    return Case(title, run, file, _DEFINE, per=times, time_goal=0.5)


CASES = [
    *(
        _look(f"open, metadata, experiment, events ({orient}), {title}", file, orient, times)
        for title, file, times in (
            ("7 real files", str(SAMPLES / "real"), 10),
            ("100,000 frames", _file("100000", LARGE), 1),
            ("500 positions, 6,000 frames", _file("500", POSITIONS), 5),
        )
        for orient in ("list", "records")
        if Path(file).exists()
    ),
    Case(
        "frame_metadata, each of 5,000 frames of 100,000",
        "for i in range(5000): f.frame_metadata(i)",
        _file("100000", LARGE),
        _FRAMES,
        per=5000,
        time_goal=0.5,
    ),
    Case(
        "frame_metadata, each of 6,000 frames at 500 positions",
        "for i in range(6000): f.frame_metadata(i)",
        _file("500", POSITIONS),
        _FRAMES,
        per=6000,
        time_goal=0.5,
    ),
    Case(
        "unstructured_metadata, custom_data, 7 real files",
        "for _ in range(5):\n    for file in files:\n"
        "        with nd2.ND2File(file) as f: f.unstructured_metadata(), f.custom_data",
        str(SAMPLES / "real"),
        _DEFINE,
        per=5,
    ),
]
