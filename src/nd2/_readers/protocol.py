"""The protocol of a reader, the second of the package's three seams: all that the views see of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from nd2._frames import Frames
    from nd2._io import ByteSource
    from nd2._layout import Layout
    from nd2._parse.recorded import RecordedColumn
    from nd2.structures import Attributes, ExpLoop, Metadata, TextInfo, VoxelSize


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
    def stage_positions(self) -> NDArray[np.float64]:
        """Position of the stage at each frame in micrometers, shape (frame_count, 3): x, y, z."""

    @property
    def pfs_status(self) -> NDArray[np.int32] | None:
        """Recorded state of the focus system at each frame, shape (n,); None where nothing was recorded."""

    @property
    def recorded(self) -> Mapping[str, RecordedColumn]:
        """Columns of the recorded-data table by identifier, in its order; each is read when its values are asked for."""
