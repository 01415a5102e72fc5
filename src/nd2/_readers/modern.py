"""Reader of the chunked format: files of version 2.x (XML metadata) and 3.x (binary metadata)."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2 import _errors
from nd2._format import chunks, clx_lite, clx_xml
from nd2._format.pixels import Codec, PixelLayout, sample_dtype
from nd2._frames import Frames, FrameTable
from nd2._layout import Layout, check_claims, most_frames, split_components, warn_of_frames_beyond
from nd2._parse import _tree
from nd2._parse import attributes as parse_attributes
from nd2._parse import experiment as parse_experiment
from nd2._parse import frame as parse_frame
from nd2._parse import large_image as parse_large_image
from nd2._parse import metadata as parse_metadata
from nd2._parse import stage as parse_stage
from nd2._parse import text_info as parse_text_info
from nd2._readers.custom import CustomChunks
from nd2._readers.stored import StoredChunk
from nd2.structures import CustomLoop

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from nd2._io import ByteSource
    from nd2._parse.large_image import LargeImage
    from nd2.structures import (
        Attributes,
        ExpLoop,
        FrameMetadata,
        Metadata,
        TextInfo,
        VoxelSize,
    )

# Files of version 3 have "LV" in these names; a reader that tries both reads either.
ATTRIBUTES = (b"ImageAttributesLV!", b"ImageAttributes!")
EXPERIMENT = (b"ImageMetadataLV!", b"ImageMetadata!")
PICTURE = (b"ImageMetadataSeqLV|0!", b"ImageMetadataSeq|0!")
TEXT_INFO = (b"ImageTextInfoLV!", b"ImageTextInfo!")
APP_INFO = b"CustomDataVar|AppInfo_V1_0!"
# Levels that make up most of these chunks in real files, and of which nothing is used.
_UNUSED: dict[tuple[bytes, ...], frozenset[str]] = {
    PICTURE: frozenset(
        (
            "pCameraSetting",
            "sCameraSetting",
            "sOpticalConfigFull",
            "MultiViewChannelDesc",
            "m_MirrorSpectrum",
        )
    ),
    EXPERIMENT: frozenset(
        (
            "pRecordedData",
            "sAutoFocusBeforeLoop",
            "sAutoFocusBeforeCapture",
            "sAutoFocusBeforePeriod",
            "sPlane",
            "sPlaneNew",
            "sSampleSetting",
        )
    ),
}

# The most that a name field takes: the name, the reserve, and the padding of up to two pages.
_NAME_FIELD = 3 * chunks.PAGE
_HEAD_SAMPLE = 64


class ModernReader(CustomChunks):
    """Decodes the chunks of one file when they are asked for, each once.

    Parameters
    ----------
    source : ByteSource
        The file.
    version : tuple of int
        Its format version.
    flat_frames : bool
        Put all frames on one axis, whatever the loops say.
    """

    def __init__(
        self, source: ByteSource, version: tuple[int, int], *, flat_frames: bool = False
    ) -> None:
        self.source = source
        self.version = version
        self.flat_frames = flat_frames

    # ------------------------------------------------------------------------------------------------------ chunks

    @cached_property
    def chunk_map(self) -> chunks.ChunkMap:
        """Where every chunk is."""
        source, path = self.source, self.source.url
        size = min(chunks.TAIL.size, source.size)
        position = chunks.parse_tail(source.read(source.size - size, size), source.size, path=path)
        source.prefetch([(position, source.size - position)])
        header = self._header(position, chunks.MAP_NAME)
        data = source.read(header.data_offset, header.data_length)
        return chunks.parse_map(data, position, path=path)

    def _header(self, position: int, name: bytes) -> chunks.ChunkHeader:
        """Read and check the head of a chunk whose name is known."""
        text = name.decode("ascii", "replace")
        try:
            span = min(chunks.HEADER.size + len(name), max(self.source.size - position, 0))
            header = chunks.parse_header(self.source.read(position, span), position)
        except ValueError as error:
            raise _errors.corrupt_in(error, path=self.source.url, chunk=text) from error
        return self._checked(header, name)

    def _checked(self, header: chunks.ChunkHeader, name: bytes) -> chunks.ChunkHeader:
        text = name.decode("ascii", "replace")
        if header.name != name:
            raise _errors.corrupt(
                f"another chunk stands here: {header.name!r}",
                path=self.source.url,
                chunk=text,
                offset=header.position,
            )
        if header.end > self.source.size:
            raise _errors.corrupt(
                f"the chunk's {header.data_length} bytes end beyond the file's end at {self.source.size}",
                path=self.source.url,
                chunk=text,
                offset=header.position,
            )
        return header

    def chunk(self, name: bytes) -> bytes | None:
        """Return the data of a chunk, or None if the file does not have it.

        Raises
        ------
        ValueError
            If the chunk is not where the map says.
        """
        return self.chunk_many([name])[0]

    def chunk_many(self, names: list[bytes]) -> list[bytes | None]:
        """Return the data of several chunks with one call to the source; None for those that are not there."""
        found = [
            (name, self.chunk_map.others[name]) for name in names if name in self.chunk_map.others
        ]
        spans = [(position, self._extent(name, position, size)) for name, (position, size) in found]
        data = self.source.read_many(spans)
        payloads = {
            name: self._payload(name, position, part)
            for (name, (position, _)), part in zip(found, data, strict=True)
        }
        return [payloads.get(name) for name in names]

    def _extent(self, name: bytes, position: int, size: int) -> int:
        """Return how much to read for a chunk, whose name field is of unknown length: up to the next chunk at most."""
        left = self.source.size - position
        if left < chunks.HEADER.size:
            raise _errors.corrupt(
                f"the chunk is said to lie beyond the file's end at {self.source.size}",
                path=self.source.url,
                chunk=name.decode("ascii", "replace"),
                offset=position,
            )
        return min(self.chunk_map.room(position), _NAME_FIELD + size, left)

    def _payload(self, name: bytes, position: int, data: bytes) -> bytes:
        try:
            header = chunks.parse_header(data, position)
        except ValueError as error:
            text = name.decode("ascii", "replace")
            raise _errors.corrupt_in(error, path=self.source.url, chunk=text) from error
        self._checked(header, name)
        start = header.data_offset - position
        if start + header.data_length > len(data):  # the map's size was wrong: the header's counts
            return self.source.read(header.data_offset, header.data_length)
        return data[start : start + header.data_length]

    def stored(self, name: str) -> StoredChunk | None:
        """Return the address of a chunk, which reads it later, without this reader; None if the file does not have it."""
        key = f"{name}!".encode()
        if key not in self.chunk_map.others:
            return None
        position, size = self.chunk_map.others[key]
        return StoredChunk(self.source, key, position, size, self._extent(key, position, size))

    @cached_property
    def _core(self) -> dict[bytes, bytes]:
        """Data of the four chunks that every opening needs, read together."""
        names = [name for pair in (ATTRIBUTES, EXPERIMENT, PICTURE, TEXT_INFO) for name in pair]
        others, frames = self.chunk_map.others, self.chunk_map.frame_position
        spans = [
            (others[name][0], self._extent(name, *others[name])) for name in names if name in others
        ]
        # The head of the first frame, which `frames` needs, lies behind the picture metadata.
        if len(frames):
            spans.append((int(frames.min()), _HEAD_SAMPLE))
        self.source.prefetch(spans)
        data = self.chunk_many(names)
        return {name: part for name, part in zip(names, data, strict=True) if part is not None}

    def _core_tree(self, names: tuple[bytes, ...]) -> dict[str, Any] | None:
        for name in names:
            if name in self._core:
                return self.decode(name, self._core[name], without=_UNUSED.get(names, ()))
        return None

    def decode(
        self,
        name: bytes,
        data: bytes,
        *,
        strip_prefix: bool = False,
        without: Collection[str] = (),
    ) -> dict[str, Any]:
        """Decode a metadata chunk, binary or XML; the binary form without the levels of some names.

        Raises
        ------
        ValueError
            If it is neither, or damaged; the message names file and chunk.
        """
        is_xml = data[:64].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0")[:1] == b"<"
        try:
            if is_xml:
                return clx_xml.decode(data, strip_prefix=strip_prefix)
            return clx_lite.decode(data, strip_prefix=strip_prefix, without=without)
        except ValueError as error:
            raise _errors.corrupt_in(
                error, path=self.source.url, chunk=name.decode("ascii", "replace")
            ) from error

    # -------------------------------------------------------------------------------------------------- structures

    @cached_property
    def attributes(self) -> Attributes:
        """Pixel geometry and number of frames."""
        raw = self._core_tree(ATTRIBUTES)
        if raw is None:
            raise _errors.corrupt(
                "the file has no image attributes", path=self.source.url, chunk="ImageAttributesLV!"
            )
        return parse_attributes.parse(raw, plane_count=parse_metadata.plane_count(self._picture))

    @cached_property
    def _picture(self) -> dict[str, Any] | None:
        return self._core_tree(PICTURE)

    @cached_property
    def experiment(self) -> list[ExpLoop]:
        """The loops, outermost first; or one of all frames."""
        if self.flat_frames:
            return [CustomLoop(max(math.prod(loop.count for loop in self._loops), self._stored))]
        return self._loops

    @cached_property
    def _loops(self) -> list[ExpLoop]:
        """The loops of the experiment as they are stored."""
        raw = self._core_tree(EXPERIMENT)
        return [] if raw is None else parse_experiment.parse(raw)

    @cached_property
    def large_image(self) -> LargeImage | None:
        """The grid of fields that the image was stitched from."""
        return parse_large_image.parse(self._core_tree(EXPERIMENT) or {})

    @cached_property
    def text_info(self) -> TextInfo:
        """Free text."""
        raw = self._core_tree(TEXT_INFO)
        return {} if raw is None else parse_text_info.parse(raw)

    @cached_property
    def metadata(self) -> Metadata:
        """Channels, optics, calibration."""
        return parse_metadata.parse(
            self._picture,
            attributes=self.attributes,
            experiment=self.experiment,
            text_info=self.text_info,
        )

    @cached_property
    def voxel_size(self) -> VoxelSize:
        """Size of a voxel in micrometers."""
        return parse_metadata.voxel_size(self.metadata)

    # ------------------------------------------------------------------------------------------------------ frames

    @cached_property
    def layout(self) -> Layout:
        """Axes and sizes."""
        layout = Layout.of(self.experiment, self.attributes)
        compressed = self.attributes.compressionType is not None
        check_claims(layout, self.source.size, self.source.url, compressed=compressed)
        warn_of_frames_beyond(layout, self._stored, self.source.url)
        return layout

    @cached_property
    def _stored(self) -> int:
        """Number of frames up to the last one that is stored."""
        count = int(self.chunk_map.frame_index.max(initial=-1)) + 1
        if count > most_frames(self.source.size):
            raise _errors.corrupt(
                f"a frame {count - 1} cannot be in a file of {self.source.size} bytes",
                path=self.source.url,
                frame=count - 1,
            )
        return count

    @cached_property
    def frame_times(self) -> NDArray[np.float64] | None:
        """Recorded time of each frame in milliseconds."""
        data = self.chunk(b"CustomData|AcqTimesCache!")
        return None if not data else np.frombuffer(data[: len(data) // 8 * 8], "<f8")

    @cached_property
    def stage_positions(self) -> NDArray[np.float64]:
        """Position of the stage at each frame in micrometers."""
        return parse_stage.stage_positions(self._picture, self._loops, self.frame_count)

    @cached_property
    def pfs_status(self) -> NDArray[np.int32] | None:
        """Recorded state of the focus system at each frame."""
        data = self.chunk(b"CustomData|PFS_STATUS!")
        return None if not data else np.frombuffer(data[: len(data) // 4 * 4], "<i4")

    def frame_metadata(self, frame: int) -> FrameMetadata:
        """Return the metadata of a frame, with its own time, position and focus."""
        if not 0 <= frame < self.frame_count:
            raise _errors.frame_range(frame, self.frame_count, path=self.source.url)
        offset = self.recorded.get("PFS_OFFSET")
        return parse_frame.frame_metadata(
            self.metadata,
            stage_um=self.stage_positions[frame].tolist(),
            name=self._position_name(frame),
            pfs_offset=_at(offset.values, frame) if offset else None,
            pfs_status=_at(self.pfs_status, frame),
            time=parse_frame.time_stamp(_at(self.frame_times, frame), *self._start),
        )

    @cached_property
    def _start(self) -> tuple[float, float]:
        """Time of the first frame: milliseconds, and Julian day number."""
        return parse_metadata.start_time(self._picture)

    def _position_name(self, frame: int) -> str | None:
        """Return the name of a frame's point; None where no loop reaches the frame."""
        loops = self._loops
        if frame < math.prod(loop.count for loop in loops):
            for axis, loop in enumerate(loops):
                if loop.type == "XYPosLoop":
                    inner = math.prod(one.count for one in loops[axis + 1 :])
                    return loop.parameters.points[frame // inner % loop.count].name
        return None

    @property
    def start_julian_day(self) -> float:
        """Julian day number of the first frame; 0 where it is not known."""
        return self._start[1]

    @cached_property
    def software(self) -> str:
        """Name and version of the software that wrote the file."""
        data = self.chunk(APP_INFO)
        info = _tree.unwrap({} if data is None else self.decode(APP_INFO, data))
        parts = [_tree.text(info, key) for key in ("m_SWNameString", "m_VersionString")]
        return " ".join(part for part in parts if part)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a sample."""
        return sample_dtype(self.attributes.bitsPerComponentInMemory)

    @cached_property
    def frame_count(self) -> int:
        """Number of frames that can be addressed: those of the loops, and those that exist beyond them."""
        return max(self.layout.frame_count, self._stored)

    @property
    def frame_positions(self) -> NDArray[np.uint64]:
        """Where the chunk of each frame starts; 0 where it is missing."""
        positions = np.zeros(self._stored, np.uint64)
        positions[self.chunk_map.frame_index] = self.chunk_map.frame_position
        return positions

    @cached_property
    def frames(self) -> Frames:
        """The frames: their table and their pixel layout."""
        attributes = self.attributes
        compression = attributes.compressionType
        if compression == "lossy":
            raise _errors.unsupported("frames with lossy compression", path=self.source.url)
        channels, samples = split_components(attributes)
        width, height = attributes.widthPx or 0, attributes.heightPx
        packed = width * channels * samples * self.dtype.itemsize
        codec: Codec = "zlib" if compression == "lossless" else "raw"
        pixels = PixelLayout(
            height,
            width,
            channels,
            samples,
            self.dtype,
            max(attributes.widthBytes or 0, packed),
            codec,
        )
        return self._locate(pixels)

    def _locate(self, pixels: PixelLayout) -> Frames:
        """Find the stored bytes of every frame.

        The map gives the chunks' positions; how long a name field is stands in each chunk's head only. NIS-Elements pads
        it so that pixels start 4096 bytes behind the chunk; if the first frame does, all do. Else every head is read.
        """
        chunk_map = self.chunk_map
        if not len(chunk_map.frame_index):
            return Frames(self.source, FrameTable(*np.zeros((2, 0), np.uint64)), pixels)
        position, size, index = (
            chunk_map.frame_position,
            chunk_map.frame_size,
            chunk_map.frame_index,
        )
        head = self._sample_head()
        if (head.data_offset + chunks.TIMESTAMP) % chunks.PAGE:
            ask = np.ones(len(index), bool)
        elif pixels.codec == "raw":
            # Every raw frame is as long as the sample; where the map says otherwise, the chunk has the last word.
            ask = (size != head.data_length) & (size != position)
        else:
            ask = size == position
        data_start = position + np.uint64(head.data_offset - head.position)
        data_size = (
            np.full(len(size), head.data_length, np.uint64)
            if pixels.codec == "raw"
            else size.copy()
        )
        asked = np.flatnonzero(ask)
        heads = self._frame_heads(position[asked].tolist(), index[asked].tolist())
        data_start[asked] = [found.data_offset for found in heads]
        data_size[asked] = [found.data_length for found in heads]
        if pixels.codec == "zlib" and self._stored_raw(head, pixels):
            pixels = replace(pixels, codec="raw")
        stamp = np.uint64(chunks.TIMESTAMP)
        table = np.zeros((2, self._stored), np.uint64)
        table[0, index] = data_start + stamp
        table[1, index] = np.maximum(data_size, stamp) - stamp
        return Frames(self.source, FrameTable(table[0], table[1]), pixels)

    def _sample_head(self) -> chunks.ChunkHeader:
        """Return the head of the first frame in the file, or of another one if that is damaged."""
        position, index = self.chunk_map.frame_position, self.chunk_map.frame_index
        order = np.argsort(position, kind="stable")
        tries = order[np.unique(np.linspace(0, len(order) - 1, 5).astype(int))].tolist()
        for k in tries:
            try:
                return self._frame_heads([int(position[k])], [int(index[k])])[0]
            except ValueError:
                if k == tries[-1]:
                    raise
        raise AssertionError("unreachable: there is at least one frame")

    def _stored_raw(self, head: chunks.ChunkHeader, pixels: PixelLayout) -> bool:
        """Return whether frames that are said to be compressed are not, as happens in files that were edited."""
        if head.data_length != chunks.TIMESTAMP + pixels.frame_bytes:
            return False
        first, second = self.source.read(head.data_offset + chunks.TIMESTAMP, 2)
        return first & 0x0F != 8 or (first * 256 + second) % 31 != 0

    def _frame_heads(self, positions: list[int], frames: list[int]) -> list[chunks.ChunkHeader]:
        """Read and check the heads of some frames' chunks."""
        size = self.source.size
        for position, frame in zip(positions, frames, strict=True):
            if position + chunks.HEADER.size > size:
                raise _errors.corrupt(
                    f"the frame's chunk lies beyond the file's end at {size}",
                    path=self.source.url,
                    frame=frame,
                    offset=position,
                )
        data = self.source.read_many([(p, min(_HEAD_SAMPLE, size - p)) for p in positions])
        heads = []
        for position, frame, part in zip(positions, frames, data, strict=True):
            name = chunks.frame_name(frame)
            try:
                head = chunks.parse_header(part, position)
            except ValueError as error:
                raise _errors.corrupt_in(
                    error, path=self.source.url, chunk=name.decode(), frame=frame
                ) from error
            if head.name != name:
                raise _errors.corrupt(
                    f"another chunk stands here: {head.name!r}",
                    path=self.source.url,
                    chunk=name.decode(),
                    frame=frame,
                    offset=position,
                )
            heads.append(head)
        return heads


def _at(values: NDArray[Any] | None, frame: int) -> Any:
    """Return what was recorded for a frame; None if nothing was."""
    return None if values is None or frame >= len(values) else values[frame].item()
