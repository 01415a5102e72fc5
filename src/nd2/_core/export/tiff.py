"""Writing a file as TIFF: OME-TIFF, an ImageJ hyperstack, or plain BigTIFF, through tifffile.

tifffile lays out the file (headers, one directory per page) with empty pages. The pixels are then
written in the order of the ND2 file: each frame is read once, a few frames at a time. Pages that are
compressed or have smaller copies are written one by one.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nd2._core import errors
from nd2._core.export.blocks import choose_levels
from nd2._core.export.ome import ome_xml
from nd2._core.export.pipeline import bar, pump
from nd2._core.io.destination import resolve
from nd2._core.io.part import write_at
from nd2._core.views.placement import Placement, batches, rgb_picks
from nd2._core.views.pyramid import pyramid
from nd2._core.views.summary import byte_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from ome_types import OME

    from nd2._core.readers import Reader
    from nd2._core.views.facts import Facts

    OnFrame = Callable[[int, int, dict[str, int]], None]
    Report = Callable[[NDArray[np.intp]], None]
    """Called with the sequence indices of frames that are written."""

_COMPRESSIONS = ("zlib", "lzw", "zstd")
_BUILT_IN = "zlib"
"""The compression that tifffile has without imagecodecs."""
_TILE = 512
"""Length in pixels of the sides of a tile; pages that are not larger have none."""
_PAGES_BLOCK = 32 << 20
"""Bytes of pixels to read at once for pages that are written one by one."""
_BLOCK = 2 << 20
"""Bytes of pixels to read at once, at least one frame: they stay in the processor's cache until written."""
_COMPRESSED_FACTOR = 4
"""Factor by which blocks of compressed frames are larger, so that several frames are inflated at once."""
_CLASSIC = (1 << 32) - (1 << 26)
"""Bytes of pixels that fit into a file with 32-bit offsets, with room for the directories."""
_IMAGEJ_TYPES = ("u1", "u2", "f4")
_OME_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
_PIECE = 512 << 10
"""Bytes of one write. Recent Linux kernels allocate pages as large as a write, which can be 8 times slower."""
_PLACEHOLDER = b"<OME></OME>     "
"""Too long to be stored in the entry of a directory itself, so that the entry holds an offset."""
_HEADER = 16
"""Bytes at the start of a TIFF file, without which it does not open."""


def write_tiff(
    reader: Reader,
    facts: Facts,
    dest: str | os.PathLike[str],
    *,
    include_unstructured_metadata: bool = True,
    progress: bool = False,
    on_frame: OnFrame | None = None,
    modify_ome: Callable[[OME], None] | None = None,
    position: int | None = None,
    compression: str | None = None,
    levels: int | Literal["auto"] = 1,
) -> None:
    """Write a file as TIFF; see ``ND2File.write_tiff``."""
    with errors.requirement("tifffile", "tiff", "to write TIFF files"):
        import tifffile

    destination = resolve(dest, "TIFF", overwrite=True, sources=[reader.source.url], local=True)
    file_name = Path(destination.name).name
    placement = Placement.from_layout(reader.layout)
    if position is not None:
        placement = placement.image_part(position)
    _check_compression(compression)
    levels = choose_levels(levels, (reader.layout.height, reader.layout.width))
    is_ome = ".ome." in file_name.lower()
    if is_ome and reader.dtype.name not in _OME_TYPES:
        raise TypeError(
            f"OME-TIFF has no pixels of {reader.dtype}: convert with .astype(np.float32) or another "
            f"of {', '.join(_OME_TYPES)}"
        )
    if levels > 1 and not is_ome:
        raise ValueError(f"a pyramid needs a name with '.ome.' in it, not {file_name!r}")

    def describe() -> bytes:
        text = ome_xml(
            reader,
            facts,
            include_unstructured=include_unstructured_metadata,
            tiff_file_name=file_name,
            position=position,
        )
        if modify_ome is None:
            return text.encode()
        from ome_types import from_xml

        ome = from_xml(text)
        modify_ome(ome)
        return ome.to_xml().encode()

    page_by_page = compression is not None or levels > 1
    # ``modify_ome`` runs in the caller's thread, before any pixel is written.
    description = describe() if is_ome and (page_by_page or modify_ome is not None) else None
    if page_by_page:
        with destination.file() as partial, bar(progress, len(placement.index), "frame") as advance:
            report = _reporter(reader, on_frame, advance)
            _write_pages(tifffile, partial, reader, facts, placement, compression, levels, description, report)
        return
    with destination.file() as partial, ThreadPoolExecutor(1) as background:
        offsets, entry = _lay_out(tifffile, reader, facts, placement, partial, is_ome)
        _check_space(partial)
        # The description is built while pixels are written.
        later = background.submit(describe) if is_ome and description is None else None
        with partial.open("r+b", buffering=0) as handle:
            # Without its header, an incomplete file does not open.
            header = handle.read(_HEADER)
            _write_all(handle.fileno(), memoryview(bytes(_HEADER)), 0)
            with bar(progress, len(placement.index), "frame") as advance:
                _fill(reader, placement, offsets, handle.fileno(), _reporter(reader, on_frame, advance))
            if later is not None:
                description = later.result()
            if description is not None:
                _describe(handle.fileno(), entry, description)
            _write_all(handle.fileno(), memoryview(header), 0)


