"""Reading files whose chunk map, head or attributes are lost: chunks are found by a scan, and what is lost is said."""

from __future__ import annotations

import math
import warnings
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.chunks import picture_metadata
from nd2._core.format import chunks, jp2
from nd2._core.format.inflate import MAX_RATIO, inflate
from nd2._core.format.scan import collect, scan_chunks
from nd2._core.frames import pool
from nd2._core.frames.layout import max_frames
from nd2._core.frames.read import Frames
from nd2._core.frames.table import FrameTable
from nd2._core.readers import geometry
from nd2._core.readers.legacy import LegacyReader
from nd2._core.readers.located import is_stored_raw
from nd2._core.readers.modern import OPENING, ModernReader
from nd2._core.structures import CustomLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from numpy.typing import NDArray

    from nd2._core.format.pixels import PixelLayout
    from nd2._core.format.scan import Found
    from nd2._core.io import ByteSource
    from nd2._core.structures import Attributes, ExpLoop

_SAMPLE_BYTES = 8 << 20
_SMALL_FRAME = 32 << 20
"""A frame that inflates to more than this, and by a high ratio, is not taken for the pattern of all others."""


@dataclass(frozen=True, slots=True)
class RescueReport:
    """What a rescue found, and what it did not.

    Attributes
    ----------
    frame_count : int
        Number of frames that are whole.
    damaged_frames : tuple of int
        Sequence indices of frames of which only a part is there, or which cannot be decompressed. They count as missing.
    missing_frames : int
        Number of frames that the loops reach and that are not whole, those that were never acquired included.
    lost : tuple of str
        What else is lost, one sentence each.
    """

    frame_count: int
    damaged_frames: tuple[int, ...]
    missing_frames: int
    lost: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{self.frame_count} frames are whole"]
        if self.damaged_frames:
            some = ", ".join(map(str, self.damaged_frames[:10]))
            more = " ..." if len(self.damaged_frames) > 10 else ""
            parts.append(f"{len(self.damaged_frames)} are cut or damaged ({some}{more})")
        if self.missing_frames:
            parts.append(f"{self.missing_frames} of those that the loops reach are missing")
        return "; ".join([*parts, *self.lost])


def open_rescued(source: ByteSource, *, flat_frames: bool = False) -> RescuedReader | LegacyReader:
    """Return a reader for what is left of a file; warns if something is lost.

    Raises
    ------
    OSError
        If nothing in the file is of an ND2 file.
    """
    if source.read_start(8) == chunks.LEGACY_MAGIC_BYTES + b"jP  ":
        return RescuedLegacyReader(source, (1, 0), flat_frames=flat_frames)
    found = collect(scan_chunks(source), source.size)
    if not len(found):
        raise errors.not_nd2("no chunk of an ND2 file was found", path=source.url)
    reader = RescuedReader(source, found, flat_frames=flat_frames)
    report = reader.rescued
    if report.lost or report.damaged_frames or report.missing_frames:
        warnings.warn(f"rescued file {source.url!r}: {report}", stacklevel=4)
    return reader


def _version(source: ByteSource, found: Found) -> tuple[int, int]:
    """Return the format version by the signature, or else by the names of the chunks."""
    try:
        return chunks.parse_version(source.read_start(chunks.VERSION_BYTES))
    except (OSError, ValueError):
        xml = any(name in found.chunk_map.others for name in OPENING[1::2])
        return (2, 1) if xml else (3, 0)


