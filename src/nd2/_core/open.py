"""The one way to open a file: the options, the first bytes, and the choice of the reader."""

from __future__ import annotations

import warnings
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypedDict

from nd2._core.format import chunks
from nd2._core.io import ByteSource, open_source
from nd2._core.io.source import LEGACY_MAGIC_BYTES, is_magic
from nd2._core.io.urls import local_path, sibling
from nd2._core.readers.chunk_file import ChunkFile
from nd2._core.readers.modern import ModernReader

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from typing import Unpack

    from numpy.typing import DTypeLike

    from nd2._core.readers import Reader
    from nd2._core.readers.sidecar import Index


class ReadOptions(TypedDict, total=False):
    """Options that decide how a file is read; `nd2.ND2File` describes them."""

    flat_frames: bool
    validate_frames: bool
    search_window: int
    rescue: bool
    dtype: DTypeLike | None


class OpenOptions(ReadOptions, total=False):
    """Options for opening a file."""

    storage_options: Mapping[str, Any] | None
    index: str | os.PathLike[str] | Literal[True] | None


def read_magic(file: Any, storage_options: Mapping[str, Any] | None = None) -> bytes:
    """Return the first four bytes of a file, fewer if it is shorter."""
    with closing(open_source(file, storage_options)) as source:
        return source.read_start(4)


def is_supported_file(
    path: Any, open_: Callable[[Any], BinaryIO] | None = None, *, storage_options: Mapping[str, Any] | None = None
) -> bool:
    """Return whether a file is ND2, by its first four bytes.

    Parameters
    ----------
    path : str, os.PathLike, BinaryIO
        Path, URL or open binary file.
    open_ : callable, optional
        Function that opens ``path`` for reading bytes, instead of this package.
    storage_options : Mapping, optional
        Options for the file system of a URL.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    if open_ is None:
        return is_magic(read_magic(path, storage_options))
    with open_(path) as handle:
        return is_magic(handle.read(4))


def is_legacy(path: Any, *, storage_options: Mapping[str, Any] | None = None) -> bool:
    """Return whether a file is a legacy (JPEG 2000) ND2 file, as `is_supported_file` does."""
    return read_magic(path, storage_options) == LEGACY_MAGIC_BYTES


def open_reader(file: Any, sidecar: Index | None = None, **options: Unpack[OpenOptions]) -> Reader:
    """Open a file, and return the reader of its format."""
    storage_options, index = options.get("storage_options"), options.get("index")
    source = file if isinstance(file, ByteSource) else open_source(file, storage_options)
    try:
        if index is not None:
            from nd2._core.readers.sidecar import INDEX_SUFFIX, load_index

            sidecar = load_index(sibling(file, INDEX_SUFFIX) if index is True else index, storage_options)
        if sidecar is not None:
            sidecar.attach(source)
        reader = _choose_reader(source, sidecar, options)
        reader.index = sidecar
        return reader
    except BaseException:
        source.close()
        raise


def _choose_reader(source: ByteSource, index: Index | None, options: ReadOptions) -> Reader:
    flat_frames = options.get("flat_frames", False)
    if options.get("rescue"):
        return _rescue(source, flat_frames, options.get("dtype"))
    if options.get("dtype") is not None:
        raise ValueError("dtype is only used with rescue=True")
    start = source.read(0, min(chunks.VERSION_BYTES, source.size))
    version = chunks.parse_version(start, path=source.url)
    if version[0] == 1:
        from nd2._core.readers.legacy import LegacyReader

        box_map = None if index is None else index.box_map
        return LegacyReader(source, flat_frames=flat_frames, box_map=box_map)
    if options.get("validate_frames"):
        from nd2._core.readers.validation import ValidatedFile

        file: ChunkFile = ValidatedFile(source, options.get("search_window", 100) * 1000)
    else:
        file = ChunkFile(source, None if index is None else index.chunk_map)
    return ModernReader(file, version, flat_frames=flat_frames)


def _rescue(source: ByteSource, flat_frames: bool, dtype: DTypeLike | None) -> Reader:
    """Return a reader for what is left of a file; warn if something is lost."""
    if source.read_start(8) == LEGACY_MAGIC_BYTES + b"jP  ":
        from nd2._core.format.jp2 import walk
        from nd2._core.readers.legacy import LegacyReader

        box_map = walk(source.read, source.size)
        return LegacyReader(source, flat_frames=flat_frames, box_map=box_map)
    from nd2._core.readers.rescue import Rescue

    rescue = Rescue(source, dtype)
    reader = ModernReader(rescue, rescue.version(), flat_frames=flat_frames, rescue=rescue)
    report = reader.rescue_report
    if report is not None and not report.complete:
        warnings.warn(f"rescued file {source.url!r}: {report}", stacklevel=5)
    return reader


def save_index(
    path: Any,
    dest: str | os.PathLike[str] | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> str:
    """Write the sidecar index of an ND2 file. A file with an index opens with one small read.

    Parameters
    ----------
    path : str, os.PathLike, UPath
        The ND2 file: a local path, or a URL that fsspec supports.
    dest : str, os.PathLike, UPath, optional
        Local path or URL of the index; by default next to the file, with ``.index`` appended to its name.
    storage_options : Mapping, optional
        Options for the file system of the URL, and of ``dest`` if that is a URL.
    overwrite : bool
        Whether to replace an index that exists.

    Returns
    -------
    str
        Path or URL of the index.

    Raises
    ------
    OSError
        If the file cannot be read, is not ND2, or the index cannot be written.
    FileExistsError
        If ``dest`` exists and is not to be overwritten, or is an ND2 file.
    ValueError
        If the file is damaged, or the suffix of ``dest`` belongs to another format.

    Notes
    -----
    The index holds the file's length and its ETag or modification time, and its last bytes. An index made of a local
    file also serves a copy of the file in a bucket. It is data, not code: NumPy's ``.npz`` without pickles.

    Examples
    --------
    >>> nd2.save_index("s3://bucket/experiment.nd2", "experiment.index")  # doctest: +SKIP
    >>> nd2.ND2File("s3://bucket/experiment.nd2", index="experiment.index")  # doctest: +SKIP
    """
    from nd2._core.io.destination import resolve
    from nd2._core.readers.sidecar import INDEX_SUFFIX, encode_index

    target = sibling(path, INDEX_SUFFIX) if dest is None else dest
    destination = resolve(target, "sidecar index", overwrite=overwrite, storage_options=storage_options)
    destination.write(encode_index(make_index(path, storage_options)))
    return destination.url or local_path(target)


def make_index(path: Any, storage_options: Mapping[str, Any] | None = None) -> Index:
    """Collect the metadata that opening a file needs."""
    from nd2._core.readers.sidecar import Index, Recorder

    with open_reader(path, storage_options=storage_options) as reader:
        source, frames = reader.source, reader.frames
        _, size, version = source.identity
        end = source.read(max(size - chunks.PAGE, 0), min(chunks.PAGE, size))
        chunk_map = None if reader.version[0] == 1 else reader.chunk_file.chunk_map
        index = Index(size, version, end, [], chunk_map, reader.box_map, frames.table, frames.pixels.codec)
        # A second reader, which has these maps, reads only metadata.
        recorder = Recorder(source)
        _choose_reader(recorder, index, {}).load_metadata()
        blocks = [(offset, data) for (offset, _), data in sorted(recorder.blocks.items())]
        return replace(index, blocks=blocks)