def _check_compression(compression: str | None) -> None:
    if compression is None or compression == _BUILT_IN:
        return
    if compression not in _COMPRESSIONS:
        names = ", ".join(map(repr, _COMPRESSIONS))
        raise ValueError(f"compression must be None or one of {names}, not {compression!r}")
    with errors.requirement("imagecodecs", "legacy", f"for compression={compression!r}"):
        import imagecodecs  # noqa: F401  # only whether it is installed


def _write_pages(
    tifffile: Any,
    path: Path,
    reader: Reader,
    facts: Facts,
    placement: Placement,
    compression: str | None,
    levels: int,
    description: bytes | None,
    report: Report,
) -> None:
    """Write all pages of all images; without OME-XML, they are a single series that tifffile describes."""
    layout = {**_page_tags(facts), "compression": compression, "contiguous": False}
    if compression is not None and reader.dtype.kind in "iu":
        layout["predictor"] = True
    pages = _pages(reader, placement, report)
    with tifffile.TiffWriter(path, bigtiff=True, ome=False) as tif:
        if description is None:
            axes, shape = _axes(reader, placement, placement.nesting)
            if placement.images > 1:
                axes, shape = f"P{axes}", (placement.images, *shape)
            tif.write(pages, shape=shape, dtype=reader.dtype, metadata={"axes": axes}, **layout)
            return
        if max(reader.layout.height, reader.layout.width) > _TILE:
            layout["tile"] = (_TILE, _TILE)
        for page in pages:
            first, *smaller = pyramid(page, levels, axis=0)
            tif.write(first, description=description, subifds=len(smaller), metadata=None, **layout)
            description = None
            for level in smaller:
                tif.write(level, subfiletype=1, metadata=None, **layout)


