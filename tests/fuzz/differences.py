"""Differential fuzzing: this package and nd2 0.12.0 (``.venv-oracle``, made by ``make oracle``) read mutated files.

Mutations know the structure: values in metadata trees, names, numbers and sizes of chunks, entries of the chunk map. A
difference is a frame for which both packages return pixels, and not the same. Refusing a file or a frame that the
other reads, or the reverse, is counted, but is not a finding: this package checks more.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd2._core.format import chunks, clx_lite
from nd2._core.format.clx_lite import Items
from tests.fuzz import peer
from tests.fuzz.seeds import files, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ORACLE = Path(__file__).resolve().parents[2] / ".venv-oracle" / "bin" / "python"
Parts = list[tuple[bytes, bytes]]
_FRAME_NAME = chunks.PAGE - chunks.HEADER.size - chunks.TIMESTAMP
"""Length of the field of a frame's name: pixels start on the second page."""
_NUMBERS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 24, 32, 64, 255, 4096, 65535, 2**31 - 1, 2**32 - 1)


DIFFERENT = "DIFFERENT"
_DIED = {"error": "the process died"}


class Reader:
    """One of the packages in a separate process, which is started again if it dies."""

    def __init__(self, *python: str) -> None:
        self._python = python
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [*self._python, peer.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, path: Path) -> dict[str, Any]:
        """Return the results of the package for a file."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self.close()
        self._start()
        return _DIED

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def compare(mine: dict[str, Any], theirs: dict[str, Any]) -> tuple[str, str]:
    """Return the kind of result, and for a difference a description."""
    if mine == _DIED or "TimeoutError" in json.dumps(mine):
        return DIFFERENT, f"{mine} here"
    if "error" in mine or "error" in theirs:
        both = "error" in mine and "error" in theirs
        return ("both refuse" if both else "we refuse" if "error" in mine else "they refuse"), ""
    kinds: Counter[str] = Counter()
    for index, (a, b) in enumerate(zip(mine["frames"], theirs["frames"], strict=False)):
        good = a[0] in "<>|", b[0] in "<>|"
        if all(good) and a != b:
            return DIFFERENT, f"frame {index}: {a} here, {b} there"
        kinds["same" if all(good) else "a frame refused"] += 1
    return ("same" if set(kinds) <= {"same"} else "a frame refused"), ""


def _numbers(items: Items, path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """Return the places of all numbers in a tree."""
    found = []
    for index, (_, value) in enumerate(items):
        if isinstance(value, Items):
            found += _numbers(value, (*path, index))
        elif isinstance(value, (int, float)):
            found.append((*path, index))
    return found


def _change_value(rng: random.Random, parts: Parts) -> str:
    """Change one number of a metadata tree."""
    places = [i for i, (name, _) in enumerate(parts) if b"LV!" in name]
    index = rng.choice(places or [0])
    name, data = parts[index]
    try:
        tree: Any = clx_lite.decode_items(data) if places else Items()
    except ValueError:  # changed before
        tree = Items()
    numbers = _numbers(tree)
    if not numbers:
        return "nothing"
    *branch, leaf = rng.choice(numbers)
    items = tree
    for step in branch:
        items = items[step][1]
    key, value = items[leaf]
    new = rng.choice((*_NUMBERS, int(value) + 1, int(value) - 1, int(value) * 2))
    items[leaf] = (key, type(value)(max(new, 0)))
    with suppress(ValueError):  # a number that its type does not hold
        parts[index] = (name, clx_lite.encode(tree))
    return f"{name.decode()} {key}"


def _frames(parts: Parts) -> list[int]:
    return [i for i, (name, _) in enumerate(parts) if name.startswith(chunks.FRAME_PREFIX)]


def _change_frame(rng: random.Random, parts: Parts) -> str:
    """Shorten, lengthen, rename, drop, repeat or exchange frames."""
    frames = _frames(parts)
    if not frames:
        return "nothing"
    index = rng.choice(frames)
    name, data = parts[index]
    kind = rng.randrange(6)
    if kind == 0:
        parts[index] = (name, data[: rng.randrange(len(data) + 1)])
    elif kind == 1:
        parts[index] = (name, data + rng.randbytes(rng.randrange(1, 20)))
    elif kind == 2:
        number = rng.choice((b"0", b"1", b"2", b"3", b"01", b"9", b" 1", b"-1"))
        parts[index] = (chunks.FRAME_PREFIX + number + b"!", data)
    elif kind == 3:
        del parts[index]
    elif kind == 4:
        parts.append((name, rng.randbytes(len(data))))
    else:
        other = rng.choice(frames)
        parts[index], parts[other] = (name, parts[other][1]), (parts[other][0], data)
    return ("shorten", "lengthen", "rename", "drop", "repeat", "exchange")[kind] + " a frame"


def _flip_chunk(rng: random.Random, parts: Parts) -> str:
    """Change a byte in the data of a chunk."""
    index = rng.randrange(len(parts))
    name, data = parts[index]
    what = f"a byte of {name.decode('latin-1')}"
    if data:
        changed = bytearray(data)
        changed[rng.randrange(len(changed))] = rng.getrandbits(8)
        parts[index] = (name, bytes(changed))
        if b"LV!" in name:
            what = " ".join([what, *_changed_keys(data, bytes(changed))])
    return what


def _changed_keys(old: bytes, new: bytes) -> list[str]:
    """Return the keys of two trees whose values differ; none if a tree cannot be decoded."""
    try:
        trees = [clx_lite.decode_items(data) for data in (old, new)]
    except ValueError:
        return []
    before, after = (dict(_values(tree)) for tree in trees)
    return sorted({path[-1] for path in {*before, *after} if before.get(path) != after.get(path)})


def _values(items: Items, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path and the text of each value of a tree."""
    for index, (key, value) in enumerate(items):
        place = (*path, str(index), str(key))
        if isinstance(value, Items):
            yield from _values(value, place)
        else:
            yield place, repr(value)


