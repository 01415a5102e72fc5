"""The protocol of a reader, the second of the package's three seams: all that the views see of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from nd2._core.chunks.large_image import LargeImage
    from nd2._core.chunks.recorded_data import RecordedColumn
    from nd2._core.frames.layout import Layout
    from nd2._core.frames.read import Frames
    from nd2._core.io import ByteSource
    from nd2._core.readers.masks import MaskLayer
    from nd2._core.readers.stored import StoredChunk
    from nd2._core.structures import (
        ROI,
        Attributes,
        CustomField,
        ExperimentEvent,
        ExpLoop,
        FrameMetadata,
        Metadata,
        TextInfo,
        VoxelSize,
    )


class Reader(Protocol):
    """What a file says, decoded when it is asked for and kept."""

    @property
    def source(self) -> ByteSource:
        """Where the bytes come from."""

    @property
    def version(self) -> tuple[int, int]:
        """Format version: ``(3, 0)``, ``(2, x)``, or ``(1, 0)`` for legacy files."""

    @property
    def attributes(self) -> Attributes:
        """Pixel geometry and number of frames."""

    @property
    def experiment(self) -> list[ExpLoop]:
        """The loops, outermost first; empty where there are none."""

    @property
    def metadata(self) -> Metadata | dict[str, Any]:
        """Channels, optics, calibration (a dict for legacy files)."""

    @property
    def text_info(self) -> TextInfo:
        """Free text; empty where there is none."""

    @property
    def voxel_size(self) -> VoxelSize:
        """Size of a voxel in micrometers as ``(x, y, z)``; 1.0 where it is not known."""

    @property
    def layout(self) -> Layout:
        """Axes and sizes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a sample."""

    @property
    def frames(self) -> Frames:
        """The frames."""

    @property
    def frame_times(self) -> NDArray[np.float64] | None:
        """Recorded time of each frame in milliseconds, shape (n,); None where nothing was recorded."""

    @property
    def frame_count(self) -> int:
        """Number of frames that can be addressed by their index, beyond the loops too."""

    @property
    def frame_positions(self) -> NDArray[np.uint64]:
        """Where the chunk of each frame starts, shape (n,); 0 where it is missing; empty where frames have no chunks."""

    @property
    def stage_positions(self) -> NDArray[np.float64]:
        """Position of the stage at each frame in micrometers, shape (frame_count, 3): x, y, z."""

    @property
    def pfs_status(self) -> NDArray[np.int32] | None:
        """Recorded state of the focus system at each frame, shape (n,); None where nothing was recorded."""

    @property
    def large_image(self) -> LargeImage | None:
        """The grid of fields that the image was stitched from; None where it was not."""

    @property
    def start_julian_day(self) -> float:
        """Julian day number (UTC) of the first frame; 0 where it is not known."""

    @property
    def software(self) -> str:
        """Name and version of the software that wrote the file; empty where it is not known."""

    def stored(self, name: str) -> StoredChunk | None:
        """Return the address of a chunk (named without its ``!``), which reads it later, without this reader.

        None if the file has no such chunk.
        """

    @property
    def recorded(self) -> Mapping[str, RecordedColumn]:
        """Columns of the recorded-data table by identifier, in its order; each is read when its values are asked for."""

    def prefetch_recorded(self) -> None:
        """Take note that all of these columns are going to be read: a remote file gives them together."""

    @property
    def experiment_events(self) -> list[ExperimentEvent]:
        """What happened during the experiment, in stored order; empty where nothing did."""

    def frame_metadata(self, frame: int) -> FrameMetadata | dict[str, Any]:
        """Return the metadata of a frame (a dict for legacy files).

        Raises
        ------
        IndexError
            If the file has no such frame.
        """

    @property
    def rois(self) -> dict[int, ROI]:
        """Regions of interest by their identifier."""

    @property
    def mask_layers(self) -> list[MaskLayer]:
        """Binary layers; their masks are read when they are asked for."""

    @property
    def jobs(self) -> dict[str, Any] | None:
        """What the file says of the job that acquired it; None if no job did."""

    @property
    def custom_metadata(self) -> list[CustomField]:
        """Fields of the form that the user filled in."""

    @property
    def custom_data(self) -> dict[str, Any]:
        """Settings that the software keeps beside the image, decoded, by their tag."""

    def unstructured_metadata(
        self, *, strip_prefix: bool, include: set[str] | None, exclude: set[str] | None
    ) -> dict[str, Any]:
        """Return the decoded content of metadata chunks, by their name."""
