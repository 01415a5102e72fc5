"""The sidecar index: all that opening a file needs, in one small file next to it, checked against the ND2 file."""

from __future__ import annotations

import io
import json
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args
from zipfile import ZipFile

import numpy as np

from nd2._core import errors
from nd2._core.format.chunks import ChunkMap
from nd2._core.format.jp2 import BoxMap
from nd2._core.format.pixels import Codec
from nd2._core.frames.grid import max_frames
from nd2._core.frames.plan import FrameTable
from nd2._core.frames.read import Frames
from nd2._core.io import ByteSource, open_source
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.format.pixels import PixelLayout
    from nd2._core.io import Span

INDEX_SUFFIX = ".index"
_FORMAT, _VERSION = "nd2-index", 1
_MAX_INDEX = 1 << 30
_MAX_INFLATED, _MAX_INFLATION = 256 << 20, 100
_MAX_OFFSET = 1 << 62


@record
class Index:
    """Content of a sidecar index: size and version of the ND2 file, its maps, and how its frames are stored."""

    size: int
    version: str
    end: bytes
    """The last bytes of the file, a page at most."""
    blocks: list[tuple[int, bytes]]
    """Offset and bytes of the parts that hold metadata."""
    chunk_map: ChunkMap | None
    box_map: BoxMap | None
    table: FrameTable
    codec: Codec

    def __reduce__(self) -> tuple[Any, ...]:
        return decode_index, (encode_index(self),)

    def attach(self, source: ByteSource) -> None:
        """Give the source the bytes that the index holds, and check that they are those of the file."""
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
            "recreate it with nd2.save_index(..., overwrite=True)",
            path=source.url,
        )

    def _agrees(self, source: ByteSource) -> bool:
        """Return whether the header and the metadata of a file are those in the index."""
        has_header = any(at == 0 for at, _ in self.blocks)
        return has_header and all(source.read(at, len(data)) == data for at, data in self.blocks)

    def locate_frames(self, source: ByteSource, pixels: PixelLayout) -> Frames:
        """Return the frames of a file, without reading their headers."""
        legacy = pixels.codec == "jpeg2k"
        pieces = pixels.channels if legacy else 1
        # The codec of modern files is that of the frames, not that of the attributes.
        if (self.codec == "jpeg2k") != legacy or self.table.pieces != pieces:
            raise errors.corrupt("the index is not one of this file", path=source.url)
        return Frames(source, self.table, replace(pixels, codec=self.codec))


def load_index(path: Any, storage_options: Mapping[str, Any] | None = None) -> Index:
    """Read an index."""
    with closing(open_source(path, storage_options)) as source:
        return decode_index(source.read_start(_MAX_INDEX), path=source.url)


