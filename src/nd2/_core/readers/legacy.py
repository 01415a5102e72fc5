"""Reader of legacy files: JPEG 2000 boxes, one codestream for each channel of each frame, metadata in XML."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.chunks import fields
from nd2._core.chunks import legacy as decode
from nd2._core.format import clx_xml, jp2
from nd2._core.format.pixels import PixelLayout
from nd2._core.frames.grid import split_components
from nd2._core.frames.plan import FrameTable
from nd2._core.frames.read import Frames
from nd2._core.readers.chunk_file import ChunkFile, empty_map
from nd2._core.readers.reader import Reader
from nd2._core.structures import Attributes, CustomLoop, StagePosition
from nd2._core.values import cached_property

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.io import ByteSource
    from nd2._core.structures import ExpLoop, Metadata, TextInfo

# Tags of boxes; frames have one of each of the first two.
CALIBRATION = b"VCAL"
PICTURE = b"VIMD"
EXPERIMENT = (b"AIM1", b"AIMD")
TEXT_INFO = b"TINF"
ADVANCED = b"ARTT"

_PER_FRAME = (b"TimeMSec", b"XPos", b"YPos", b"ZPos")
_NUMBER = re.compile(rb"<(?:\w+:)?[a-z_]*(" + b"|".join(_PER_FRAME) + rb""")\b[^<>]*\bvalue=["']([^"']*)["']""")


class LegacyReader(Reader):
    """Decodes the boxes of one file on access, each once."""

    def __init__(self, source: ByteSource, *, flat_frames: bool = False, box_map: jp2.BoxMap | None = None) -> None:
        super().__init__(ChunkFile(source, empty_map()), (1, 0), flat_frames=flat_frames)
        if box_map is not None:
            self.box_map = box_map

    @cached_property
    def box_map(self) -> jp2.BoxMap:
        source, path = self.source, self.source.url
        size = min(jp2.TAIL.size, source.size)
        start = jp2.parse_tail(source.read(source.size - size, size), source.size, path=path)
        if start is None:
            return jp2.walk(source.read, source.size)
        return jp2.parse_map(source.read(start, source.size - start), start, path=path)

    def payloads(self, tag: bytes, first: int = 0, stop: int | None = None) -> list[bytes]:
        """Return the payloads of the boxes ``first`` to ``stop`` of a tag, in the order of the map."""
        offsets = self.box_map.of(tag)[first:stop]
        room = self.box_map.room(offsets)
        spans = list(zip(offsets.tolist(), room.tolist(), strict=True))
        return [
            self._payload(tag, position, data)
            for (position, _), data in zip(spans, self.source.read_many(spans), strict=True)
        ]

    def _payload(self, tag: bytes, position: int, data: bytes) -> bytes:
        box = self._box(tag, position, data)
        if box.length > len(data):
            return self.source.read(box.payload_offset, box.end - box.payload_offset)
        return data[box.header_length : box.length]

    def _box(self, tag: bytes, position: int, data: bytes) -> jp2.Box:
        with errors.within(path=self.source.url, chunk=tag):
            return jp2.parse_box(data[: jp2.HEADER_BYTES], position, self.source.size)

    def _document(self, tag: bytes, index: int = 0) -> dict[str, Any]:
        """Decode the XML box of a tag; empty without one."""
        payloads = self.payloads(tag, index, index + 1)
        with errors.within(path=self.source.url, chunk=tag):
            return clx_xml.decode_legacy(payloads[0]) if payloads else {}

    @cached_property
    def _stored_count(self) -> int:
        """Number of frames: that of their calibrations, or of their metadata, or of the codestreams."""
        counts = [len(self.box_map.of(tag)) for tag in (CALIBRATION, PICTURE)]
        return counts[0] or counts[1] or len(self.box_map.of(jp2.CODESTREAM))

    @cached_property
    def _picture(self) -> dict[str, Any]:
        """Calibration and picture metadata of the first frame."""
        return self._frame_picture(0)

    def _frame_picture(self, frame: int) -> dict[str, Any]:
        return {**self._document(CALIBRATION, frame), **self._document(PICTURE, frame)}

    @cached_property
    def _image_size(self) -> jp2.ImageSize:
        """Size of a frame, from the JP2 header or the first codestream."""
        for payload in self.payloads(b"jp2h", 0, 1):
            with errors.within(path=self.source.url, chunk=b"jp2h"):
                size = jp2.parse_image_header(payload)
            if size is not None:
                return size
        return self._codestream_header[1]

    @cached_property
    def _codestream_header(self) -> tuple[jp2.Box, jp2.ImageSize]:
        """Box and size of the first codestream."""
        offsets = self.box_map.of(jp2.CODESTREAM)
        if not len(offsets):
            raise errors.corrupt("the file has no codestream", path=self.source.url)
        position = int(offsets[0])
        nbytes = min(jp2.HEADER_BYTES + jp2.SIZE_BYTES, self.source.size - position)
        data = self.source.read(position, nbytes)
        box = self._box(jp2.CODESTREAM, position, data)
        with errors.within(path=self.source.url, chunk=jp2.CODESTREAM):
            return box, jp2.parse_codestream_size(data[box.header_length :])

    @cached_property
    def attributes(self) -> Attributes:
        size, planes = self._image_size, decode.planes(self._picture)
        channels = max(fields.integer(planes, "Count"), 1)
        components = planes["CompCount"]
        if components not in (channels, 3 * channels):
            # the codestream holds one channel: three components are color
            components = channels * (3 if self._codestream_header[1].components == 3 else 1)
        in_memory = size.bits if size.bits > 16 else -(-size.bits // 8) * 8
        advanced = self._document(ADVANCED)
        advanced = advanced.get("AdvancedImageAttributes", advanced)
        try:
            significant = int(advanced["SignificantBits"])
        except (KeyError, TypeError, ValueError):
            significant = size.bits
        return Attributes(
            bitsPerComponentInMemory=in_memory,
            bitsPerComponentSignificant=min(significant, in_memory),
            componentCount=components,
            heightPx=size.height,
            pixelDataType="unsigned",
            sequenceCount=self._stored_count,
            widthBytes=size.width * in_memory // 8 * components,
            widthPx=size.width,
            compressionLevel=size.compression,
            channelCount=channels,
        )

    @cached_property
    def experiment(self) -> list[ExpLoop]:
        if self.flat_frames:
            return [CustomLoop(self._stored_count)]
        present = [tag for tag in EXPERIMENT if len(self.box_map.of(tag))]
        return decode.experiment(
            self._document(present[0]) if present else {},
            self.text_info.get("description", ""),
            self._stored_count,
            self._stage_position,
        )

    def _stage_position(self, frame: int) -> StagePosition:
        picture = self._frame_picture(frame)
        x, y, z = (picture.get(key) for key in ("XPos", "YPos", "ZPos"))
        return StagePosition(float(x or 0), float(y or 0), float(z or 0))

    @cached_property
    def text_info(self) -> TextInfo:
        return decode.text_info(self._document(TEXT_INFO))

    @cached_property
    def metadata(self) -> Metadata:
        return decode.metadata(self._picture, self.attributes, self.experiment)

    def frame_metadata(self, frame: int) -> dict[str, Any]:
        """Return the calibration and picture metadata of a frame, names without type prefix."""
        if not 0 <= frame < self._stored_count:
            raise errors.frame_range(frame, self._stored_count, path=self.source.url)
        return self._frame_picture(frame)

    @cached_property
    def frame_times(self) -> NDArray[np.float64] | None:
        times: NDArray[np.float64] = self._per_frame[:, 0]
        return times if np.isfinite(times).any() else None

    @cached_property
    def stage_positions(self) -> NDArray[np.float64]:
        stage = np.full((self.frame_count, 3), np.nan)
        stored = self._per_frame[: len(stage), 1:]
        stage[: len(stored)] = stored
        return stage

    @cached_property
    def _per_frame(self) -> NDArray[np.float64]:
        """Time and stage position of each frame, shape (n, 4), picked from the XML without decoding the rest of it."""
        found = [
            {match[1]: match[2] for match in reversed(list(_NUMBER.finditer(data)))} for data in self.payloads(PICTURE)
        ]
        values = [[_as_float(part.get(name, b"")) for name in _PER_FRAME] for part in found]
        return np.array(values, np.float64).reshape(-1, len(_PER_FRAME))

    @property
    def start_julian_day(self) -> float:
        return fields.real(self._picture, "TimeAbsolute")

    @property
    def dtype(self) -> np.dtype[Any]:
        bits = self.attributes.bitsPerComponentInMemory
        if bits > 16:
            raise errors.unsupported(f"{bits} bits per component in a legacy file", path=self.source.url)
        return np.dtype("<u2" if bits > 8 else "|u1")

    @cached_property
    def frame_count(self) -> int:
        return max(self.layout.frame_count, len(self.frames.table))

    @cached_property
    def frames(self) -> Frames:
        # Samples of color run red, green, blue.
        attributes = self.attributes
        channels, samples = split_components(attributes)
        pixels = PixelLayout(
            attributes.heightPx,
            attributes.widthPx or 0,
            channels,
            samples,
            self.dtype,
            attributes.widthBytes or 0,
            codec="jpeg2k",
            sample_order="RGB",
        )
        if self.index is not None and self.box_map is self.index.box_map:
            return self.index.locate_frames(self.source, pixels)
        return Frames(self.source, self._table(channels), pixels)

    def _table(self, channels: int) -> FrameTable:
        """Find the bytes of every codestream.

        The map gives positions; the length of a box is in its own header. If the first codestream's box reaches to the
        next listed box, all do, and bytes between two are ignored when one is decoded. Otherwise every header is read.
        """
        offsets = self.box_map.of(jp2.CODESTREAM)
        if not len(offsets):
            return FrameTable(np.zeros(0, np.uint64), np.zeros(0, np.uint64), channels)
        room, (first, _) = self.box_map.room(offsets), self._codestream_header
        if first.payload_offset - first.position == 8 and first.length == room[0]:
            starts, stops = offsets + np.uint64(8), offsets + room
        else:
            size = self.source.size
            spans = [(at, min(jp2.HEADER_BYTES, size - at)) for at in offsets.tolist()]
            headers = self.source.read_many(spans)
            boxes = [self._box(jp2.CODESTREAM, at, header) for (at, _), header in zip(spans, headers, strict=True)]
            starts = np.array([box.payload_offset for box in boxes], np.uint64)
            stops = np.array([box.end for box in boxes], np.uint64)
        table = np.zeros((2, -(-len(offsets) // channels) * channels), np.uint64)
        table[0, : len(offsets)] = starts
        table[1, : len(offsets)] = np.maximum(stops, starts) - starts
        return FrameTable(table[0], table[1], channels)


def _as_float(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
