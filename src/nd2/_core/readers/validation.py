"""Chunk maps of files in which bytes were lost or inserted: every position is checked.

The map, every frame and every other chunk must start with the magic number and with its own name. A
chunk that does not is searched for around its stated position. One that is not found counts as
missing, with a warning.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nd2._core import errors
from nd2._core.format import chunks
from nd2._core.format.inflate import inflate
from nd2._core.readers.chunk_file import ChunkFile, read_map_chunk, read_map_position
from nd2._core.values import cached_property

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.format.pixels import PixelLayout
    from nd2._core.frames.read import Frames
    from nd2._core.io import ByteSource

_BATCH = 8192
"""Headers that are read at once."""
_MAX_MISSES = 200
"""Chunks in a row that are searched for in vain, before those behind them count as missing as well."""
_MIN_ZEROS = 16
"""Zeros at the start of padding, if bytes were inserted in it."""
_WINDOW = 64
"""Bytes around the end of a frame's pixels that show whether the padding begins where it should."""


class ValidatedFile(ChunkFile):
    """Looks for chunks within ``radius`` bytes of their places in the map, and for frames that lost or gained bytes."""

    def __init__(self, source: ByteSource, radius: int) -> None:
        super().__init__(source)
        self.radius = radius
        self._changes: dict[int, tuple[int, bool]] = {}
        self._total = 0

    @cached_property
    def chunk_map(self) -> chunks.ChunkMap:
        """The chunk map, with the place of each chunk in the file instead of that in the map."""
        stated, chunk_map = self._read_map_near_its_place()
        index, frame_place = chunk_map.frame_index, chunk_map.frame_position.astype(np.int64)
        self._total = len(index)
        frames = self._relocate([chunks.frame_name(i) for i in index.tolist()], frame_place)
        if (frames < 0).any():
            self._warn("not found", index[frames < 0])
        # A position that no file reaches becomes negative.
        places = np.array([at for at, _ in chunk_map.others.values()], np.uint64).astype(np.int64)
        moved = self._relocate(list(chunk_map.others), places)
        self._compare_distances(
            index,
            np.concatenate([frame_place, places, [stated]]),
            np.concatenate([frames, moved, [chunk_map.position]]),
        )
        kept = frames >= 0
        position = frames[kept].astype(np.uint64)
        # A length that equals the position means "unknown": it stays so.
        unknown = chunk_map.frame_size[kept] == chunk_map.frame_position[kept]
        others = {
            name: (place, size)
            for (name, (_, size)), place in zip(chunk_map.others.items(), moved.tolist(), strict=True)
            if place >= 0
        }
        return replace(
            chunk_map,
            frame_index=index[kept],
            frame_position=position,
            frame_size=np.where(unknown, position, chunk_map.frame_size[kept]),
            others=others,
        )

    def _compare_distances(self, index: NDArray[np.int64], stated: NDArray[np.int64], found: NDArray[np.int64]) -> None:
        """Note which frames are longer or shorter than in the map: bytes were inserted or lost in them.

        The chunks of the frames ``index`` come first in the positions.
        """
        order = np.argsort(stated, kind="stable")
        rank = np.flatnonzero(found[order] >= 0)
        order = order[rank]
        change, adjacent = np.diff((found - stated)[order]), np.diff(rank) == 1
        # Entries that the map has in another order than the file do not show lengths.
        follows = np.diff(np.argsort(np.argsort(found[order]))) == 1
        for k in np.flatnonzero(change * follows).tolist():
            if order[k] < len(index):
                self._changes[int(index[order[k]])] = int(change[k]), bool(adjacent[k])

    def locate_frames(self, count: int, pixels: PixelLayout) -> Frames:
        """Find the stored bytes of the frames; those that lost or gained bytes count as missing."""
        frames = super().locate_frames(count, pixels)
        table, raw = frames.table, frames.pixels.codec == "raw"
        lengths = table.lengths.copy()
        damaged = [frame for frame in self._changes if not self._is_sound(frames, frame)]
        if raw:
            short = (lengths > 0) & (lengths < pixels.frame_bytes)
            damaged += np.flatnonzero(short).tolist()
        if not damaged:
            return frames
        lengths[damaged] = 0
        self._warn("cut, or hold other bytes", np.unique(damaged))
        return replace(frames, table=replace(table, lengths=lengths))

    def _is_sound(self, frames: Frames, frame: int) -> bool:
        """Return whether bytes were lost or inserted only behind the pixels of a frame, in its padding.

        The checksum decides for compressed pixels. Other pixels are sound if they do not end in zeros and
        zeros follow: then the padding begins where it should. Inserted bytes must show in the padding.
        """
        offset, length = frames.table.location(frame)
        nbytes = frames.pixels.frame_bytes
        if frames.pixels.codec == "zlib":
            try:
                inflate(self.source.read(offset, length), nbytes)
            except ValueError:
                return False
            return True
        if length < nbytes:
            return False
        change, adjacent = self._changes[frame]
        padding = chunks.page_up(nbytes) - nbytes + (change if adjacent else 0)
        end, after = offset + nbytes, min(padding, self.source.size - offset - nbytes)
        if after <= 0:
            return False
        window = min(_WINDOW, abs(change), nbytes)
        data = self.source.read(end - window, window + after)
        zeros = window + min(after, _WINDOW if change < 0 else _MIN_ZEROS)
        begins = any(data[:window]) and not any(data[window:zeros])
        return begins and (change < 0 or any(data[zeros:]))

    def _warn(self, what: str, frames: NDArray[np.int64]) -> None:
        some = ", ".join(map(str, np.sort(frames)[:10].tolist()))
        warnings.warn(
            f"{len(frames)} of {self._total} frames are {what}, and count as missing "
            f"(frames {some}{' ...' if len(frames) > 10 else ''}; file {self.source.url!r})",
            stacklevel=4,
        )

    def _read_map_near_its_place(self) -> tuple[int, chunks.ChunkMap]:
        """Return where the map should be, and the map."""
        stated = read_map_position(self.source, slack=self.radius)
        position = int(self._relocate([chunks.MAP_NAME], np.array([stated], np.int64))[0])
        if position < 0:
            raise errors.corrupt(
                f"there is no chunk map within {self.radius} bytes of its place",
                path=self.source.url,
                chunk=chunks.MAP_NAME,
                offset=stated,
            )
        return stated, read_map_chunk(self.source, position)

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
                # The following frames are shifted by as much, up to the next place where bytes are missing or too many.
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
        lengths = b".{%d}" % (chunks.HEADER.size - len(chunks.MAGIC_BYTES))
        header = re.compile(re.escape(chunks.MAGIC_BYTES) + lengths + re.escape(name), re.DOTALL)
        found = (first + match.start() for match in header.finditer(data))
        return min(found, key=lambda place: abs(place - stated), default=None)
