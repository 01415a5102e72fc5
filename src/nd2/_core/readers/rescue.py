"""Files whose chunk map, start or attributes are lost: a scan finds the chunks, and a report lists the losses.

`rescue_nd2` yields the frames alone, without their axes.
"""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.chunks import fields, optics, picture_metadata
from nd2._core.chunks.attributes import channel_count
from nd2._core.format import chunks
from nd2._core.format.inflate import MAX_RATIO, inflate_bounded, inflate_start, inflated_size
from nd2._core.format.pixels import padded_row_bytes
from nd2._core.frames import pool
from nd2._core.frames.grid import max_channels, max_frames
from nd2._core.frames.plan import FrameTable
from nd2._core.frames.read import Frames
from nd2._core.io import open_source
from nd2._core.readers.chunk_file import OPENING, ChunkFile
from nd2._core.readers.frame_table import frame_codec
from nd2._core.readers.reader import RescueReport
from nd2._core.readers.scan import collect, scan_chunks
from nd2._core.structures import Attributes, CustomLoop

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

    from numpy.typing import DTypeLike, NDArray

    from nd2._core.format.chunks import ChunkHeader
    from nd2._core.format.pixels import PixelLayout
    from nd2._core.io import ByteSource
    from nd2._core.readers.reader import Reader
    from nd2._core.structures import ExpLoop

_DTYPES = (np.dtype("u1"), np.dtype("<u2"), np.dtype("<f4"))
_SAMPLE = 1 << 20
"""Bytes of a frame that show how many bits its samples have."""
_SMALL_FRAME = 32 << 20
"""A frame that inflates to more than this, and by a high ratio, is not taken for the pattern of all others."""
_MIN_SAMPLE, _MIN_VALUES = 256, 8
"""Bytes, and different values of them, that show whether samples have 8 bits."""
_MAX_DISTANCE = 0.3
"""Greatest distance of the distributions of bytes at even and odd places in samples of 8 bits."""
_log = logging.getLogger("nd2.rescue")