class RescuedReader(ModernReader):
    """A reader of the chunks that a scan found.

    Metadata that are lost or damaged count as absent. Where the attributes are lost, the size of a frame follows from the
    picture metadata and the length of the frames.

    Parameters
    ----------
    source : ByteSource
        The file.
    found : Found
        Its chunks.
    flat_frames : bool
        Put all frames on one axis, whatever the loops say.
    """

    def __init__(self, source: ByteSource, found: Found, *, flat_frames: bool = False) -> None:
        super().__init__(source, _version(source, found), flat_frames=flat_frames)
        self._lost: dict[str, None] = {}
        self._found = _without_absurd_frames(found, source.size, self._note_loss)

    def _note_loss(self, sentence: str) -> None:
        self._lost[sentence] = None

    @cached_property
    def rescued(self) -> RescueReport:
        """What was found."""
        for name in self._found.lost:
            self._note_loss(f"the chunk {name!r} is cut")
        damaged: NDArray[np.int64] = self._found.cut
        whole = len(self._found.chunk_map.frame_index)
        missing = 0
        try:
            count = self.frame_count
            present = self.frames.table.present(count)
            stored = np.zeros(len(present), bool)
            stored[self._found.chunk_map.frame_index] = True
            damaged = np.union1d(damaged, np.flatnonzero(stored & ~present))
            whole = int(present.sum())
            missing = int((~present[: self.layout.frame_count]).sum())
            _ = self.text_info, self.metadata
        except (ValueError, NotImplementedError) as error:
            self._note_loss(str(error))
        return RescueReport(whole, tuple(damaged.tolist()), missing, tuple(self._lost))

    @cached_property
    def chunk_map(self) -> chunks.ChunkMap:
        """Where every chunk was found."""
        return self._found.chunk_map

    def decode(
        self,
        name: bytes,
        data: bytes,
        *,
        strip_prefix: bool = False,
        without: Collection[str] = (),
    ) -> dict[str, Any]:
        """Decode a metadata chunk; one that is damaged is empty."""
        try:
            return super().decode(name, data, strip_prefix=strip_prefix, without=without)
        except ValueError:
            self._note_loss(f"the chunk {name.decode('ascii', 'replace')!r} is damaged")
            return {}

    def _opening_tree(self, forms: tuple[bytes, ...]) -> dict[str, Any] | None:
        return super()._opening_tree(forms) or None

    # -------------------------------------------------------------------------------------------- what may be lost

    @cached_property
    def _stored_attributes(self) -> Attributes | None:
        """Pixel geometry as the file has it; None where that is lost."""
        try:
            found: Attributes = ModernReader.attributes.func(self)  # type: ignore[attr-defined]
        except ValueError:
            return None
        return found

    @cached_property
    def attributes(self) -> Attributes:
        """Pixel geometry, guessed where it is lost."""
        return self._stored_attributes or self._guessed()

    @property
    def attributes_are_stored(self) -> bool:
        """Whether the attributes are those that the file holds, not guessed."""
        return self._stored_attributes is not None

    def _guessed(self) -> Attributes:
        """Guess the pixel geometry from the picture metadata and the length of the frames."""
        lengths = self._found.chunk_map.frame_size.astype(np.int64)
        if not len(lengths):
            raise errors.corrupt(
                "the image attributes are lost, and no frame is whole", path=self.source.url
            )
        values, counts = np.unique(lengths, return_counts=True)
        nbytes = int(values[np.argmax(counts)]) - chunks.TIMESTAMP
        first = int(np.argmax(lengths == nbytes + chunks.TIMESTAMP))
        inflated = self._inflated_size(first)
        nbytes = max(nbytes if inflated is None else inflated, 1)
        attributes, known = geometry.guess(
            self._picture,
            nbytes,
            plane_count=picture_metadata.plane_count(self._picture),
            compressed=inflated is not None,
        )
        size = f"{attributes.widthPx} x {attributes.heightPx} pixels"
        source = "by the camera's format" if known else "a guess by their length"
        self._note_loss(f"the image attributes are lost: frames are {size}, {source}")
        return attributes._replace(sequenceCount=self._stored_frames)

    def _inflated_size(self, place: int) -> int | None:
        """Return the size of a frame (by its place in the map) when inflated; None if it is not compressed."""
        start = int(self._found.data_offset[place]) + chunks.TIMESTAMP
        length = int(self._found.chunk_map.frame_size[place]) - chunks.TIMESTAMP
        if length < 8:
            return None
        stream, total = zlib.decompressobj(), 0
        try:
            data = stream.decompress(self.source.read(start, length), _SAMPLE_BYTES)
            while data and total <= _SMALL_FRAME + 64 * length:
                total += len(data)
                data = stream.decompress(stream.unconsumed_tail, _SAMPLE_BYTES)
        except zlib.error:
            return None
        return total if stream.eof else None

    @cached_property
    def experiment(self) -> list[ExpLoop]:
        """The loops; one of all frames where they are lost or claim far too many."""
        loops: list[ExpLoop] = ModernReader.experiment.func(self)  # type: ignore[attr-defined]
        count = max(self._stored_frames, int(self._found.cut.max(initial=-1)) + 1, 1)
        if not loops and count > 1:
            self._note_loss("the loops are lost: all frames are on one axis U")
        elif math.prod(loop.count for loop in loops) > max_frames(self.source.size):
            self._note_loss(
                "the loops claim more frames than a file can hold: all are on one axis U"
            )
        else:
            return loops
        return [CustomLoop(count)]

    def _locate(self, pixels: PixelLayout) -> Frames:
        """Make the table of the frames that are whole and can be decoded."""
        found, known = self._found, self._found.chunk_map
        index, stamp = known.frame_index, np.uint64(chunks.TIMESTAMP)
        offsets = found.data_offset + stamp
        lengths = np.maximum(known.frame_size, stamp) - stamp
        if pixels.codec == "zlib" and len(index):
            place = int(np.argmax(lengths == pixels.frame_bytes))
            head = chunks.ChunkHeader(
                int(known.frame_position[place]),
                b"",
                int(found.data_offset[place] - known.frame_position[place]) - chunks.HEADER.size,
                int(known.frame_size[place]),
            )
            if is_stored_raw(self.source, head, pixels):
                pixels = replace(pixels, codec="raw")
        if pixels.codec == "raw":
            sound = lengths >= pixels.frame_bytes
        else:
            sound = self._inflatable(offsets, lengths, pixels.frame_bytes)
        table = np.zeros((2, int(index.max(initial=-1)) + 1), np.uint64)
        table[0, index[sound]] = offsets[sound]
        table[1, index[sound]] = lengths[sound]
        return Frames(self.source, FrameTable(table[0], table[1]), pixels)

    def _inflatable(
        self, offsets: NDArray[np.uint64], lengths: NDArray[np.uint64], nbytes: int
    ) -> NDArray[np.bool_]:
        """Return which compressed frames can be inflated: their checksum tells."""
        sound = lengths * np.uint64(MAX_RATIO) >= nbytes

        def check(place: int) -> None:
            data = self.source.read(int(offsets[place]), int(lengths[place]))
            try:
                inflate(data, nbytes)
            except ValueError:
                sound[place] = False

        pool.run([(check, place) for place in np.flatnonzero(sound).tolist()])
        return sound


def _without_absurd_frames(found: Found, size: int, say: Callable[[str], None]) -> Found:
    """Leave out frames whose number cannot be one: a table of all numbers up to it would not fit into memory."""
    known = found.chunk_map
    kept = known.frame_index < max_frames(size)
    if kept.all() and (found.cut < max_frames(size)).all():
        return found
    say(f"{int((~kept).sum())} frames have a number that no file of {size} bytes can reach")
    chunk_map = replace(
        known,
        frame_index=known.frame_index[kept],
        frame_position=known.frame_position[kept],
        frame_size=known.frame_size[kept],
    )
    cut = found.cut[found.cut < max_frames(size)]
    return replace(found, chunk_map=chunk_map, data_offset=found.data_offset[kept], cut=cut)


class RescuedLegacyReader(LegacyReader):
    """A reader of a legacy file whose box map is lost: boxes are found from one to the next."""

    @cached_property
    def box_map(self) -> jp2.BoxMap:
        """Where every box is."""
        return jp2.walk(self.source.read, self.source.size)
