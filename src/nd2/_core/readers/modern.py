"""Reader of the chunked format: files of version 2.x (XML metadata) and 3.x (binary metadata)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core import structures as s
from nd2._core.chunks import attributes, experiment, fields, optics, picture_metadata, texts
from nd2._core.format.chunks import HEADER_SAMPLE
from nd2._core.format.pixels import Codec, PixelLayout, padded_row_bytes, sample_dtype
from nd2._core.frames.grid import FrameGrid, max_channels, max_frames, split_components
from nd2._core.readers.chunk_file import OPENING, RESCUE_HINT
from nd2._core.readers.reader import Reader
from nd2._core.values import cached_property

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from nd2._core.chunks.experiment import LargeImage
    from nd2._core.chunks.optics import Capture
    from nd2._core.frames.read import Frames
    from nd2._core.readers.chunk_file import ChunkFile
    from nd2._core.readers.reader import RescueReport
    from nd2._core.readers.rescue import Rescue

_UNUSED: dict[tuple[bytes, ...], dict[str, Collection[str]]] = {
    picture_metadata.NAMES: {
        **dict.fromkeys(
            (
                "FormatFast",
                "FormatQuality",
                "PropertiesFast",
                "PropertiesFast_Extra",
                "PropertiesQuality",
                "PropertiesQuality_Extra",
                "LightPath",
                "sOpticalConfigFull",
                "MultiViewChannelDesc",
                "m_MirrorSpectrum",
            ),
            (),
        ),
        "pDeviceSetting": optics.DEVICE_SETTINGS,
    },
    experiment.NAMES: dict.fromkeys(
        (
            "pRecordedData",
            "sAutoFocusBeforeLoop",
            "sAutoFocusBeforeCapture",
            "sAutoFocusBeforePeriod",
            "sPlane",
            "sPlaneNew",
            "sSampleSetting",
        ),
        (),
    ),
}
"""Levels that make up most of these chunks in real files, and the few of their values that are used."""
_MAX_SMALL_CHUNK = 64 << 10
"""Longest chunk that a sidecar index keeps, besides those that opening needs."""


class ModernReader(Reader):
    """Decodes the chunks of one file on access, each once.

    ``dtype`` replaces the type of samples: arrays to export may have types that files cannot have.
    """

    def __init__(
        self,
        chunk_file: ChunkFile,
        version: tuple[int, int],
        *,
        flat_frames: bool = False,
        rescue: Rescue | None = None,
        dtype: np.dtype[Any] | None = None,
    ) -> None:
        super().__init__(chunk_file, version, flat_frames=flat_frames)
        self._dtype = dtype
        self._rescue = rescue

    @cached_property
    def _opening(self) -> dict[bytes, bytes]:
        """Data of the four chunks that every opening needs, read together."""
        positions = self.chunk_file.chunk_map.frame_position
        # The header of the first frame, which `frames` needs, follows the picture metadata.
        first = [(int(positions.min()), HEADER_SAMPLE)] if len(positions) else []
        spans = self.chunk_file.spans(OPENING)
        self.source.prefetch([*spans.values(), *first])
        return self.chunk_file.read_spans(spans)

    def _opening_tree(self, forms: tuple[bytes, ...], *, whole: bool = False) -> dict[str, Any] | None:
        """Decode one of these chunks, in the form that the file has."""
        for name in forms:
            if data := self._opening.get(name):
                return self.chunk_file.decode(name, data, partial=None if whole else _UNUSED.get(forms)) or None
        return None

    @cached_property
    def attributes(self) -> s.Attributes:
        try:
            raw = self._opening_tree(attributes.NAMES)
            if raw is None:
                raise errors.corrupt(
                    f"the file has no image attributes; {RESCUE_HINT}", path=self.source.url, chunk=attributes.NAMES[0]
                )
            planes = picture_metadata.plane_count(self._picture)
            with errors.within(path=self.source.url, chunk=fields.name(attributes.NAMES, self.version)):
                # Channels of color have three components.
                return attributes.decode(raw, plane_count=planes, max_components=3 * max_channels(self.source.size))
        except ValueError:
            if self._rescue is None:
                raise
            # With the camera's settings, which are left out otherwise.
            raw = self._opening_tree(picture_metadata.NAMES, whole=True)
            return self._rescue.guess_attributes(raw, self._stored_count)

    @cached_property
    def _picture(self) -> dict[str, Any] | None:
        return self._opening_tree(picture_metadata.NAMES)

    @cached_property
    def experiment(self) -> list[s.ExpLoop]:
        loops = self._loops
        if self.flat_frames:
            loops = [s.CustomLoop(max(self._grid.size, self._stored_count))]
        if self._rescue is not None:
            loops = self._rescue.check_loops(loops, self._stored_count)
        return loops

    @cached_property
    def _loops(self) -> list[s.ExpLoop]:
        """The loops of the experiment, as stored."""
        return experiment.decode(self._opening_tree(experiment.NAMES) or {})

    @cached_property
    def large_image(self) -> LargeImage | None:
        return experiment.decode_large_image(self._opening_tree(experiment.NAMES) or {})

    @cached_property
    def text_info(self) -> s.TextInfo:
        return texts.decode(self._opening_tree(texts.NAMES) or {})

    @cached_property
    def metadata(self) -> s.Metadata:
        return picture_metadata.decode(
            self._picture, attributes=self.attributes, experiment=self.experiment, text_info=self.text_info
        )

    @cached_property
    def captures(self) -> list[Capture]:
        return optics.decode_captures(self._picture, self.layout.channels)

    @cached_property
    def _stored_count(self) -> int:
        count = int(self.chunk_file.chunk_map.frame_index.max(initial=-1)) + 1
        if count > max_frames(self.source.size):
            raise errors.corrupt(
                f"a frame {count - 1} cannot be in a file of {self.source.size} bytes",
                path=self.source.url,
                frame=count - 1,
            )
        return count

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype or sample_dtype(self.attributes.bitsPerComponentInMemory)

    @cached_property
    def frames(self) -> Frames:
        geometry = self.attributes
        compression = geometry.compressionType
        if compression == "lossy":
            raise errors.unsupported("frames with lossy compression", path=self.source.url)
        channels, samples = split_components(geometry)
        width, height = geometry.widthPx or 0, geometry.heightPx
        row_bytes, itemsize = geometry.widthBytes or 0, self.dtype.itemsize
        if row_bytes < width * channels * samples * itemsize:
            row_bytes = padded_row_bytes(width, channels * samples, itemsize)
        codec: Codec = "zlib" if compression == "lossless" else "raw"
        pixels = PixelLayout(height, width, channels, samples, self.dtype, row_bytes, codec)
        if self.index is not None and self.chunk_file.chunk_map is self.index.chunk_map:
            return self.index.locate_frames(self.source, pixels)
        return self.chunk_file.locate_frames(self._stored_count, pixels)

    @cached_property
    def stage_positions(self) -> NDArray[np.float64]:
        if not any(isinstance(loop, (s.XYPosLoop, s.ZStackLoop)) for loop in self._loops):
            return np.broadcast_to(np.array(self._first.stage, np.float64), (self.frame_count, 3))
        # Damaged loops may claim far more frames than there are.
        frames = np.arange(min(self._grid.size, self.frame_count))
        indices = list(self._grid.indices(frames).values())
        return compute_stage_positions(self._first.stage, self._loops, indices, self.frame_count)

    def frame_metadata(self, frame: int) -> s.FrameMetadata:
        if not 0 <= frame < self.frame_count:
            raise errors.frame_range(frame, self.frame_count, path=self.source.url)
        offsets = self.recorded_data.get("PFS_OFFSET")
        offset = _cell(offsets.values, frame) if offsets else None
        # A negative offset means that none was recorded, as in the loop over positions.
        offset = float(offset) if offset is not None and offset >= 0 else None
        stage = s.StagePosition(*self.stage_positions[frame].tolist())
        position = s.Position(stage, offset, self._position_name(frame))
        recorded_ms, status = _cell(self.frame_times, frame), _cell(self.pfs_status, frame)
        if recorded_ms is None or not math.isfinite(recorded_ms):
            recorded_ms = self._first.time_ms
        # As in Nikon's reader, although in real files this Julian day number already is that of the first frame.
        time = s.TimeStamp(self._first.julian_day + recorded_ms / picture_metadata.DAY_MS, recorded_ms)
        return s.FrameMetadata(
            self.metadata.contents or s.Contents(0, 0),
            [
                s.FrameChannel(one.channel, one.loops, one.microscope, one.volume, position, time, status)
                for one in self.metadata.channels or ()
            ],
        )

    @cached_property
    def _first(self) -> picture_metadata.FirstFrame:
        """Time and place of the first frame."""
        return picture_metadata.decode_first_frame(self._picture)

    def _position_name(self, frame: int) -> str | None:
        """Return the name of a frame's point; None if no loop reaches the frame."""
        for i, loop in enumerate(self._loops):
            if isinstance(loop, s.XYPosLoop) and frame < self._grid.size:
                return loop.parameters.points[self._grid.loop_index(str(i), frame)].name
        return None

    @cached_property
    def _grid(self) -> FrameGrid:
        """The frames on the loops of the file, whatever axes its arrays have."""
        return FrameGrid.from_counts([(str(i), loop.count) for i, loop in enumerate(self._loops)])

    @property
    def start_julian_day(self) -> float:
        return self._first.julian_day

    @cached_property
    def rescue_report(self) -> RescueReport | None:
        return None if self._rescue is None else self._rescue.report(self)

    def load_metadata(self) -> None:
        super().load_metadata()
        others = self.chunk_file.chunk_map.others
        self.chunk_file.chunk_many(
            name for name, (_, size) in others.items() if name in OPENING or size <= _MAX_SMALL_CHUNK
        )


