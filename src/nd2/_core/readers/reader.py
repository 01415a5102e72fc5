"""The abstract base of readers, the second of the package's three seams: everything that views know about a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

    from nd2._core.chunks.experiment import LargeImage
    from nd2._core.chunks.optics import Capture
    from nd2._core.chunks.recorded_data import RecordedColumn
    from nd2._core.event_types import ExperimentEvent
    from nd2._core.format.jp2 import BoxMap
    from nd2._core.frames.grid import Layout
    from nd2._core.frames.read import Frames
    from nd2._core.io import ByteSource
    from nd2._core.readers.chunk_file import ChunkAddress, ChunkFile
    from nd2._core.readers.layer_chunks import LayerChunks
    from nd2._core.readers.rescue import RescueReport
    from nd2._core.readers.sidecar import Index
    from nd2._core.region_types import ROI
    from nd2._core.structures import Attributes, CustomField, ExpLoop, FrameMetadata, Metadata, TextInfo, VoxelSize


class Reader(ABC):
    """Decodes the content of one file on access, and keeps it.

    Properties that a format may lack have a default: empty, or None. The version is that of the format: ``(3, 0)``,
    ``(2, x)``, or ``(1, 0)`` for legacy files. Flat frames are all on one axis, whatever the loops.
    """

    chunk_file: ChunkFile | None = None
    """The file's chunks; None for legacy files."""
    index: Index | None = None
    """The sidecar index with which the file was opened."""

    def __init__(self, source: ByteSource, version: tuple[int, int], *, flat_frames: bool = False) -> None:
        self.source = source
        self.version = version
        self.flat_frames = flat_frames

    def close(self) -> None:
        """Close the source; what was decoded stays available."""
        self.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    @abstractmethod
    def attributes(self) -> Attributes:
        """Pixel geometry and number of frames."""

    @property
    @abstractmethod
    def experiment(self) -> list[ExpLoop]:
        """The loops, outermost first; empty if there are none."""

    @property
    @abstractmethod
    def text_info(self) -> TextInfo:
        """Free text; empty without any."""

    @property
    @abstractmethod
    def metadata(self) -> Metadata:
        """Channels, optics, calibration."""

    @cached_property
    def voxel_size(self) -> VoxelSize:
        """Size of a voxel in micrometers as ``(x, y, z)``; 1.0 if unknown."""
        from nd2._core.chunks import picture_metadata

        return picture_metadata.voxel_size(self.metadata)

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """Axes and sizes."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Type of a sample."""

    @property
    @abstractmethod
    def frames(self) -> Frames:
        """The frames: their table and their pixel layout."""

    @property
    @abstractmethod
    def frame_count(self) -> int:
        """Number of frames with an index: those of the loops, and those that exist beyond them."""

    @property
    @abstractmethod
    def stage_positions(self) -> NDArray[np.float64]:
        """Position of the stage at each frame in micrometers, shape (frame_count, 3): x, y, z."""

    @property
    @abstractmethod
    def start_julian_day(self) -> float:
        """Julian day number (UTC) of the first frame; 0 if unknown."""

    @abstractmethod
    def frame_metadata(self, frame: int) -> FrameMetadata | dict[str, Any]:
        """Return the metadata of a frame (a dict for legacy files); IndexError if the file has no such frame."""

    @property
    def box_map(self) -> BoxMap | None:
        """Where every box of a legacy file is; None for other files."""
        return None

    @property
    def frame_times(self) -> NDArray[np.float64] | None:
        """Recorded time of each frame in milliseconds, shape (n,); None if nothing was recorded."""
        return None

    @property
    def frame_positions(self) -> NDArray[np.uint64]:
        """Where the chunk of each frame starts, shape (n,); 0 if it is missing; empty without chunks."""
        import numpy as np

        return np.zeros(0, np.uint64)

    @property
    def pfs_status(self) -> NDArray[np.int32] | None:
        """Recorded state of the focus system at each frame, shape (n,); None if nothing was recorded."""
        return None

    @property
    def captures(self) -> Sequence[Capture]:
        """Camera, exposure and microscope of each channel; empty if unknown."""
        return ()

    @property
    def large_image(self) -> LargeImage | None:
        """The grid of fields that the image was stitched from; None if it was not."""
        return None

    @property
    def software(self) -> str:
        """Name and version of the software that wrote the file; empty if unknown."""
        return ""

    @property
    def recorded_data(self) -> Mapping[str, RecordedColumn]:
        """Columns of the recorded-data table by identifier, in its order; values are read on access."""
        return {}

    def prefetch(self, names: Iterable[str], limit: int) -> None:
        """Announce that chunks (without ``!``) of less than some bytes will be read; see `ByteSource.prefetch`."""

    def prefetch_recorded_data(self) -> None:
        """Announce that all of these columns will be read; those of a remote file are fetched together."""

    @property
    def experiment_events(self) -> list[ExperimentEvent]:
        """Events of the experiment, in stored order."""
        return []

    @property
    def rois(self) -> dict[int, ROI]:
        """Regions of interest by their identifier."""
        return {}

    @property
    def binary_layers(self) -> list[LayerChunks]:
        """Binary layers; their masks are read on access."""
        return []

    @property
    def jobs(self) -> dict[str, Any] | None:
        """Description of the job that acquired the file; None if no job did."""
        return None

    @property
    def custom_metadata(self) -> list[CustomField]:
        """Fields of the form that the user filled in."""
        return []

    @property
    def custom_data(self) -> dict[str, Any]:
        """Settings that the software keeps in the file, decoded, by their tag."""
        return {}

    def unstructured_metadata(
        self, *, strip_prefix: bool, include: set[str] | None, exclude: set[str] | None
    ) -> dict[str, Any]:
        """Return the decoded content of metadata chunks, by their name."""
        return {}

    def chunk_address(self, name: str) -> ChunkAddress | None:
        """Return the address of a chunk (without ``!``), which reads it without this reader; None without the chunk."""
        return None

    @property
    def rescue_report(self) -> RescueReport | None:
        """Data that a rescue found and did not find; None if the file was not rescued."""
        return None

    def load_metadata(self) -> None:
        """Read the metadata that opening a file needs, which a sidecar index keeps."""
        _ = self.attributes, self.experiment, self.text_info, self.metadata
