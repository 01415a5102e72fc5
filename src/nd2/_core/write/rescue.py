"""Frames of damaged files, and sound copies of what is left of them."""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.format import chunks
from nd2._core.format.inflate import inflate_bounded
from nd2._core.format.pixels import padded_row_bytes
from nd2._core.io import open_source
from nd2._core.open import open_reader
from nd2._core.readers.scan import scan_chunks
from nd2._core.write.copy import copy_rescued

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

    from numpy.typing import DTypeLike, NDArray

    from nd2._core.format.chunks import ChunkHeader
    from nd2._core.io import ByteSource
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
    """Find the frames in a file without its chunk map, and yield them one by one.

    ``ND2File(path, rescue=True)`` is better if metadata survived, because it puts frames on their axes.

    Parameters
    ----------
    handle : str, os.PathLike, BinaryIO
        Path, URL or open binary file.
    frame_shape : tuple of int
        Shape of a stored frame: rows, columns, channels (and samples of a color). By default
        frames have one dimension.
    dtype : data type
        Type of a sample.
    max_iters : int, optional
        Maximum number of frames.
    verbose : bool
        Whether to log each frame, cut ones included (logger ``nd2.rescue``, level INFO).
    chunk_start : bytes
        The bytes with which each chunk of the file starts.
    storage_options : Mapping, optional
        Options for the file system of a URL.

    Yields
    ------
    ndarray
        Frames in the order of the file. With ``frame_shape``, padded rows and compressed frames are
        unpacked. Frames that are cut, or too short for it, are skipped.

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
                state = "cut or too short" if frame is None else f"of shape {frame.shape}"
                _log.info("frame %d at %d: %s", chunk.frame, chunk.header.position, state)
            if frame is not None:
                left -= 1
                yield frame
    finally:
        source.close()


def _frame(source: ByteSource, head: ChunkHeader, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any] | None:
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
    overwrite: bool = False,
    dtype: DTypeLike | None = None,
) -> RescueReport:
    """Copy what is left of a damaged file to a new file that any reader opens.

    Frames that are whole, and other chunks, are copied as they are, without damaged metadata. The
    chunk map and the header are new, and so are attributes and loops if they are lost. The
    damaged file is only read.

    Parameters
    ----------
    src : str, os.PathLike, BinaryIO
        Path, URL or open binary file.
    dst : str or os.PathLike
        The file to write; it appears when it is complete.
    storage_options : Mapping, optional
        Options for the file system of a URL.
    overwrite : bool
        Whether to replace an ND2 file that exists; never the damaged file itself.
    dtype : DTypeLike, optional
        Type of the samples if the attributes are lost: ``"uint8"``, ``"uint16"`` or ``"float32"``. By
        default it is guessed from the metadata and the pixels.

    Returns
    -------
    RescueReport
        What is left, and what is lost.

    Raises
    ------
    OSError
        If nothing of an ND2 file was found, or the copy cannot be written.
    FileExistsError
        If ``dst`` exists and is not to be overwritten, or is ``src``.
    ValueError
        If neither attributes nor a frame are left, or `dtype` is another type.
    NotImplementedError
        If the file is a legacy file.
    """
    with open_reader(src, storage_options=storage_options, rescue=True, dtype=dtype) as reader:
        report = reader.rescue_report
        if report is None:
            raise errors.unsupported("writing a copy of a legacy file", path=reader.source.url)
        copy_rescued(reader, dst, overwrite=overwrite)
        return report
