"""Reader of the chunked format: files of version 2.x (XML metadata) and 3.x (binary metadata)."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.chunks import (
    attributes,
    experiment,
    large_image,
    picture_metadata,
    recorded_data,
    settings,
    texts,
)
from nd2._core.format.pixels import Codec, PixelLayout, sample_dtype
from nd2._core.frames.grid import FrameGrid
from nd2._core.frames.layout import (
    Layout,
    check_claims,
    max_frames,
    split_components,
    warn_of_frames_beyond,
)
from nd2._core.readers import frame_metadata
from nd2._core.readers.custom import CustomChunks
from nd2._core.readers.located import HEAD_SAMPLE, locate
from nd2._core.structures import CustomLoop, XYPosLoop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.chunks.large_image import LargeImage
    from nd2._core.chunks.picture_metadata import FirstFrame
    from nd2._core.frames.read import Frames
    from nd2._core.structures import (
        Attributes,
        ExpLoop,
        FrameMetadata,
        Metadata,
        TextInfo,
        VoxelSize,
    )

OPENING = (*attributes.NAMES, *experiment.NAMES, *picture_metadata.NAMES, *texts.NAMES)
"""Chunks that opening a file reads."""

# Levels that make up most of these chunks in real files, and of which nothing is used.
_UNUSED: dict[tuple[bytes, ...], frozenset[str]] = {
    picture_metadata.NAMES: frozenset(
        (
            "pCameraSetting",
            "sCameraSetting",
            "sOpticalConfigFull",
            "MultiViewChannelDesc",
            "m_MirrorSpectrum",
        )
    ),
    experiment.NAMES: frozenset(
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


class ModernReader(CustomChunks):
    """Decodes the chunks of one file when they are asked for, each once."""

    @cached_property
    def _opening(self) -> dict[bytes, bytes]:
        """Data of the four chunks that every opening needs, read together."""
        frames = self.chunk_map.frame_position
        spans = self._spans(OPENING)
        # The head of the first frame, which `frames` needs, lies behind the picture metadata.
        first = [(int(frames.min()), HEAD_SAMPLE)] if len(frames) else []
        self.source.prefetch([*spans.values(), *first])
        return self._payloads(spans)

    def _opening_tree(self, forms: tuple[bytes, ...]) -> dict[str, Any] | None:
        """Decode one of these chunks, in whichever form the file has it."""
        for name in forms:
            if name in self._opening:
                return self.decode(name, self._opening[name], without=_UNUSED.get(forms, ()))
        return None

    # -------------------------------------------------------------------------------------------------- structures

    @cached_property
    def attributes(self) -> Attributes:
        """Pixel geometry and number of frames."""
        raw = self._opening_tree(attributes.NAMES)
        if raw is None:
            raise errors.corrupt(
                "the file has no image attributes", path=self.source.url, chunk=attributes.NAMES[0]
            )
        return attributes.decode(raw, plane_count=picture_metadata.plane_count(self._picture))

    @cached_property
    def _picture(self) -> dict[str, Any] | None:
        return self._opening_tree(picture_metadata.NAMES)

    @cached_property
    def experiment(self) -> list[ExpLoop]:
        """The loops, outermost first; or one of all frames."""
        if self.flat_frames:
            return [CustomLoop(max(self._grid.size, self._stored_frames))]
        return self._loops

    @cached_property
    def _loops(self) -> list[ExpLoop]:
        """The loops of the experiment as they are stored."""
        raw = self._opening_tree(experiment.NAMES)
        return [] if raw is None else experiment.decode(raw)

    @cached_property
    def large_image(self) -> LargeImage | None:
        """The grid of fields that the image was stitched from."""
        return large_image.decode(self._opening_tree(experiment.NAMES) or {})

    @cached_property
    def text_info(self) -> TextInfo:
        """Free text."""
        raw = self._opening_tree(texts.NAMES)
        return {} if raw is None else texts.decode(raw)

    @cached_property
    def metadata(self) -> Metadata:
        """Channels, optics, calibration."""
        return picture_metadata.decode(
            self._picture,
            attributes=self.attributes,
            experiment=self.experiment,
            text_info=self.text_info,
        )

    @cached_property
    def voxel_size(self) -> VoxelSize:
        """Size of a voxel in micrometers."""
        return picture_metadata.voxel_size(self.metadata)

    # ------------------------------------------------------------------------------------------------------ frames

    @cached_property
    def layout(self) -> Layout:
        """Axes and sizes."""
        layout = Layout.from_experiment(self.experiment, self.attributes)
        compressed = self.attributes.compressionType is not None
        check_claims(layout, self.source.size, self.source.url, compressed=compressed)
        warn_of_frames_beyond(layout, self._stored_frames, self.source.url)
        return layout

    @cached_property
    def _stored_frames(self) -> int:
        """Number of frames up to the last one that is stored."""
        count = int(self.chunk_map.frame_index.max(initial=-1)) + 1
        if count > max_frames(self.source.size):
            raise errors.corrupt(
                f"a frame {count - 1} cannot be in a file of {self.source.size} bytes",
                path=self.source.url,
                frame=count - 1,
            )
        return count

    @cached_property
    def frame_times(self) -> NDArray[np.float64] | None:
        """Recorded time of each frame in milliseconds."""
        data = self.chunk(recorded_data.TIMES)
        return None if not data else np.frombuffer(data[: len(data) // 8 * 8], "<f8")

    @cached_property
    def stage_positions(self) -> NDArray[np.float64]:
        """Position of the stage at each frame in micrometers."""
        indices = list(self._grid.all_indices().values())
        return frame_metadata.stage_positions(
            self._first.stage, self._loops, indices, self.frame_count
        )

    @cached_property
    def pfs_status(self) -> NDArray[np.int32] | None:
        """Recorded state of the focus system at each frame."""
        data = self.chunk(recorded_data.PFS_STATUS)
        return None if not data else np.frombuffer(data[: len(data) // 4 * 4], "<i4")

    def frame_metadata(self, frame: int) -> FrameMetadata:
        """Return the metadata of a frame, with its own time, position and focus."""
        if not 0 <= frame < self.frame_count:
            raise errors.frame_range(frame, self.frame_count, path=self.source.url)
        offset = self.recorded.get("PFS_OFFSET")
        return frame_metadata.frame_metadata(
            self.metadata,
            stage_um=self.stage_positions[frame].tolist(),
            name=self._position_name(frame),
            pfs_offset=_at(offset.values, frame) if offset else None,
            pfs_status=_at(self.pfs_status, frame),
            time=frame_metadata.time_stamp(_at(self.frame_times, frame), self._first),
        )

    @cached_property
    def _first(self) -> FirstFrame:
        """Time and place of the first frame."""
        return picture_metadata.decode_first_frame(self._picture)

    def _position_name(self, frame: int) -> str | None:
        """Return the name of a frame's point; None where no loop reaches the frame."""
        if frame < self._grid.size:
            indices = self._grid.indices(np.array(frame)).values()
            for loop, index in zip(self._loops, indices, strict=True):
                if isinstance(loop, XYPosLoop):
                    return loop.parameters.points[int(index)].name
        return None

    @cached_property
    def _grid(self) -> FrameGrid:
        """The frames on the loops of the file, whatever axes its arrays have."""
        return FrameGrid.from_counts((str(i), loop.count) for i, loop in enumerate(self._loops))

    @property
    def start_julian_day(self) -> float:
        """Julian day number of the first frame; 0 where it is not known."""
        return self._first.julian_day

    @cached_property
    def software(self) -> str:
        """Name and version of the software that wrote the file."""
        data = self.chunk(settings.APP_INFO)
        return settings.decode_software(self.decode(settings.APP_INFO, data) if data else {})

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a sample."""
        return sample_dtype(self.attributes.bitsPerComponentInMemory)

    @cached_property
    def frame_count(self) -> int:
        """Number of frames that can be addressed: those of the loops, and those that exist beyond them."""
        return max(self.layout.frame_count, self._stored_frames)

    @property
    def frame_positions(self) -> NDArray[np.uint64]:
        """Where the chunk of each frame starts; 0 where it is missing."""
        positions = np.zeros(self._stored_frames, np.uint64)
        positions[self.chunk_map.frame_index] = self.chunk_map.frame_position
        return positions

    @cached_property
    def frames(self) -> Frames:
        """The frames: their table and their pixel layout."""
        geometry = self.attributes
        compression = geometry.compressionType
        if compression == "lossy":
            raise errors.unsupported("frames with lossy compression", path=self.source.url)
        channels, samples = split_components(geometry)
        width, height = geometry.widthPx or 0, geometry.heightPx
        packed = width * channels * samples * self.dtype.itemsize
        codec: Codec = "zlib" if compression == "lossless" else "raw"
        pixels = PixelLayout(
            height,
            width,
            channels,
            samples,
            self.dtype,
            max(geometry.widthBytes or 0, packed),
            codec,
        )
        return self._locate(pixels)

    def _locate(self, pixels: PixelLayout) -> Frames:
        """Find the stored bytes of every frame."""
        return locate(self.source, self.chunk_map, self._stored_frames, pixels)


def _at(values: NDArray[Any] | None, frame: int) -> Any:
    """Return what was recorded for a frame; None if nothing was."""
    return None if values is None or frame >= len(values) else values[frame].item()
