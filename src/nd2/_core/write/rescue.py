"""Getting frames out of damaged files, and writing what is left of a file as a sound one."""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.chunks import attributes as image_attributes
from nd2._core.chunks import fields
from nd2._core.format import chunks
from nd2._core.format.inflate import inflate_bounded
from nd2._core.format.pixels import padded_row_bytes
from nd2._core.io import open_source
from nd2._core.open import open_reader
from nd2._core.readers.scan import scan_chunks
from nd2._core.write.stream import ChunkStream

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

    from numpy.typing import DTypeLike, NDArray

    from nd2._core.format.chunks import ChunkHeader
    from nd2._core.io import ByteSource
    from nd2._core.readers import Reader
    from nd2._core.readers.chunk_file import ChunkFile
    from nd2._core.readers.rescue import RescueReport

_log = logging.getLogger("nd2.rescue")


def rescue_nd2(
    handle: str | os.PathLike[str] | BinaryIO,
    frame_shape: tuple[int, ...] = (),
    dtype: DTypeLike = "uint16",
    max_iters: int | None = None,
    verbose: bool = True,
    chunk_start: bytes = chunks.MAGIC_BYTES,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[NDArray[Any]]:
    """Find the frames in a file, whatever its chunk map says, and return them one by one.

    ``ND2File(path, rescue=True)`` is the better choice where metadata survived: it puts frames in their places.

    Parameters
    ----------
    handle : str, os.PathLike, BinaryIO
        Path, URL or open binary file.
    frame_shape : tuple of int
        Shape of a frame as it is stored: rows, columns, channels (and samples of a colour). By default frames are
        returned with one dimension.
    dtype : data type
        Type of a sample.
    max_iters : int, optional
        How many frames to return at most.
    verbose : bool
        Whether each frame, and each that is cut, is logged (logger ``nd2.rescue``, level INFO).
    chunk_start : bytes
        The bytes with which each chunk of the file starts.
    storage_options : Mapping, optional
        Options for the file system of a URL.

    Yields
    ------
    ndarray
        Frames in the order in which they lie in the file. Rows that are padded, and frames that are compressed, are
        unpacked where ``frame_shape`` is given. Frames that are cut, or too short for it, are passed over.

    Raises
    ------
    OSError
        If the file cannot be opened or read.
    ValueError
        If ``chunk_start`` is empty.

    Examples
    --------
    >>> frames = rescue_nd2("damaged.nd2", (512, 512, 2))  # doctest: +SKIP
    >>> stack = np.stack(list(frames))  # doctest: +SKIP
    """
    if not chunk_start:
        raise ValueError("chunk_start is empty")
    kind = np.dtype(dtype)
    source = open_source(handle, storage_options)
    try:
        left = math.inf if max_iters is None else max_iters
        for chunk in scan_chunks(source, chunk_start):
            if left <= 0:
                break
            if chunk.frame is None:
                continue
            frame = _frame(source, chunk.header, frame_shape, kind) if chunk.whole else None
            if verbose:
                said = "cut or too short" if frame is None else f"of shape {frame.shape}"
                _log.info("frame %d at %d: %s", chunk.frame, chunk.header.position, said)
            if frame is not None:
                left -= 1
                yield frame
    finally:
        source.close()


def _frame(
    source: ByteSource, head: ChunkHeader, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any] | None:
    """Read one frame; None if it is too short."""
    nbytes = head.data_length - chunks.TIMESTAMP
    if nbytes < 1:
        return None
    data = source.read(head.data_offset + chunks.TIMESTAMP, nbytes)
    if not shape:
        return np.frombuffer(data, dtype, nbytes // dtype.itemsize)
    row = math.prod(shape[1:]) * dtype.itemsize
    padded = padded_row_bytes(math.prod(shape[1:]), 1, dtype.itemsize)
    if nbytes not in (shape[0] * padded, shape[0] * row):
        with suppress(ValueError):
            data = inflate_bounded(data, shape[0] * padded)
    for stride in (padded, row):
        if len(data) >= shape[0] * stride:
            rows = np.frombuffer(data, np.uint8, shape[0] * stride).reshape(shape[0], stride)
            return np.ascontiguousarray(rows[:, :row]).view(dtype).reshape(shape)
    return None


def rescue_file(
    src: str | os.PathLike[str] | BinaryIO,
    dst: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> RescueReport:
    """Write what is left of a damaged file as a sound one, which any reader opens.

    Chunks are copied as they are: frames that are whole, and all metadata that can be decoded. A chunk map and a head are
    written anew; attributes too, where they are lost. The damaged file is only read.

    Parameters
    ----------
    src : str, os.PathLike, BinaryIO
        Path, URL or open binary file.
    dst : str or os.PathLike
        The file to write; it appears when it is complete.
    storage_options : Mapping, optional
        Options for the file system of a URL.

    Returns
    -------
    RescueReport
        What was found, and what is lost.

    Raises
    ------
    OSError
        If nothing of an ND2 file was found, or the copy cannot be written.
    ValueError
        If neither attributes nor a frame are left.
    NotImplementedError
        If the file is a legacy file.
    """
    with open_reader(src, storage_options=storage_options, rescue=True) as reader:
        report = reader.rescue_report
        if report is None or reader.chunk_file is None:
            raise errors.unsupported("writing a copy of a legacy file", path=reader.source.url)
        _copy(reader, reader.chunk_file, report, dst)
        return report


def _copy(
    reader: Reader, file: ChunkFile, report: RescueReport, dst: str | os.PathLike[str]
) -> None:
    attributes, table = reader.attributes, reader.frames.table
    guessed = report.attributes_are_guessed
    present = np.flatnonzero(table.present(len(table)))
    stream = ChunkStream(dst, int(present.max(initial=-1)) + 1, version=reader.version)
    try:
        others = [name for name in file.chunk_map.others if name != chunks.FILE_SIGNATURE]
        for name in others:
            data = file.chunk(name)
            if data is not None and (name not in image_attributes.NAMES or not guessed):
                stream.append(name, data)
        if guessed:
            name = image_attributes.NAMES[0 if reader.version >= (3, 0) else 1]
            stream.append(name, fields.encode(image_attributes.encode(attributes), reader.version))
        for index in present.tolist():
            offset, length = table.location(index)
            data = reader.source.read(offset - chunks.TIMESTAMP, length + chunks.TIMESTAMP)
            stamp, pixels = data[: chunks.TIMESTAMP], memoryview(data)[chunks.TIMESTAMP :]
            stream.append_frame(index, stamp, pixels)
        stream.finish()
    except BaseException:
        stream.abandon()
        raise