def check_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return a type of samples that ND2 files have."""
    found = np.dtype(dtype)
    if found not in _DTYPES:
        raise ValueError(f"dtype is 'uint8', 'uint16' or 'float32', not {dtype!r}")
    return found


class Rescue(ChunkFile):
    """The chunks that a scan of a file finds, and a list of what is lost.

    Metadata that are lost or damaged count as absent. If the attributes are lost, the size of a frame
    follows from the picture metadata, the length of the frames and the type of the samples, if it is given.
    """

    def __init__(self, source: ByteSource, dtype: DTypeLike | None = None) -> None:
        self._dtype = None if dtype is None else check_dtype(dtype)
        self._scan = scan = collect(scan_chunks(source), source.size)
        if not len(scan):
            raise errors.not_nd2("no chunk of an ND2 file was found", path=source.url)
        super().__init__(source, scan.chunk_map)
        self._losses: dict[str, None] = {}
        if scan.absurd:
            frames = errors.plural(scan.absurd, "frame")
            self._note(f"{frames} with a number that no file of {source.size} bytes can reach")
        self._attributes_are_guessed = False

    def _note(self, sentence: str) -> None:
        self._losses[sentence] = None

    def _damaged(self, name: bytes, error: ValueError) -> dict[str, Any]:
        self._note(f"the chunk {name.decode('ascii', 'replace')!r} is damaged")
        return {}

    def version(self) -> tuple[int, int]:
        """Return the format version by the signature, or else by the names of the chunks."""
        with suppress(OSError, ValueError):
            version = chunks.parse_version(self.source.read_start(chunks.VERSION_BYTES))
            if version[0] > 1:  # files of version 1 have no chunks
                return version
        # Each chunk has two names: of its binary form and of its XML form.
        xml = any(name in self.chunk_map.others for name in OPENING[1::2])
        return (2, 1) if xml else (3, 0)

    def report(self, reader: Reader) -> RescueReport:
        """Return what was found and lost, after reading frames and metadata through a reader."""
        for name in self._scan.lost:
            self._note(f"the chunk {name!r} is cut")
        damaged: NDArray[np.int64] = self._scan.cut
        index = self.chunk_map.frame_index
        whole, missing = len(index), 0
        try:
            count = reader.frame_count  # first the loops, then the frames: the order of the report
            present = reader.frames.table.present(count)
            in_file = np.zeros(len(present), bool)
            in_file[index] = True
            damaged = np.union1d(damaged, np.flatnonzero(in_file & ~present))
            whole = int(present.sum())
            missing = int((~present[: reader.layout.frame_count]).sum())
            _ = reader.text_info, reader.metadata
        except (ValueError, NotImplementedError) as error:
            self._note(str(error))
        return RescueReport(whole, tuple(damaged.tolist()), missing, tuple(self._losses), self._attributes_are_guessed)

    def check_loops(self, loops: list[ExpLoop], frame_count: int) -> list[ExpLoop]:
        """Return the loops, or one of all frames if they are lost or claim far too many."""
        count = max(frame_count, int(self._scan.cut.max(initial=-1)) + 1, 1)
        if not loops and count > 1:
            self._note("the loops are lost: all frames are on one axis U")
        elif math.prod(loop.count for loop in loops) > max_frames(self.source.size):
            self._note("the loops claim more frames than a file can hold: all are on one axis U")
        else:
            return loops
        return [CustomLoop(count)]

    def guess_attributes(self, picture: fields.Tree | None, frame_count: int) -> Attributes:
        """Guess the pixel geometry from the picture metadata and the length of the frames."""
        lengths = self.chunk_map.frame_size.astype(np.int64)
        if not len(lengths):
            raise errors.corrupt("the image attributes are lost, and no frame is whole", path=self.source.url)
        self._attributes_are_guessed = True
        values, places, counts = np.unique(lengths, return_index=True, return_counts=True)
        most = np.argmax(counts)
        nbytes = max(int(values[most]) - chunks.TIMESTAMP, 0)
        data = self.source.read(int(self._scan.data_offset[places[most]]) + chunks.TIMESTAMP, nbytes)
        inflated = inflated_size(data, _SMALL_FRAME + 64 * nbytes)
        nbytes = max(nbytes if inflated is None else inflated, 1)
        attributes, by_camera = guess_geometry(
            picture,
            nbytes,
            compressed=inflated is not None,
            sample=data[:_SAMPLE] if inflated is None else inflate_start(data, _SAMPLE),
            dtype=self._dtype,
        )
        bits = attributes.bitsPerComponentInMemory
        size = f"{attributes.widthPx} x {attributes.heightPx} pixels of {bits} bits"
        origin = "by the camera's format" if by_camera else "a guess by their length"
        advice = "" if self._dtype else "; if that is wrong, pass dtype='uint8', 'uint16' or 'float32'"
        self._note(f"the image attributes are lost: frames are {size}, {origin}{advice}")
        return attributes._replace(sequenceCount=frame_count)

    def locate_frames(self, count: int, pixels: PixelLayout) -> Frames:
        """Make the table of the frames that are whole and can be decoded."""
        source, chunk_map = self.source, self.chunk_map
        index, stamp = chunk_map.frame_index, np.uint64(chunks.TIMESTAMP)
        offsets = self._scan.data_offset + stamp
        lengths = np.maximum(chunk_map.frame_size, stamp) - stamp
        pixels = replace(pixels, codec=frame_codec(source, offsets, lengths, pixels))
        if pixels.codec == "raw":
            sound = lengths >= pixels.frame_bytes
        else:
            sound = _check_streams(Frames(source, FrameTable(offsets, lengths), pixels))
        table = np.zeros((2, count), np.uint64)
        table[:, index[sound]] = offsets[sound], lengths[sound]
        cut = {}
        if self._scan.last_cut is not None and self._scan.last_cut[0] not in index:
            frame, start, nbytes = self._scan.last_cut
            cut[frame] = start + chunks.TIMESTAMP, nbytes - chunks.TIMESTAMP
        return Frames(source, FrameTable(*table), pixels, cut=cut)


def _check_streams(frames: Frames) -> NDArray[np.bool_]:
    """Return which compressed frames can be decoded, as their checksum shows."""
    table = frames.table
    sound = table.lengths * np.uint64(MAX_RATIO) >= frames.pixels.frame_bytes

    def check(frame: int) -> None:
        offset, length = table.location(frame)
        try:
            frames.decode(frames.source.read(offset, length), frame, offset)
        except ValueError:
            sound[frame] = False

    pool.run([(check, frame) for frame in np.flatnonzero(sound).tolist()])
    return sound


def guess_geometry(
    picture: fields.Tree | None,
    nbytes: int,
    *,
    compressed: bool,
    sample: bytes = b"",
    dtype: np.dtype[Any] | None = None,
) -> tuple[Attributes, bool]:
    """Guess the attributes of the image, and whether the camera's metadata state the size.

    A size that the camera states counts if a frame has as many bytes, not compressed; otherwise the image is
    taken to be square, or else a single row. If the type of the samples is unknown, the first pixels of a frame
    show whether they have 8 or 16 bits.
    """
    planes = fields.level(optics.picture_root(picture), "sPicturePlanes")
    components = fields.integer(planes, "uiCompCount") or fields.integer(planes, "uiCount")
    if not 0 < components <= min(nbytes, max_channels(nbytes)):  # unknown or damaged
        components = 1
    if dtype is not None:
        items: tuple[int, ...] = (dtype.itemsize,)
    else:
        items = (1, 2, 4) if _has_8_bits(sample, planes) else (2, 1, 4)
    sizes = [(*size, item, True) for size in _camera_sizes(planes) for item in items]
    for item in items:
        side = math.isqrt(nbytes // (components * item))
        # Rows of odd length are padded, so that fewer pixels fit.
        sizes += [(side, side, item, False), (side - 1, side - 1, item, False)]
    item = items[0] if dtype is not None or nbytes % (2 * components) == 0 else 1
    row = nbytes // (components * item), 1, item, False
    fitting = (
        (width, height, item, by_camera)
        for width, height, item, by_camera in sizes
        if min(width, height) > 0 and height * padded_row_bytes(width, components, item) == nbytes
    )
    width, height, item, by_camera = next(fitting, row)
    attributes = Attributes(
        bitsPerComponentInMemory=8 * item,
        bitsPerComponentSignificant=8 * item,
        componentCount=components,
        heightPx=height,
        pixelDataType="float" if item == 4 else "unsigned",
        sequenceCount=0,
        widthBytes=padded_row_bytes(width, components, item) if height > 1 else width * components * item,
        widthPx=width,
        compressionType="lossless" if compressed else None,
        channelCount=channel_count(picture_metadata.plane_count(picture), components),
    )
    return attributes, by_camera


def _camera_sizes(planes: fields.Tree) -> Iterator[tuple[int, int]]:
    """Yield width and height of the camera's formats, in pixels of the image; 0 or less where unknown."""
    for setting in fields.levels(fields.level(planes, "sSampleSetting")):
        camera = fields.level(setting, "pCameraSetting")
        for name in ("FormatQuality", "FormatFast"):
            description = fields.level(camera, name, "fmtDesc")
            binning = [max(int(fields.real(description, f"dBinning{axis}")), 1) for axis in "XY"]
            for level in (fields.level(description, "sizeSensorPixels"), fields.level(camera, name, "rectSensorUser")):
                width = fields.integer(level, "cx", fields.integer(level, "right") - fields.integer(level, "left"))
                height = fields.integer(level, "cy", fields.integer(level, "bottom") - fields.integer(level, "top"))
                yield width, height
                yield width // binning[0], height // binning[1]
    for name in ("sPlaneNew", "sPlane"):
        for plane in fields.levels(fields.level(planes, name)):
            setting = fields.level(plane, "sCameraSetting")
            yield fields.integer(setting, "uiCamPxlCountX"), fields.integer(setting, "uiCamPxlCountY")