def _flip_header(rng: random.Random, data: bytes, places: list[int]) -> tuple[bytes, str]:
    """Change a bit of a chunk's header, or of an entry of the map."""
    if rng.random() < 0.5:
        at = rng.choice(places) + rng.randrange(chunks.HEADER.size)
        what = "a bit of a header"
    else:
        at, what = rng.randrange(data.rindex(chunks.MAP_NAME), len(data)), "a bit of the map"
    changed = bytearray(data)
    changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed), what


def _pack(parts: Parts) -> tuple[bytes, list[int]]:
    """Make a file of chunks that start on pages, and the position of each; the peer reads no others."""
    out, places = bytearray(), []
    entries = []
    for name, data in parts:
        places.append(len(out))
        entries.append((name, len(out), len(data)))
        is_frame = name.startswith(chunks.FRAME_PREFIX)
        field = name.ljust(_FRAME_NAME if is_frame else len(name), b"\0")
        out += chunks.HEADER.pack(chunks.MAGIC, len(field), len(data)) + field + data
        out += bytes(-len(out) % chunks.PAGE)
    position = len(out)
    tail = chunks.TAIL.pack(chunks.MAP_SIGNATURE, position)
    body = b"".join(name + at.to_bytes(8, "little") + size.to_bytes(8, "little") for name, at, size in entries)
    head = chunks.HEADER.pack(chunks.MAGIC, len(chunks.MAP_NAME), len(body) + 2 * len(tail))
    return bytes(out + head + chunks.MAP_NAME + body + tail + tail), places


_CHANGES: tuple[Callable[[random.Random, Parts], str], ...] = (_change_value, _change_value, _change_frame, _flip_chunk)


def mutated(rng: random.Random) -> tuple[bytes, str]:
    """Return a changed file, and what was changed."""
    parts = list(split(rng.choice(files())))
    said = [rng.choice(_CHANGES)(rng, parts) for _ in range(rng.choice((0, 1, 1, 1, 2)))]
    data, places = _pack(parts)
    if not said:
        data, what = _flip_header(rng, data, places)
        said = [what]
    return data, " and ".join(said)


_KNOWN = ("uiWidth", "uiComp", "eCompression", "ImageMetadataSeqLV", "rename a frame", "a bit of a header")
"""Changes that are read differently, as is known.

Rows shorter than their pixels: Nikon's SDK reads them as this package does. Components that contradict the channels of
the metadata: the packages take the shape from different chunks. Compressed frames that the attributes call raw: the
peer returns the compressed bytes as pixels. Names such as ``ImageDataSeq|01!``: only numbers as
NIS-Elements writes them count here. Headers: the peer does not read those of frames.
"""


def run(folder: Path, seconds: float, seed: int) -> None:
    """Compare changed files until the time is up; keep each kind of difference, and write down the counts."""
    rng, here, there = random.Random(seed), Reader(sys.executable), Reader(str(ORACLE), "-I")
    path, status = folder / "compared.nd2", folder / "DIFFERENCES.json"
    runs: Counter[str] = Counter()
    findings: dict[str, str] = {}
    began = time.monotonic()
    try:
        while (passed := time.monotonic() - began) < seconds:
            data, what = mutated(rng)
            path.write_bytes(data)
            kind, text = compare(here.ask(path), there.ask(path))
            if kind == DIFFERENT and any(value in what for value in _KNOWN):
                kind = "known difference"
            runs[kind] += 1
            key = f"differences {what}"
            if kind == DIFFERENT and key not in findings:
                findings[key] = text
                name = f"difference-{hashlib.sha1(key.encode()).hexdigest()[:10]}.nd2"
                (folder / name).write_bytes(data)
            if sum(runs.values()) % 20 == 0:
                state = {"runs": runs, "findings": findings, "seconds": passed}
                status.write_text(json.dumps(state))
    finally:
        here.close()
        there.close()
