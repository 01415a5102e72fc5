"""A persistent index: all that opening a file needs, in one small file of its own, checked against the ND2 file."""

from __future__ import annotations

import io
import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from zipfile import BadZipFile

import numpy as np

from nd2._core import errors
from nd2._core.format.chunks import PAGE, ChunkMap
from nd2._core.format.jp2 import BoxMap
from nd2._core.format.pixels import PixelLayout
from nd2._core.frames.read import Frames
from nd2._core.frames.table import FrameTable
from nd2._core.io import open_source
from nd2._core.io.destination import atomic_path
from nd2._core.io.open import file_system
from nd2._core.io.urls import is_url
from nd2._core.open import open_reader
from nd2._core.readers.legacy import LegacyReader
from nd2._core.readers.modern import OPENING, ModernReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.io import ByteSource, Span
    from nd2._core.readers import Reader

INDEX_SUFFIX = ".index"
_FORMAT, _VERSION = "nd2-index", 1
_MAX_CHUNK = 64 << 10
_MAX_INDEX = 1 << 30


@dataclass(frozen=True)
class Index:
    """What an index holds.

    Attributes
    ----------
    size : int
        Length of the ND2 file in bytes.
    version : str
        Its ETag or modification time when the index was made.
    end : bytes
        Its last bytes, a page at most.
    blocks : list of (int, bytes)
        Offset and bytes of the parts that hold metadata.
    chunk_map : ChunkMap or None
        Where each chunk is; None for legacy files.
    box_map : BoxMap or None
        Where each box of a legacy file is; None for others.
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

    def __reduce__(self) -> tuple[Any, ...]:
        return decode_index, (encode_index(self),)

    def open(self, source: ByteSource, **options: Any) -> Reader:
        """Return the reader of a file, which has to read nothing of what the index holds.

        Parameters
        ----------
        source : ByteSource
            The file.
        **options
            Those of `open_reader`. Where the file's own map is not to be trusted, neither is the index's.

        Raises
        ------
        OSError
            If the file changed since the index was made, or is another one.
        """
        self._check(source)
        reader = open_reader(source, **options)
        if options.get("search_window") is None and not options.get("rescue"):
            known: dict[str, Any] = {"frames": Frames(source, self.table, self.pixels)}
            if self.chunk_map is not None:
                known["chunk_map"] = self.chunk_map
            if self.box_map is not None:
                known["box_map"] = self.box_map
            vars(reader).update(known)
        return reader

    def _check(self, source: ByteSource) -> None:
        source.keep(self.blocks)
        _, size, version = source.identity
        told = f"the index was made of {self.size} bytes, version {self.version!r}"
        comparable = version and self.version and version.isdigit() == self.version.isdigit()
        if size != self.size or (comparable and version != self.version):
            found = f"this file has {size}, version {version!r}"
        elif source.read(size - len(self.end), len(self.end)) != self.end:
            found = "this file ends otherwise"
        else:
            return
        raise errors.source(
            f"the index is stale: {told}; {found}; make it anew with nd2.save_index",
            path=source.url,
        )


def save_index(
    path: Any,
    dest: str | os.PathLike[str] | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> str:
    """Write the index of an ND2 file, with which it opens by one small read.

    Parameters
    ----------
    path : str, os.PathLike, UPath
        The ND2 file: a local path, or a URL that fsspec knows.
    dest : str, os.PathLike, UPath, optional
        Where to write, a local path or a URL; by default beside the file, with ``.index`` behind its name.
    storage_options : Mapping, optional
        Options for the file system of the URL, and of ``dest`` where that is a URL.

    Returns
    -------
    str
        Where the index was written.

    Raises
    ------
    OSError
        If the file cannot be read, is not ND2, or the index cannot be written.
    ValueError
        If the file is damaged.

    Notes
    -----
    The index holds the file's length and its ETag or modification time, and its last bytes. An index that was made of
    a local file serves its copy in a bucket, too. It is data, not code: NumPy's ``.npz`` without pickles.

    Examples
    --------
    >>> nd2.save_index("s3://bucket/experiment.nd2", "experiment.index")  # doctest: +SKIP
    >>> nd2.ND2File("s3://bucket/experiment.nd2", index="experiment.index")  # doctest: +SKIP
    """
    source = open_source(path, storage_options)
    try:
        data = encode_index(make_index(source))
    finally:
        source.close()
    target = default_index_path(path) if dest is None else dest
    fs, inner = getattr(target, "fs", None), getattr(target, "path", None)
    if is_url(target):
        fs, inner = file_system(target, storage_options)
    if fs is None:
        with atomic_path(Path(target)) as partial:
            partial.write_bytes(data)
        return str(os.fspath(target))
    fs.pipe_file(inner, data)
    return str(fs.unstrip_protocol(inner))


def default_index_path(path: Any) -> Any:
    """Return what opens the index that lies beside a file."""
    fs, inner = getattr(path, "fs", None), getattr(path, "path", None)
    if fs is not None and isinstance(inner, str):
        from fsspec.core import OpenFile

        return OpenFile(fs, inner + INDEX_SUFFIX)
    return os.fsdecode(os.fspath(path)) + INDEX_SUFFIX


def load_index(index: Any, path: Any, storage_options: Mapping[str, Any] | None = None) -> Index:
    """Read an index.

    Parameters
    ----------
    index : str, os.PathLike, OpenFile, UPath or True
        Where the index is; True for the one beside the file.
    path : str, os.PathLike, OpenFile, UPath
        Where the file is.
    storage_options : Mapping, optional
        Options for the file system of the index's URL.

    Raises
    ------
    OSError
        If there is no index.
    ValueError
        If it is none.
    """
    opened = open_source(default_index_path(path) if index is True else index, storage_options)
    try:
        return decode_index(opened.read_start(_MAX_INDEX), path=opened.url)
    finally:
        opened.close()


# ------------------------------------------------------------------------------------------------------------- making


class _Recorder:
    """A byte source that keeps what metadata is read through it."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.blocks: dict[Span, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def read(self, offset: int, nbytes: int) -> bytes:
        return self.read_many([(offset, nbytes)])[0]

    def read_many(self, spans: Sequence[Span]) -> list[bytes]:
        data = self._source.read_many(spans)
        for span, part in zip(spans, data, strict=True):
            self.blocks[span] = part
        return data