def _pages(reader: Reader, placement: Placement, report: Report) -> Iterator[NDArray[Any]]:
    """Yield the pages in the order of the directories, each of shape (Y, X) or (Y, X, S)."""
    frames, picks = reader.frames, rgb_picks(reader)
    order = np.lexsort((placement.slots(placement.nesting), placement.image))
    for places in batches(order, max(_PAGES_BLOCK // max(frames.pixels.packed_frame_bytes, 1), 1)):
        index = placement.index[places]
        for channels in frames.read(index, picks):
            for page in channels:
                yield page if page.shape[-1] > 1 else page[..., 0]
        report(index)


def _page_tags(facts: Facts) -> dict[str, Any]:
    """Return the options for color and for the size of a pixel."""
    tags: dict[str, Any] = {"photometric": "rgb" if facts.is_color else "minisblack"}
    if facts.is_color:
        tags["planarconfig"] = "contig"
    if facts.pixel_size is not None:
        x, y = facts.pixel_size
        tags |= {"resolution": (1 / x, 1 / y), "resolutionunit": "MICROMETER"}
    return tags


def _reporter(reader: Reader, on_frame: OnFrame | None, advance: Callable[[int], None]) -> Report:
    """Return a function to call with the sequence indices of frames after they are written."""
    layout, done = reader.layout, 0

    def report(index: NDArray[np.intp]) -> None:
        nonlocal done
        advance(len(index))
        if on_frame is not None:
            columns = [column.tolist() for column in layout.grid.indices(index).values()]
            for where in zip(*columns, strict=True) if columns else [()] * len(index):
                on_frame(done, layout.frame_count, dict(zip(layout.grid.names, where, strict=True)))
                done += 1

    return report


def _lay_out(
    tifffile: Any, reader: Reader, facts: Facts, placement: Placement, path: Path, is_ome: bool
) -> tuple[NDArray[np.int64], int]:
    """Write the file without pixels and without the OME description.

    Returns the offset of each frame's pixels, shape (frames,), and that of the entry of the first
    directory that refers to the description.
    """
    frame_bytes = reader.frames.pixels.packed_frame_bytes
    fits = len(placement.index) * frame_bytes < _CLASSIC
    imagej = not is_ome and fits and _is_imagej(reader, placement)
    nesting = "TZ" if imagej else placement.nesting
    axes, shape = _axes(reader, placement, nesting)
    more = _imagej_metadata(facts, placement, axes) if imagej else {}
    options: dict[str, Any] = {
        "shape": shape,
        "dtype": reader.dtype,
        "metadata": None if is_ome else {"axes": axes, **more},
        "contiguous": False,
        "returnoffset": True,
        **_page_tags(facts),
    }
    starts = []
    with tifffile.TiffWriter(path, bigtiff=not imagej, imagej=imagej, ome=False) as tif:
        for image in range(placement.images):
            description = _PLACEHOLDER if is_ome and image == 0 else None
            start, _ = tif.write(None, description=description, **options)
            starts.append(start)
    entry = 0
    if is_ome:
        with tifffile.TiffFile(path) as tif:
            entry = tif.pages.first.tags["ImageDescription"].offset
    return np.array(starts, np.int64)[placement.image] + placement.slots(nesting) * frame_bytes, entry


def _describe(target: int, entry: int, text: bytes) -> None:
    """Write the description at the end of the file, and make its entry refer to it."""
    end = os.fstat(target).st_size
    end += end % 2
    _write_all(target, memoryview(text + b"\0"), end)
    # An entry of BigTIFF: tag and type, 2 bytes each, then count and offset, 8 bytes each.
    _write_all(target, memoryview(struct.pack("=QQ", len(text) + 1, end)), entry + 4)


def _axes(reader: Reader, placement: Placement, nesting: str) -> tuple[str, tuple[int, ...]]:
    """Return names and sizes of the axes of an image, without axes of size 1 other than Y and X."""
    layout = reader.layout
    counts = {"T": placement.times, "Z": placement.planes}
    sizes = {
        **{axis: counts[axis] for axis in nesting},
        "C": layout.channels,
        "Y": layout.height,
        "X": layout.width,
        "S": layout.samples,
    }
    kept = {axis: size for axis, size in sizes.items() if size > 1 or axis in "YX"}
    return "".join(kept), tuple(kept.values())


def _is_imagej(reader: Reader, placement: Placement) -> bool:
    """Return whether an ImageJ hyperstack can hold the file: one image, of a type that ImageJ has."""
    kind = reader.dtype.str[1:]
    return placement.images == 1 and (kind == "u1" if reader.layout.samples > 1 else kind in _IMAGEJ_TYPES)


def _imagej_metadata(facts: Facts, placement: Placement, axes: str) -> dict[str, Any]:
    """Return ImageJ's unit, distance of planes, interval of time points and look-up tables."""
    metadata: dict[str, Any] = {}
    # ImageJ has one unit for all axes: without a pixel size, the distance of planes has no unit.
    if facts.pixel_size is not None:
        metadata["unit"] = "um"
        if facts.z_step is not None:
            metadata["spacing"] = facts.z_step
    step = facts.time_step(placement.first_frames) if "T" in axes else None
    if step is not None:
        metadata["finterval"] = step / 1000
    if not facts.is_color:
        metadata["mode"] = "composite" if "C" in axes else "grayscale"
        ramp = np.arange(256, dtype=np.uint16)
        metadata["LUTs"] = [
            np.array([ramp * part // 255 for part in channel.rgb], np.uint8) for channel in facts.channels
        ]
    return metadata


def _fill(reader: Reader, placement: Placement, offsets: NDArray[np.int64], target: int, report: Report) -> None:
    """Write the pixels of every frame."""
    frames, picks = reader.frames, rgb_picks(reader)
    size = frames.pixels.packed_frame_bytes
    present = frames.table.present(reader.layout.frame_count)
    spare: list[NDArray[Any]] = []
    block = _BLOCK if frames.pixels.codec == "raw" else _BLOCK * _COMPRESSED_FACTOR
    count = max(block // max(size, 1), 1)

    def blocks() -> Iterator[tuple[NDArray[np.intp], NDArray[Any]]]:
        for places in batches(placement.in_file_order(frames), count):
            buffer = spare.pop() if spare else np.empty((count, *frames.pixels.shape), reader.dtype)
            index = placement.index[places]
            if present[index].any():  # pages of missing frames stay zero
                frames.read(index, picks, out=buffer[: len(places)])
            yield places, buffer

    def write(block: tuple[NDArray[np.intp], NDArray[Any]]) -> None:
        places, buffer = block
        if not present[placement.index[places]].any():
            return
        data = buffer.reshape(-1).view(np.uint8).data
        where = offsets[places]
        cuts = np.flatnonzero(np.diff(where) != size) + 1
        edges = [0, *cuts.tolist(), len(places)]
        for first, stop in pairwise(edges):
            _write_all(target, data[first * size : stop * size], int(where[first]))

    def done(block: tuple[NDArray[np.intp], NDArray[Any]]) -> None:
        places, buffer = block
        spare.append(buffer)
        report(placement.index[places])

    # Writing copies into the system's cache, where a second thread waits for the first.
    pump(blocks(), write, done, writers=1)


def _check_space(path: Path) -> None:
    """Raise an error before anything is written if the disk has no space for the pixels.

    Allocating the space (``posix_fallocate``) would be safer, but makes writing 50 % slower.
    """
    need, free = path.stat().st_size, shutil.disk_usage(path.parent).free
    if need > free:
        raise OSError(errno.ENOSPC, f"{byte_size(need)} are needed, {byte_size(free)} are free", str(path.parent))


def _write_all(target: int, data: memoryview, offset: int) -> None:
    for first in range(0, len(data), _PIECE):
        write_at(target, [data[first : first + _PIECE]], offset + first)