class Recorder(ByteSource):
    """A byte source that keeps the bytes that are read through it: the metadata, for an index."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.blocks: dict[Span, bytes] = {}

    @property
    def identity(self) -> tuple[str, int, str]:
        return self._source.identity

    def read(self, offset: int, nbytes: int) -> bytes:
        return self.read_many([(offset, nbytes)])[0]

    def read_many(self, spans: Sequence[Span]) -> list[bytes]:
        data = self._source.read_many(spans)
        self.blocks.update(zip(spans, data, strict=True))
        return data

    def prefetch(self, spans: Sequence[Span]) -> None:
        self.read_many([(offset, min(nbytes, self.size - offset)) for offset, nbytes in spans])

    def reopen(self) -> ByteSource:
        return self._source.reopen()


def encode_index(index: Index) -> bytes:
    """Write an index as bytes."""
    header: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSION,
        "file": {"size": index.size, "version": index.version},
        "codec": index.codec,
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
    """Read an index from its bytes, which may be a stranger's: every field is checked.

    It may inflate to `_MAX_INFLATED` bytes, and `_MAX_INFLATION` times its own bytes more.
    """
    try:
        return _Decoder(data).index(path)
    except errors.UnsupportedFileError:
        raise
    except Exception as error:
        # Bytes that are not an index can raise any error: BadZipFile, RuntimeError (an encrypted archive, deep JSON),
        # NotImplementedError, EOFError, OSError, and the errors of zlib and lzma in zipfile; ValueError, SyntaxError,
        # TokenError and MemoryError (an absurd shape) in NumPy; KeyError, TypeError and AttributeError for fields
        # of another type. A list would miss those of the next version of these libraries.
        raise errors.corrupt("not an index of an ND2 file", path=path) from error


class _Decoder:
    """Reads the arrays of an index, and checks each."""

    def __init__(self, data: bytes) -> None:
        with ZipFile(io.BytesIO(data)) as archive:
            if sum(m.file_size for m in archive.infolist()) > _MAX_INFLATED + _MAX_INFLATION * len(data):
                raise ValueError("the index inflates to too many bytes")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            self.arrays: dict[str, NDArray[Any]] = {name: arrays[name] for name in arrays.files}
        self.header = json.loads(self.data("header"))

    def index(self, path: str) -> Index:
        header = self.header
        if header["format"] != _FORMAT:
            raise ValueError
        if header["version"] != _VERSION:
            raise errors.unsupported(
                f"an index of version {header['version']}; recreate it with nd2.save_index", path=path
            )
        self.size = _integer(header["file"]["size"], _MAX_OFFSET)
        codec, pieces = header["codec"], _integer(header["pieces"], 1 << 16)
        offsets, lengths = self.columns("table", 2)
        absurd = (offsets > _MAX_OFFSET) | (lengths > _MAX_OFFSET)
        if codec not in get_args(Codec) or pieces < 1 or len(offsets) % pieces or absurd.any():
            raise ValueError
        return Index(
            self.size,
            str(header["file"]["version"]),
            self.data("end"),
            self.blocks(),
            self.chunk_map() if "map" in header else None,
            self.box_map() if "boxes" in header else None,
            FrameTable(offsets, lengths, pieces),
            codec,
        )

    def data(self, name: str) -> bytes:
        return self.array(name, np.dtype(np.uint8), 1).tobytes()

    def array(self, name: str, dtype: np.dtype[Any], ndim: int) -> NDArray[Any]:
        array = self.arrays[name]
        if array.dtype != dtype or array.ndim != ndim:
            raise ValueError
        return array

    def columns(self, name: str, count: int) -> NDArray[np.uint64]:
        """Return the columns whose steps were written."""
        steps = self.array(name, np.dtype(np.int64), 2)
        if len(steps) != count:
            raise ValueError
        return np.cumsum(steps, axis=1).view(np.uint64)

    def blocks(self) -> list[tuple[int, bytes]]:
        content, spans = self.data("blocks"), self.array("spans", np.dtype(np.int64), 2)
        if spans.shape[1] != 2 or ((spans < 0) | (spans > self.size)).any():
            raise ValueError
        ends = np.cumsum(spans[:, 1]).tolist()
        if (ends[-1] if ends else 0) != len(content):
            raise ValueError
        return [(at, content[end - nbytes : end]) for (at, nbytes), end in zip(spans.tolist(), ends, strict=True)]

    def chunk_map(self) -> ChunkMap:
        index, position, size = self.columns("map", 3)
        others = {
            name.encode("latin-1"): (_integer(at, 1 << 64), _integer(nbytes, 1 << 64))
            for name, (at, nbytes) in self.header["map"]["others"].items()
        }
        if (index >= max_frames(self.size)).any():
            raise ValueError
        place = _integer(self.header["map"]["position"], self.size)
        return ChunkMap(index.view(np.int64), position, size, others, place)

    def box_map(self) -> BoxMap:
        [starts] = self.columns("boxes", 1)
        kinds, tags = (self.array(name, np.dtype("S4"), 1) for name in ("kinds", "tags"))
        if not kinds.shape == tags.shape == starts.shape or (starts > self.size).any():
            raise ValueError
        return BoxMap(kinds, tags, starts, _integer(self.header["boxes"]["end"], self.size))


def _integer(value: Any, limit: int) -> int:
    """Return a number of the header, which must be 0 to ``limit``."""
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError
    return value


def _steps(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """Return the differences along each column, shape (columns, n)."""
    values = np.array([np.asarray(column).view(np.int64) for column in columns])
    return np.diff(values, axis=1, prepend=0)
