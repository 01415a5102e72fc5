"""The abstract base of readers, the second of the package's three seams: everything that views know about a file.

What a file may have in chunks of its own is decoded here; where its frames are, and how they lie, in the subclasses.
"""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.chunks import picture_metadata
from nd2._core.format import clx_lite
from nd2._core.format.chunks import display_name
from nd2._core.frames.grid import Layout, check_claims
from nd2._core.values import cached_property, record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.chunks.binary_layers import LayerInfo
    from nd2._core.chunks.experiment import LargeImage
    from nd2._core.chunks.optics import Capture
    from nd2._core.chunks.recorded_data import RecordedColumn
    from nd2._core.event_types import ExperimentEvent
    from nd2._core.format.jp2 import BoxMap
    from nd2._core.frames.read import Frames
    from nd2._core.io import ByteSource
    from nd2._core.readers.chunk_file import ChunkAddress, ChunkFile
    from nd2._core.readers.layer_chunks import LayerChunks
    from nd2._core.readers.sidecar import Index
    from nd2._core.region_types import ROI
    from nd2._core.structures import Attributes, CustomField, ExpLoop, FrameMetadata, Metadata, TextInfo, VoxelSize

_MAX_JSON, _SMALL_JSON = 1 << 28, 1 << 20


@record
class RescueReport:
    """Data that a rescue found, and data that it did not find.

    Attributes
    ----------
    damaged_frames : tuple of int
        Sequence indices of frames that are cut, or cannot be decompressed. They count as missing.
    """

    frame_count: int
    damaged_frames: tuple[int, ...]
    missing_frames: int
    lost: tuple[str, ...]
    attributes_are_guessed: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing is lost."""
        return not (self.lost or self.damaged_frames or self.missing_frames)

    def __str__(self) -> str:
        parts = [f"{errors.plural(self.frame_count, 'frame')} {_verb(self.frame_count)} whole"]
        if self.damaged_frames:
            some = ", ".join(map(str, self.damaged_frames[:10]))
            more = " ..." if len(self.damaged_frames) > 10 else ""
            count = len(self.damaged_frames)
            parts.append(f"{count} {_verb(count)} cut or damaged ({some}{more})")
        if self.missing_frames:
            verb = _verb(self.missing_frames)
            parts.append(f"{self.missing_frames} of those that the loops reach {verb} missing")
        return "; ".join([*parts, *self.lost])


def _verb(count: int) -> str:
    return "is" if count == 1 else "are"


class Reader(AbstractContextManager["Reader"]):
    """Decodes the content of one file on access, and keeps it.

    Content that a file may lack is empty, or None; legacy files have no chunks, so they lack all that others keep in
    optional chunks. The version is that of the format: ``(3, 0)``, ``(2, x)``, or ``(1, 0)`` for legacy files. Flat
    frames are all on one axis, whatever the loops.
    """

    index: Index | None = None
    """The sidecar index that was used to open the file."""

    def __init__(self, chunk_file: ChunkFile, version: tuple[int, int], *, flat_frames: bool = False) -> None:
        self.source: ByteSource = chunk_file.source
        self.chunk_file = chunk_file
        self.version = version
        self.flat_frames = flat_frames

    def close(self) -> None:
        """Close the source; what was decoded stays available."""
        self.source.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    @abstractmethod
    def attributes(self) -> Attributes:
        """Pixel geometry and number of frames."""

    @property
    @abstractmethod
    def experiment(self) -> list[ExpLoop]:
        """The loops, outermost first; empty if the file has no loops."""

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
        return picture_metadata.voxel_size(self.metadata)

    @property
    @abstractmethod
    def _stored_count(self) -> int:
        """Number of frames up to the last one that is stored."""

    @cached_property
    def layout(self) -> Layout:
        """Axes and sizes."""
        layout = Layout.from_experiment(self.experiment, self.attributes)
        compressed = self.version[0] == 1 or self.attributes.compressionType is not None
        check_claims(layout, self.source.size, self.source.url, compressed=compressed)
        if self._stored_count > layout.frame_count:  # no axis of the arrays shows the others
            import logging

            logging.getLogger("nd2").warning(
                "file %r holds %d numbered frames, but its loops %s reach %d; "
                "read_frame() reads the others, and flat_frames=True puts all of them on one axis",
                self.source.url,
                self._stored_count,
                dict(layout.loops),
                layout.frame_count,
            )
        return layout

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Type of a sample."""

    @property
    @abstractmethod
    def frames(self) -> Frames:
        """The frames: their table and their pixel layout."""

    @cached_property
    def frame_count(self) -> int:
        """Number of frames with an index: those of the loops, and those that exist beyond them."""
        return max(self.layout.frame_count, self._stored_count)

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
    def frame_positions(self) -> NDArray[np.uint64]:
        """Where the chunk of each frame starts, shape (n,); 0 if it is missing; empty without chunks."""
        chunk_map = self.chunk_file.chunk_map
        positions = np.zeros(self._stored_count if len(chunk_map.frame_index) else 0, np.uint64)
        positions[chunk_map.frame_index] = chunk_map.frame_position
        return positions

    @property
    def captures(self) -> Sequence[Capture]:
        """Camera, exposure and microscope of each channel; empty if unknown."""
        return ()

    @property
    def large_image(self) -> LargeImage | None:
        """The grid of fields that the image was stitched from; None if it was not."""
        return None

    @cached_property
    def frame_times(self) -> NDArray[np.float64] | None:
        """Recorded time of each frame in milliseconds, shape (n,); None if nothing was recorded."""
        from nd2._core.chunks import recorded_data

        data = self.chunk_file.chunk(recorded_data.TIMES)
        return None if not data else np.frombuffer(data[: len(data) // 8 * 8], "<f8")

    @cached_property
    def pfs_status(self) -> NDArray[np.int32] | None:
        """Recorded state of the focus system at each frame, shape (n,); None if nothing was recorded."""
        from nd2._core.chunks import recorded_data

        data = self.chunk_file.chunk(recorded_data.PFS_STATUS)
        return None if not data else np.frombuffer(data[: len(data) // 4 * 4], "<i4")

    @cached_property
    def software(self) -> str:
        """Name and version of the software that wrote the file; empty if unknown."""
        from nd2._core.chunks import custom_data

        return custom_data.decode_software(self.chunk_file.tree(custom_data.APP_INFO, strip_prefix=True) or {})

    @cached_property
    def recorded_data(self) -> Mapping[str, RecordedColumn]:
        """Columns of the recorded-data table by identifier, in its order; values are read on access."""
        from nd2._core.chunks import recorded_data

        return recorded_data.decode(
            self.chunk_file.tree(recorded_data.NAME),
            lambda name: self.chunk_file.chunk(recorded_data.column_name(name)),
        )

    def prefetch(self, names: Iterable[str], limit: float = math.inf) -> None:
        """Announce that chunks (without ``!``) of less than some bytes will be read; see `ByteSource.prefetch`."""
        spans = self.chunk_file.spans(f"{name}!".encode() for name in names)
        self.source.prefetch([span for span in spans.values() if span[1] < limit])

    @cached_property
    def experiment_events(self) -> list[ExperimentEvent]:
        """Events of the experiment, in stored order."""
        from nd2._core.chunks import events

        return [
            event
            for name, data in zip(events.NAMES, self.chunk_file.chunk_many(events.NAMES), strict=True)
            if data
            for event in events.decode(self.chunk_file.decode(name, data))
        ]

    @cached_property
    def rois(self) -> dict[int, ROI]:
        """Regions of interest by their identifier."""
        from nd2._core.chunks import regions

        return regions.decode(self.chunk_file.tree(regions.NAME, strip_prefix=True) or {})

    @cached_property
    def binary_layers(self) -> list[LayerChunks]:
        """Binary layers; their masks are read on access."""
        from nd2._core.chunks import binary_layers

        layers: list[LayerInfo] = []
        runs, rasters = self.chunk_file.chunk_many([binary_layers.RUNS_NAME, binary_layers.RASTERS_NAME])
        if runs:
            tree = self.chunk_file.decode(binary_layers.RUNS_NAME, runs, strip_prefix=True)
            layers += binary_layers.decode_runs(tree)
        if rasters:
            with errors.within(path=self.source.url, chunk=binary_layers.RASTERS_NAME):
                layers += binary_layers.decode_rasters(rasters)
        if not layers:
            return []
        from nd2._core.readers.layer_chunks import layer_chunks

        shape = self.attributes.heightPx, self.attributes.widthPx or 0
        return layer_chunks(layers, self.chunk_file, shape, self.layout.frame_count)

    @cached_property
    def jobs(self) -> dict[str, Any] | None:
        """Description of the job that acquired the file; None if no job did."""
        from nd2._core.chunks import custom_data

        definition, description, run = self.chunk_file.chunk_many(custom_data.JOB)
        if definition is None:
            return None
        decode = self.chunk_file.decode
        return custom_data.decode_job(
            decode(custom_data.JOB[0], definition, strip_prefix=True),
            decode(custom_data.JOB[1], description, strip_prefix=True) if description else None,
            run or b"",
        )

    @cached_property
    def custom_metadata(self) -> list[CustomField]:
        """Fields of the form that the user filled in."""
        from nd2._core.chunks import custom_data

        data = self.chunk_file.chunk(custom_data.FORM)
        if not data:
            return []
        with errors.within(path=self.source.url, chunk=custom_data.FORM):
            return custom_data.decode_form(clx_lite.decode_items(data))

    @cached_property
    def custom_data(self) -> dict[str, Any]:
        """Settings that the software keeps in the file, decoded, by their tag."""
        from nd2._core.chunks import custom_data

        prefix = custom_data.PREFIX
        names = [name for name in self.chunk_file.names if name.startswith(prefix)]
        keys = {name: display_name(name.removeprefix(prefix)) for name in names}
        return {key: custom_data.only_value(tree) for key, tree in self._decode_all(keys).items()}

    def unstructured_metadata(
        self, *, strip_prefix: bool, include: set[str] | None, exclude: set[str] | None
    ) -> dict[str, Any]:
        """Return the decoded content of metadata chunks, by their name."""
        if self.version[0] == 1:
            return {}
        keys = {name: display_name(name) for name in self.chunk_file.names}
        if include is None:
            keys = {n: key for n, key in keys.items() if not n.startswith(b"CustomData")}
        else:
            if missing := sorted(include - set(keys.values())):
                near = errors.hint(missing[0], keys.values()) if len(missing) == 1 else ""
                warnings.warn(
                    f"the file {self.source.url!r} has no metadata called {', '.join(missing)}{near}", stacklevel=3
                )
            keys = {n: key for n, key in keys.items() if key in include}
        keys = {name: key for name, key in keys.items() if key not in (exclude or ())}
        return self._decode_all(keys, strip_prefix=strip_prefix)

    def _decode_all(self, keys: dict[bytes, str], *, strip_prefix: bool = True) -> dict[str, Any]:
        """Decode chunks, and return their content under new names; bytes if a chunk cannot be decoded."""
        trees: dict[str, Any] = {}
        budget = clx_lite.Budget()  # one for all: a file may have thousands of small chunks
        for (name, key), data in zip(keys.items(), self.chunk_file.chunk_many(keys), strict=True):
            if data is not None:
                try:
                    tree = self.chunk_file.decode(name, data, strip_prefix=strip_prefix, budget=budget)
                    # Zeros, such as an unused column, look like a tree without content.
                    trees[key] = tree if tree or any(data) else data
                except ValueError:
                    trees[key] = _decode_json(data)
        return trees

    def chunk_address(self, name: str) -> ChunkAddress | None:
        """Return the address of a chunk (without ``!``), which reads it without this reader; None without the chunk."""
        return self.chunk_file.address(name)

    @property
    def rescue_report(self) -> RescueReport | None:
        """Data that a rescue found and did not find; None if the file was not rescued."""
        return None

    def load_metadata(self) -> None:
        """Read the metadata that opening a file needs, which a sidecar index keeps."""
        _ = self.attributes, self.experiment, self.text_info, self.metadata


def _decode_json(data: bytes) -> Any:
    """Return the content of JSON, compressed or not; the data themselves if they are something else."""
    if data[:1] not in (b"[", b"{", b"\x78"):
        return data
    import json

    from nd2._core.format.inflate import inflate_bounded

    try:
        limit = min(_MAX_JSON, _SMALL_JSON + 32 * len(data))
        plain = inflate_bounded(data, limit) if data[:1] == b"\x78" else data
        return json.loads(plain.rstrip(b"\0"))
    except ValueError:
        return data
