"""The sidecar index: all that opening a file needs, in one small file next to it, checked against the ND2 file."""

from __future__ import annotations

import io
import json
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from nd2._core import errors
from nd2._core.format.chunks import PAGE, ChunkMap
from nd2._core.format.jp2 import BoxMap
from nd2._core.format.pixels import PixelLayout
from nd2._core.frames.read import Frames
from nd2._core.frames.table import FrameTable
from nd2._core.io import ByteSource, open_source
from nd2._core.io.urls import local_path
from nd2._core.readers.chunk_file import ChunkFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.io import Span
    from nd2._core.readers.reader import Reader

INDEX_SUFFIX = ".index"
_FORMAT, _VERSION = "nd2-index", 1
_MAX_INDEX = 1 << 30


@dataclass(frozen=True)
class Index:
    """What a sidecar index holds.

    Attributes
    ----------
    size : int
        Length of the ND2 file in bytes.
    end : bytes
        Its last bytes, a page at most.
    blocks : list of (int, bytes)
        Offset and bytes of the parts that hold metadata.
    table : FrameTable
        Where the stored bytes of each frame are.
    pixels : PixelLayout
        How pixels lie in them.
    """

    size: int
    version: str
    end: bytes
    blocks: list[tuple[int, bytes]]
    chunk_map: ChunkMap | None
    box_map: BoxMap | None
    table: FrameTable
    pixels: PixelLayout

    @classmethod
    def from_reader(cls, reader: Reader) -> Index:
        """Collect the maps of a file, without its metadata."""
        source, frames = reader.source, reader.frames
        _, size, version = source.identity
        file = reader.chunk_file
        return cls(
            size,
            version,
            source.read(max(size - PAGE, 0), min(PAGE, size)),
            [],
            None if file is None else file.chunk_map,
            reader.box_map,
            frames.table,
            frames.pixels,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return decode_index, (encode_index(self),)

    def attach(self, source: ByteSource) -> None:
        """Give the source what the index holds of its bytes."""
        source.keep(self.blocks)
        _, size, version = source.identity
        comparable = version and self.version and version.isdigit() == self.version.isdigit()
        changed = comparable and version != self.version
        # A file that was touched or copied has another time, but the same map and metadata.
        if size != self.size or (changed and not (version.isdigit() and self._agrees(source))):
            now = f"this file has {size}, version {version!r}"
        elif source.read(size - len(self.end), len(self.end)) != self.end:
            now = "this file ends otherwise"
        else:
            return
        raise errors.source(
            f"the index is stale: it was made of {self.size} bytes, version {self.version!r}; {now}; "
            "make it anew with nd2.save_index(..., overwrite=True)",
            path=source.url,
        )

    def _agrees(self, source: ByteSource) -> bool:
        """Return whether the header and the metadata of a file are those in the index."""
        has_header = any(at == 0 for at, _ in self.blocks)
        return has_header and all(source.read(at, len(data)) == data for at, data in self.blocks)

    def frames(self, source: ByteSource) -> Frames:
        """Return the frames of a file, without reading it."""
        return Frames(source, self.table, self.pixels)

    def chunk_file(self, source: ByteSource, chunk_map: ChunkMap) -> ChunkFile:
        """Return the chunks of a file, without reading its map."""
        return ChunkFile(source, lambda _: chunk_map, lambda source, *_: self.frames(source))


def default_index_path(path: Any) -> Any:
    """Return what opens the index next to a file."""
    fs, inner = getattr(path, "fs", None), getattr(path, "path", None)
    if fs is not None and isinstance(inner, str):
        from fsspec.core import OpenFile

        return OpenFile(fs, inner + INDEX_SUFFIX)
    return local_path(path) + INDEX_SUFFIX


def load_index(index: Any, path: Any, storage_options: Mapping[str, Any] | None = None) -> Index:
    """Read an index."""
    source = open_source(default_index_path(path) if index is True else index, storage_options)
    try:
        return decode_index(source.read_start(_MAX_INDEX), path=source.url)
    finally:
        source.close()


class Recorder(ByteSource):
    """A byte source that keeps what is read through it: the metadata, for an index."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._blocks: dict[Span, bytes] = {}

    @property
    def url(self) -> str:
        return self._source.url

    @property
    def identity(self) -> tuple[str, int, str]:
        return self._source.identity

    @property
    def blocks(self) -> list[tuple[int, bytes]]:
        """Offset and bytes of what was read, in the order of the file."""
        return [(offset, data) for (offset, _), data in sorted(self._blocks.items())]

    def read(self, offset: int, nbytes: int) -> bytes:
        return self.read_many([(offset, nbytes)])[0]

    def read_many(self, spans: Sequence[Span]) -> list[bytes]:
        data = self._source.read_many(spans)
        self._blocks.update(zip(spans, data, strict=True))
        return data

    def prefetch(self, spans: Sequence[Span]) -> None:
        self.read_many([(offset, min(nbytes, self.size - offset)) for offset, nbytes in spans])

    def reopen(self) -> ByteSource:
        return self._source.reopen()


def encode_index(index: Index) -> bytes:
    """Write an index as bytes."""
    pixels = {**asdict(index.pixels), "dtype": index.pixels.dtype.str}
    header: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSION,
        "file": {"size": index.size, "version": index.version},
        "pixels": pixels,
        "pieces": index.table.pieces,
    }
    arrays: dict[str, Any] = {
        "table": _steps(index.table.offsets, index.table.lengths),
        "end": np.frombuffer(index.end, np.uint8),
        "spans": np.array([(at, len(data)) for at, data in index.blocks], np.int64).reshape(-1, 2),
        "blocks": np.frombuffer(b"".join(data for _, data in index.blocks), np.uint8),
    }
    if index.chunk_map is not None:
        chunk_map = index.chunk_map
        # In the order of frames, neighbors differ by the same steps, which compress to nothing.
        order = np.argsort(chunk_map.frame_index, kind="stable")
        columns = (chunk_map.frame_index, chunk_map.frame_position, chunk_map.frame_size)
        arrays["map"] = _steps(*(column[order] for column in columns))
        header["map"] = {
            "position": chunk_map.position,
            "others": {name.decode("latin-1"): place for name, place in chunk_map.others.items()},
        }
    if index.box_map is not None:
        boxes = index.box_map
        arrays |= {"kinds": boxes.kinds, "tags": boxes.tags, "boxes": _steps(boxes.offsets)}
        header["boxes"] = {"end": boxes.end}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def decode_index(data: bytes, *, path: str = "") -> Index:
    """Read an index from its bytes."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            if header["format"] != _FORMAT:
                raise ValueError
            if header["version"] != _VERSION:
                raise errors.unsupported(
                    f"an index of version {header['version']}; make it anew with nd2.save_index",
                    path=path,
                )
            return _decoded(header, arrays)
    except (LookupError, ValueError, TypeError, OSError, EOFError, BadZipFile, zlib.error) as error:
        raise errors.corrupt("not an index of an ND2 file", path=path) from error


def _decoded(header: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Index:
    offsets, lengths = _values(arrays["table"])
    content = arrays["blocks"].tobytes()
    spans = arrays["spans"].tolist()
    ends = np.cumsum([nbytes for _, nbytes in spans], dtype=np.int64).tolist()
    blocks = [
        (at, content[end - nbytes : end]) for (at, nbytes), end in zip(spans, ends, strict=True)
    ]
    chunk_map = None
    if "map" in header:
        index, position, size = _values(arrays["map"])
        others = {
            name.encode("latin-1"): (int(at), int(nbytes))
            for name, (at, nbytes) in header["map"]["others"].items()
        }
        place = int(header["map"]["position"])
        chunk_map = ChunkMap(index.view(np.int64), position, size, others, place)
    box_map = None
    if "boxes" in header:
        [starts] = _values(arrays["boxes"])
        kinds, tags = arrays["kinds"], arrays["tags"]
        if not kinds.shape == tags.shape == starts.shape:
            raise ValueError
        box_map = BoxMap(kinds, tags, starts, int(header["boxes"]["end"]))
    pixels = {**header["pixels"], "dtype": np.dtype(header["pixels"]["dtype"])}
    return Index(
        int(header["file"]["size"]),
        str(header["file"]["version"]),
        arrays["end"].tobytes(),
        blocks,
        chunk_map,
        box_map,
        FrameTable(offsets, lengths, int(header["pieces"])),
        PixelLayout(**pixels),
    )


def _steps(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """Return the differences along each column, shape (columns, n)."""
    values = np.array([np.asarray(column).view(np.int64) for column in columns])
    return np.diff(values, axis=1, prepend=0)


def _values(steps: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Undo `_steps`."""
    return np.cumsum(steps, axis=1).view(np.uint64)
