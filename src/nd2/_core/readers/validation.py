"""Chunk maps of files in which bytes were lost or inserted: every position is checked.

The map, every frame and every other chunk must start with the magic number and with its own name. A
chunk that does not is looked for around its place. What is not found counts as missing, with a warning.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nd2._core import errors
from nd2._core.format import chunks
from nd2._core.readers.chunk_file import ChunkFile, read_map_chunk, read_map_position

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.io import ByteSource

_BATCH = 8192
"""Headers that are read at once."""
_MAX_MISSES = 200
"""Chunks in a row that are searched for in vain, before those behind them count as missing as well."""


def validated_file(source: ByteSource, radius: int) -> ChunkFile:
    """Return the chunks of a file, each looked for within ``radius`` bytes of its place in the map."""
    return ChunkFile(source, partial(_read_validated_map, radius=radius))


def _read_validated_map(source: ByteSource, radius: int) -> chunks.ChunkMap:
    """Read the chunk map, with the place of each chunk in the file instead of that in the map."""
    return _Search(source, radius).read_map()


class _Search:
    """Looks for chunks near the places where they should be."""

    def __init__(self, source: ByteSource, radius: int) -> None:
        self.source, self.radius = source, radius

    def read_map(self) -> chunks.ChunkMap:
        found = self._read_map_near_its_place()
        names = [chunks.frame_name(index) for index in found.frame_index.tolist()]
        frames = self._relocate(names, found.frame_position.astype(np.int64))
        lost = np.flatnonzero(frames < 0)
        if len(lost):
            some = ", ".join(map(str, np.sort(found.frame_index[lost])[:10].tolist()))
            warnings.warn(
                f"{len(lost)} of {len(names)} frames were not found and count as missing "
                f"(frames {some}{' ...' if len(lost) > 10 else ''}; file {self.source.url!r})",
                stacklevel=2,
            )
        kept = frames >= 0
        position = frames[kept].astype(np.uint64)
        # A length that equals the position means "unknown": it stays so.
        unknown = found.frame_size[kept] == found.frame_position[kept]
        # A position that no file reaches becomes negative.
        places = np.array([at for at, _ in found.others.values()], np.uint64).astype(np.int64)
        moved = self._relocate(list(found.others), places).tolist()
        others = {
            name: (where, size)
            for (name, (_, size)), where in zip(found.others.items(), moved, strict=True)
            if where >= 0
        }
        return replace(
            found,
            frame_index=found.frame_index[kept],
            frame_position=position,
            frame_size=np.where(unknown, position, found.frame_size[kept]),
            others=others,
        )

    def _read_map_near_its_place(self) -> chunks.ChunkMap:
        stated = read_map_position(self.source)
        position = int(self._relocate([chunks.MAP_NAME], np.array([stated], np.int64))[0])
        if position < 0:
            raise errors.corrupt(
                f"there is no chunk map within {self.radius} bytes of its place",
                path=self.source.url,
                chunk=chunks.MAP_NAME,
                offset=stated,
            )
        return read_map_chunk(self.source, position)

    def _relocate(self, names: list[bytes], stated: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where chunks start; -1 for those that are neither in their place nor near it."""
        order = np.argsort(stated, kind="stable")
        names, stated = [names[k] for k in order.tolist()], stated[order]
        here = self._starts(names, stated)
        found = np.where(here, stated, -1)
        lost = np.flatnonzero(~here)
        misses = 0
        while len(lost) and misses < _MAX_MISSES:
            first, rest = int(lost[0]), lost[1:]
            place = self._search(names[first], int(stated[first]))
            misses = misses + 1 if place is None else 0
            if place is not None:
                found[first] = place
                # What follows is shifted by as much, up to the next place where bytes are missing or too many.
                shift = place - stated[first]
                for some in (rest[:1], rest[1:]):
                    moved = self._starts([names[k] for k in some.tolist()], stated[some] + shift)
                    found[some[moved]] = stated[some[moved]] + shift
                    if not moved.any():
                        break
            lost = rest[found[rest] < 0]
        result = np.empty_like(found)
        result[order] = found
        return result

    def _starts(self, names: list[bytes], positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether the chunk of each name starts at its position."""
        result = np.zeros(len(names), bool)
        least = chunks.HEADER.size
        for first in range(0, len(names), _BATCH):
            some = slice(first, first + _BATCH)
            expected = np.array(names[some])  # zero bytes behind the shorter ones
            width = least + expected.dtype.itemsize
            inside = (positions[some] >= 0) & (positions[some] + least < self.source.size)
            places = positions[some][inside].tolist()
            spans = [(place, min(width, self.source.size - place)) for place in places]
            heads = b"".join(part.ljust(width, b"\0") for part in self.source.read_many(spans))
            raw = np.frombuffer(heads, np.uint8).reshape(-1, width)
            magic = (raw[:, :4] == np.frombuffer(chunks.MAGIC_BYTES, np.uint8)).all(axis=1)
            text = expected[inside].view(np.uint8).reshape(-1, width - least)
            named = ((raw[:, least:] == text) | (text == 0)).all(axis=1)
            result[some][inside] = magic & named
        return result

    def _search(self, name: bytes, stated: int) -> int | None:
        """Return the place nearest to the stated one at which the chunk of a name starts."""
        size = self.source.size
        first = min(max(stated - self.radius, 0), size)
        stop = min(max(stated + self.radius, 0) + chunks.HEADER.size + len(name), size)
        data = self.source.read(first, max(stop - first, 0))
        found: list[int] = []
        at = data.find(chunks.MAGIC_BYTES)
        while at >= 0:
            if data.startswith(name, at + chunks.HEADER.size):
                found.append(first + at)
            at = data.find(chunks.MAGIC_BYTES, at + 1)
        return min(found, key=lambda place: abs(place - stated), default=None)