def _has_8_bits(sample: bytes, planes: fields.Tree) -> bool:
    """Return whether samples have 8 bits: in samples of 16 bits, every other byte is of another kind."""
    data = np.frombuffer(sample, np.uint8, len(sample) // 2 * 2)
    if len(data) >= _MIN_SAMPLE and len(np.unique(data)) >= _MIN_VALUES:
        even, odd = (np.bincount(part >> 4, minlength=16) for part in (data[::2], data[1::2]))
        return bool(np.abs(even - odd).sum() / len(data) < _MAX_DISTANCE)
    for setting in fields.levels(fields.level(planes, "sSampleSetting")):
        camera = fields.level(setting, "pCameraSetting")
        bits = fields.integer(fields.level(camera, "FormatQuality", "fmtDesc"), "uiBpc")
        if bits:
            return bits <= 8
    return False


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
        Shape of a stored frame: rows, columns, channels (and samples of a color). By default frames have one dimension.
    dtype : data type
        Type of a sample.
    max_iters : int, optional
        Maximum number of frames.
    verbose : bool
        Whether to log each frame, cut ones included (logger ``nd2.rescue``, level INFO).
    chunk_start : bytes
        The first bytes of each chunk of the file.
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
            frame = _read_frame(source, chunk.header, frame_shape, kind) if chunk.whole else None
            if verbose:
                state = "cut or too short" if frame is None else f"of shape {frame.shape}"
                _log.info("frame %d at %d: %s", chunk.frame, chunk.header.position, state)
            if frame is not None:
                left -= 1
                yield frame
    finally:
        source.close()


def _read_frame(
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