def make_index(source: ByteSource) -> Index:
    """Collect what opening a file needs."""
    _, size, version = source.identity
    recorder = _Recorder(source)
    reader = open_reader(cast("ByteSource", recorder))
    signature = dict(recorder.blocks)
    frames = reader.frames  # reads the map and heads of frames, which the index holds as arrays
    chunk_map = reader.chunk_map if isinstance(reader, ModernReader) else None
    box_map = reader.box_map if isinstance(reader, LegacyReader) else None
    recorded, recorder.blocks = recorder.blocks, signature
    if isinstance(reader, ModernReader):
        first = reader.chunk_map.frame_position.min(initial=size)
        recorder.blocks |= {span: data for span, data in recorded.items() if span[0] == first}
        others = reader.chunk_map.others
        reader.chunk_many(
            [name for name in others if name in OPENING or others[name][1] <= _MAX_CHUNK]
        )
    elif isinstance(reader, LegacyReader):
        again = open_reader(cast("ByteSource", recorder))
        vars(again).update(box_map=box_map, frames=frames)
        _ = again.attributes, again.experiment, again.text_info, again.metadata
    end = source.read(max(size - PAGE, 0), min(PAGE, size))
    blocks = [(offset, data) for (offset, _), data in sorted(recorder.blocks.items())]
    return Index(size, version, end, blocks, chunk_map, box_map, frames.table, frames.pixels)


# ----------------------------------------------------------------------------------------------------- bytes, both ways


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
        known = index.chunk_map
        # In the order of frames, neighbours differ by the same steps, which compress to nothing.
        order = np.argsort(known.frame_index, kind="stable")
        columns = (known.frame_index, known.frame_position, known.frame_size)
        arrays["map"] = _steps(*(column[order] for column in columns))
        header["map"] = {
            "position": known.position,
            "others": {name.decode("latin-1"): place for name, place in known.others.items()},
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
    """Read an index from its bytes.

    Raises
    ------
    ValueError
        If they are not those of an index, or of a later version.
    """
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
