"""Compatibility: names that are private in nd2 0.12.0, or there by accident, but used by programs.

Nothing in this package uses them. Each name says which program needs it; all of them, with those of ``nd2._util`` and
``nd2._parse``, have tests in ``tests/unit/test_compat.py``. New programs do without: `ND2File` has a public way to
each fact.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.format.chunks import frame_name
from nd2._core.open import open_reader
from nd2._core.readers import Reader
from nd2._core.structures import AXIS

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from typing import BinaryIO, Self, SupportsInt

    from numpy.typing import NDArray

    from nd2._core.format.chunks import ChunkMap
    from nd2._core.structures import XYPosLoop
    from nd2._core.views.facts import Facts

__author__ = "xarray-nd2 developers"
"""Value of ``nd2.__author__`` (a splitter prints it)."""
POSITION_NAME = "XYPos:{}"
"""Name of a position that is not named in the file."""


class _Loops:
    _reader: Reader

    def _coord_info(self) -> list[tuple[int, str, int]]:
        """Place, kind and count of each loop (napari-nd2-folder-viewer, scripts that split files)."""
        return [(i, loop.type, loop.count) for i, loop in enumerate(self._reader.experiment)]


class PrivateMembers(_Loops):
    """Private members of the ND2File of nd2 0.12.0."""

    read_frame: Callable[[SupportsInt], NDArray[Any]]

    if TYPE_CHECKING:

        @property
        def _facts(self) -> Facts: ...

    _NO_IDX = -1
    """Value of `_seq_index_from_coords` for a file without loops."""

    def _position_names(self, loop: XYPosLoop | None = None) -> list[str]:
        """Name of each position, one for a file without positions (bioio-nd2, aicsimageio)."""
        if loop is None:
            names: list[str] = self._expand_coords(squeeze=False)["P"]
            return names
        return [point.name or POSITION_NAME.format(i) for i, point in enumerate(loop.parameters.points)]

    def _expand_coords(self, squeeze: bool = True) -> dict[str, Any]:
        """Coordinate of each axis; with `squeeze` of those in ``sizes`` only (bioio-nd2)."""
        from nd2._core.views.xarray import coordinates

        sizes = self._reader.layout.sizes
        coords = {"P": [POSITION_NAME.format(0)], **coordinates(self._reader, self._facts)}
        return {name: coords[name] for name in coords if name in sizes or not squeeze}

    def _seq_index_from_coords(self, coords: Sequence[Any]) -> Any:
        """Sequence index of a frame, or of several, by index on each loop of ``sizes`` (bioio-nd2)."""
        shape = self._coord_shape
        return np.ravel_multi_index(tuple(coords), shape) if shape else self._NO_IDX

    @property
    def _coord_shape(self) -> tuple[int, ...]:
        """Count of each loop of ``sizes`` (scripts that split files)."""
        frame = AXIS.frame_coords()
        return tuple(count for name, count in self._reader.layout.sizes.items() if name not in frame)

    @property
    def _frame_count(self) -> int:
        """Number of frames that the loops make (scripts that split files)."""
        return self._reader.layout.frame_count

    @property
    def _raw_frame_shape(self) -> tuple[int, int, int, int]:
        """Rows, columns, channels and samples of a frame, as stored (scripts that split files)."""
        layout = self._reader.layout
        return layout.height, layout.width, layout.channels, layout.samples

    @property
    def _frame_shape(self) -> tuple[int, ...]:
        """Shape of the arrays that ``read_frame`` returns (scripts that split files)."""
        frame = AXIS.frame_coords()
        return tuple(count for name, count in self._reader.layout.sizes.items() if name in frame)

    @property
    def _channel_names(self) -> list[str]:
        """Name of each channel (scripts that split files)."""
        return list(self._expand_coords(squeeze=False)["C"])

    @property
    def _rdr(self) -> ND2Reader:
        """Reader of the file, for a video tool and tests of nd2."""
        return private_reader(self._reader)

    @property
    def _storage_options(self) -> dict[str, Any] | None:
        """Options of the file system of a URL (tests of nd2)."""
        return self._reader.source.storage_options

    def _get_frame(self, index: SupportsInt) -> NDArray[Any]:
        """Read one frame; ``_NO_IDX`` means the only one of a file without loops (aicsimageio)."""
        only = int(index) == self._NO_IDX and self._reader.layout.frame_count == 1
        return self.read_frame(0 if only else index)


class ND2Reader(_Loops):
    """Members of the reader of nd2 0.12.0 that programs and its own tests use.

    It opens a file, or wraps the reader of an open one.
    """

    _mmap = None

    def __init__(self, file: Reader | str | os.PathLike[str] | BinaryIO) -> None:
        self._reader = file if isinstance(file, Reader) else open_reader(file)

    @classmethod
    def create(cls, path: str | os.PathLike[str] | BinaryIO) -> ND2Reader:
        """Open a file of any version."""
        return private_reader(open_reader(path))

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def chunkmap(self) -> dict[bytes, tuple[int, int]]:
        """Position and size of each chunk, by its name; empty for a legacy file."""
        return chunk_positions(self._reader.chunk_file.chunk_map)

    def read_frame(self, index: int) -> NDArray[Any]:
        """Read one frame as stored: rows, columns, channels, samples."""
        return np.moveaxis(self._reader.frames.frame(index), 0, 2)

    def _seq_count(self) -> int:
        """Return the number of frames in the file."""
        return int(self._reader.attributes.sequenceCount)

    def _acquisition_datetime(self) -> datetime | None:
        """Start of the recording."""
        from nd2._core.views.facts import Facts

        return Facts(self._reader).start

    def _decode_chunk(self, name: bytes, strip_prefix: bool = True) -> dict[str, Any]:
        """Decode a metadata chunk."""
        file = self._reader.chunk_file
        data = file.chunk(name)
        if data is None:
            raise KeyError(name)
        return file.decode(name, data, strip_prefix=strip_prefix)

    def _raw(self, *names: bytes) -> dict[str, Any]:
        """Return the tree of the chunk, below its root element; empty if the file does not have it."""
        for name in names:
            if name in self.chunkmap:
                tree = self._decode_chunk(name, strip_prefix=False)
                return tree[next(iter(tree))] if len(tree) == 1 and name.endswith((b"LV!", b"LV|0!")) else tree
        return {}

    def _cached_global_metadata(self) -> None:
        """Do nothing: metadata are read on access."""

    @property
    def _raw_attributes(self) -> dict[str, Any]:
        return self._raw(b"ImageAttributesLV!", b"ImageAttributes!")

    @property
    def _raw_experiment(self) -> dict[str, Any]:
        return self._raw(b"ImageMetadataLV!", b"ImageMetadata!")

    @property
    def _raw_image_metadata(self) -> dict[str, Any]:
        return self._raw(b"ImageMetadataSeqLV|0!", b"ImageMetadataSeq|0!")

    @property
    def _raw_text_info(self) -> dict[str, Any]:
        return self._raw(b"ImageTextInfoLV!", b"ImageTextInfo!")


class ModernReader(ND2Reader):
    """Reader of a file of version 2 or 3."""


class LegacyReader(ND2Reader):
    """Reader of a legacy file."""


def private_reader(reader: Reader) -> ND2Reader:
    """Return the private reader of an open file."""
    return LegacyReader(reader) if reader.version[0] == 1 else ModernReader(reader)


def chunk_positions(chunk_map: ChunkMap) -> dict[bytes, tuple[int, int]]:
    """Return position and size of each chunk by its name, as ``nd2._parse`` does."""
    frames = zip(
        map(frame_name, chunk_map.frame_index.tolist()),
        zip(chunk_map.frame_position.tolist(), chunk_map.frame_size.tolist(), strict=True),
        strict=True,
    )
    return {**chunk_map.others, **dict(frames)}


def version(distribution_name: str) -> str:
    """Return the version of a distribution; of ``nd2`` that of the API (TARDIS)."""
    # Imported here: opening a file needs neither, and both take longer than opening.
    from importlib import metadata as distributions

    from nd2._core._version import API_VERSION

    try:
        return distributions.version(distribution_name)
    except distributions.PackageNotFoundError:
        if distribution_name == "nd2":
            return API_VERSION
        raise


def deprecated_module(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a deprecated module: names -> modules where they live now."""

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        message = f"importing from {module} is deprecated: import {name} from nd2 instead"
        warnings.warn(message, DeprecationWarning, stacklevel=3)
        home, _, attribute = homes[name].partition(":")
        return getattr(import_module(home), attribute or name)

    return get