def _cell(values: NDArray[Any] | None, frame: int) -> Any:
    """Return the recorded value of a frame; None without one."""
    return None if values is None or frame >= len(values) else values[frame].item()


def compute_stage_positions(
    first: tuple[float, float, float], experiment: Sequence[s.ExpLoop], indices: Sequence[NDArray[np.intp]], count: int
) -> NDArray[np.float64]:
    """Return the position of the stage at each frame, shape (count, 3), in micrometers.

    A loop over positions sets x and y, and z if it drives to it; the picture metadata has the
    coordinates that no loop sets. A stack adds ``(i - homeIndex) * stepUm`` to z, for every type of stack and in
    either direction. Frames beyond the loops have the position of the picture metadata.
    """
    stage = np.empty((3, count)).T  # quicker to fill, and to take an axis from
    stage[:] = first
    within = stage[: len(indices[0]) if indices else 1]
    pairs = [(loop, index[: len(within)]) for loop, index in zip(experiment, indices, strict=True)]
    for loop, index in pairs:
        if isinstance(loop, s.XYPosLoop):
            points = np.array([point.stagePositionUm for point in loop.parameters.points])
            driven = 3 if loop.parameters.isSettingZ else 2
            within[:, :driven] = points[index, :driven]
    for loop, index in pairs:
        if isinstance(loop, s.ZStackLoop):
            within[:, 2] += (index - loop.parameters.homeIndex) * loop.parameters.stepUm
    return stage
