"""A part of each frame: some rows, columns and channels, and the metadata that describe them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.format import chunks
from nd2._core.format.clx_lite import U32, Items
from nd2._core.format.pixels import PixelLayout, padded_row_bytes
from nd2._core.values import record
from nd2._core.write.compression import BackgroundCompression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from nd2._core.format.pixels import Codec
    from nd2._core.frames.plan import Picks
    from nd2._core.readers import Reader
    from nd2._core.write.copy import Pick
    from nd2._core.write.stream import ChunkStream

AXES = ("C", "Y", "X")
_BLOCK = 16 << 20
"""Bytes of pixels that are read at once."""
_PLANES = ("sPlaneNew", "sPlane")


@record
class Region:
    """Rows, columns and channels to keep.

    Attributes
    ----------
    pixels : PixelLayout
        Layout of the frames of the new file.
    channels : tuple of int
        Channels, in increasing order.
    rows, columns : range
        Rows and columns, of step 1.
    moved : bool
        Whether rows or columns are left out.
    """

    pixels: PixelLayout
    channels: tuple[int, ...]
    rows: range
    columns: range
    moved: bool

    @classmethod
    def from_picks(cls, reader: Reader, picks: Mapping[str, Pick | None]) -> Region | None:
        """Return the region for indices on C, Y and X; None for whole frames.

        Raises
        ------
        IndexError
            If an index is out of range.
        ValueError
            If nothing is left, rows or columns are not contiguous, or channels not in increasing order.
        """
        old = reader.frames.pixels
        channels = tuple(pick_indices("axis 'C'", old.channels, picks.get("C")).tolist())
        rows, columns = (_span(axis, size, picks.get(axis)) for axis, size in (("Y", old.height), ("X", old.width)))
        moved = (len(rows), len(columns)) != (old.height, old.width)
        if not moved and len(channels) == old.channels:
            return None
        components = len(channels) * old.samples
        pixels = replace(
            old,
            height=len(rows),
            width=len(columns),
            channels=len(channels),
            row_bytes=padded_row_bytes(len(columns), components, old.dtype.itemsize),
            codec="zlib" if reader.attributes.compressionType == "lossless" else "raw",
        )
        return cls(pixels, channels, rows, columns, moved)

    @property
    def picks(self) -> Picks:
        """Positions on C, Y, X and S to read."""
        return np.array(self.channels), self.rows, self.columns, range(self.pixels.samples)

    @property
    def attributes(self) -> dict[str, Any]:
        """Values of the image attributes that differ."""
        width, height = U32(self.pixels.width), U32(self.pixels.height)
        components = U32(self.pixels.channels * self.pixels.samples)
        return {
            "uiWidth": width,
            "uiTileWidth": width,
            "uiWidthBytes": U32(self.pixels.row_bytes),
            "uiHeight": height,
            "uiTileHeight": height,
            "uiComp": components,
            "uiVirtualComponents": components,
        }

    def pick_planes(self, stored: Items) -> Items:
        """Return stored picture metadata with the planes of the channels."""
        counts = {"uiCount": U32(self.pixels.channels), "uiCompCount": U32(self.pixels.channels * self.pixels.samples)}
        items = Items()
        for name, value in stored:
            if isinstance(value, Items):
                value = self._pick(value, counts) if name == "sPicturePlanes" else self.pick_planes(value)
            if value is not None:  # XML metadata may have items without a value
                items.append((name, value))
        return items

    def _pick(self, level: Items, counts: Mapping[str, Any]) -> Items:
        """Return the level of the planes with the chosen ones, renumbered."""
        items = Items()
        for name, value in level:
            if name in _PLANES and isinstance(value, Items):
                planes = [plane for plane in value if isinstance(plane[1], Items)]
                kept = [planes[i][1] for i in self.channels if i < len(planes)]
                names = [plane[0] for plane in planes]
                value = Items(zip(names, kept, strict=False))
            if value is not None:
                items.append((name, counts.get(name, value)))
        return items


def pick_indices(axis: str, size: int, pick: Pick | None) -> NDArray[np.intp]:
    """Return the chosen indices on a loop or axis, in increasing order."""
    if pick is None:
        return np.arange(size)
    if isinstance(pick, slice):
        found = np.arange(size)[pick]
    else:
        given = np.atleast_1d(np.asarray(pick))
        if given.size and given.dtype.kind not in "iu":
            raise TypeError(f"the selection of {axis} must be integers or a slice, not {pick!r}")
        wrong = given[(given < -size) | (given >= size)]
        if len(wrong):
            raise IndexError(f"index {wrong[0]} is out of range for {axis} of size {size}")
        found = np.where(given < 0, given + size, given).astype(np.intp)
    if not len(found):
        raise ValueError(f"the selection of {axis} of size {size} is empty")
    if (np.diff(found) <= 0).any():
        raise ValueError(f"the indices of {axis} must be in increasing order")
    return found


def _span(axis: str, size: int, pick: Pick | None) -> range:
    """Return chosen rows or columns, which must be contiguous."""
    found = pick_indices(f"axis {axis!r}", size, pick).tolist()
    if found[-1] - found[0] + 1 != len(found):
        raise ValueError(f"the selection of axis {axis!r} must be contiguous: pixels in between cannot be left out")
    return range(found[0], found[-1] + 1)


def copy_parts(reader: Reader, stream: ChunkStream, frames: NDArray[np.intp], region: Region) -> None:
    """Copy a part of each frame with its timestamp; missing frames stay missing."""
    stamp = chunks.TIMESTAMP
    offsets, lengths = reader.frames.table.locations(frames)
    present = np.flatnonzero(lengths)
    count = max(_BLOCK // max(region.pixels.frame_bytes, 1), 1)
    with _frame_writer(stream, region.pixels.codec) as write:
        for first in range(0, len(present), count):
            part = present[first : first + count]
            spans = [(offset - stamp, stamp) for offset in offsets[part].tolist()]
            stamps = reader.source.read_many(spans)
            pixels = reader.frames.read(frames[part], region.picks)
            for number, head, frame in zip(part.tolist(), stamps, pixels, strict=True):
                write(number, bytes(head), memoryview(region.pixels.encode(frame)))


@contextmanager
def _frame_writer(stream: ChunkStream, codec: Codec) -> Iterator[Callable[[int, bytes, memoryview], None]]:
    """Yield a function that writes a frame, compressed in the background if the file is compressed."""
    if codec == "raw":
        yield stream.append_frame
        return
    compression = BackgroundCompression(stream.append_frame, lambda _: None)
    try:
        yield compression.submit
    finally:
        compression.wait()
    if compression.failure is not None:
        raise compression.failure
