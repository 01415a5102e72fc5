"""Copies: parts of a file, what is left of a damaged file, and the metadata of a file with new frames.

Frames, and chunks that do not depend on which frames there are, are copied as stored bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nd2._core import errors
from nd2._core.chunks import fields, picture_metadata, recorded_data
from nd2._core.format import chunks, clx_xml
from nd2._core.open import open_reader
from nd2._core.write.plan import Plan
from nd2._core.write.selection import AXES, PYRAMID, Region, Selection, first_frame, pick_indices
from nd2._core.write.stream import ChunkStream

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

    from numpy.typing import DTypeLike, NDArray

    from nd2._core.format.pixels import Codec
    from nd2._core.readers import Reader
    from nd2._core.readers.reader import RescueReport
    from nd2._core.views.facts import Facts
    from nd2._core.write.selection import Pick
    from nd2._core.write.tables import FrameLog

NamedPick: TypeAlias = "Pick | str | Sequence[str] | None"

_BATCH = 16 << 20
"""Bytes that are copied at once."""


def crop(
    reader: Reader,
    facts: Facts,
    dest: str | os.PathLike[str],
    position: int | str | None,
    named_picks: Mapping[str, NamedPick],
    *,
    overwrite: bool = False,
) -> None:
    """Write some frames of a file, or a part of each, as a new file; see ``ND2File.write_nd2``."""
    _refuse_legacy(reader, "writing a part of")
    loops = dict(reader.layout.loops)
    known = (*loops, *AXES)
    picks: dict[str, Any] = {axis: pick for axis, pick in named_picks.items() if pick is not None}
    if position is not None:
        index = facts.position_index(position)  # also checked if there are no positions
        if "P" in loops:
            picks["P"] = index
    channels = picks.get("C", 0)
    if isinstance(channels, str):
        picks["C"] = facts.channel_indices([channels])
    elif np.ndim(channels):
        picks["C"] = sorted(facts.channel_indices(channels))
    if unknown := [name for name in picks if name not in known]:
        raise errors.no_such("axis", unknown[0], known, path=reader.source.url, kind=IndexError)
    region = Region.from_picks(reader, picks)
    indices = [pick_indices(f"loop {name!r}", count, picks.get(name)) for name, count in loops.items()]
    if region is None and all(len(index) == count for index, count in zip(indices, loops.values(), strict=True)):
        selection = Selection(reader, np.arange(reader.frame_count))  # frames beyond the loops included
    else:
        selection = Selection(reader, reader.layout.grid.frames(indices).reshape(-1), indices, region)
    _copy(reader, dest, selection, overwrite)


def _refuse_legacy(reader: Reader, action: str) -> None:
    if reader.version[0] == 1:
        raise errors.unsupported(f"{action} a legacy file", path=reader.source.url)


class CopiedTables:
    """The unchanged chunks of another file, without its frames; has the methods of `NewTables`."""

    def __init__(self, reader: Reader, facts: Facts) -> None:
        _refuse_legacy(reader, "writing the metadata of")
        codec: Codec = "zlib" if reader.attributes.compressionType == "lossless" else "raw"
        self.plan: Plan = Plan(
            reader.attributes,
            reader.experiment,
            [],
            replace(reader.frames.pixels, codec=codec),
            reader.layout,
            reader.frame_count,
        )
        self.version: tuple[int, int] = reader.version
        self.times: NDArray[np.float64] = facts.times(np.arange(reader.frame_count))
        self._columns = list(reader.recorded_data.values())
        self._selection = Selection(reader, np.arange(reader.frame_count))
        self._picture = fields.name(picture_metadata.NAMES, self.version), b""

    def start(self) -> Iterator[tuple[bytes, bytes]]:
        for name, data in self._selection.chunks():
            if name in picture_metadata.NAMES:
                self._picture = name, data
            if not name.startswith(PYRAMID):
                yield name, data

    def finish(self, log: FrameLog) -> Iterator[tuple[bytes, bytes]]:
        if not np.array_equal(log.times, self.times, equal_nan=True):
            yield recorded_data.TIMES, log.recorded_times().astype("<f8").tobytes()
        kept, own = log.merged(self._columns)
        for column in own:
            yield recorded_data.column_name(column.id), column.load() or b""
        if own:
            yield recorded_data.NAME, clx_xml.encode(recorded_data.encode([*kept, *own]))
        name, data = self._picture
        if data:
            default = first_frame(data)
            first = log.first_frame(default, self.plan.loops)
            if np.array_equal(log.times[:1], self.times[:1], equal_nan=True):
                first = replace(first, time_ms=default.time_ms)
            if first != default:
                x, y, z = first.stage
                new = {"dTimeMSec": first.time_ms, "dXPos": x, "dYPos": y, "dZPos": z}
                yield name, self._selection.edit(name, data, new)


def _copy(reader: Reader, dest: str | os.PathLike[str], selection: Selection, overwrite: bool) -> None:
    region = selection.region
    stream = ChunkStream(
        dest,
        len(selection.frames),
        version=reader.version,
        overwrite=overwrite,
        sources=[reader.source.url],
        compressed=region is not None and region.pixels.codec == "zlib",
    )
    try:
        for name, data in selection.chunks():
            stream.append(name, data)
        _copy_frames(reader, stream, selection.frames, region)
        stream.wait()
        stream.finish()
    except BaseException:
        stream.abandon()
        raise


def _copy_frames(reader: Reader, stream: ChunkStream, frames: NDArray[np.intp], region: Region | None) -> None:
    """Copy the stored bytes of frames, or a part of each, with their timestamps; missing ones stay missing."""
    stamp = chunks.TIMESTAMP
    offsets, lengths = reader.frames.table.locations(frames)
    present = np.flatnonzero(lengths)
    sizes = lengths if region is None else np.full(len(frames), region.pixels.frame_bytes)
    batches = np.cumsum(sizes[present]) // _BATCH
    for part in np.split(present, np.flatnonzero(np.diff(batches)) + 1):
        tails = lengths[part] if region is None else np.zeros(len(part), int)
        spans = zip((offsets[part] - stamp).tolist(), (tails + stamp).tolist(), strict=True)
        stored = [memoryview(data) for data in reader.source.read_many(list(spans))]
        if region is None:
            for number, data in zip(part.tolist(), stored, strict=True):
                stream.append_frame(number, bytes(data[:stamp]), data[stamp:])
        elif len(part):
            pixels = reader.frames.read(frames[part], region.picks)
            for number, head, frame in zip(part.tolist(), stored, pixels, strict=True):
                stream.write_frame(number, bytes(head), memoryview(region.pixels.encode(frame)))


def rescue_file(
    src: str | os.PathLike[str] | BinaryIO,
    dst: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    dtype: DTypeLike | None = None,
) -> RescueReport:
    """Copy what is left of a damaged file to a new file that any reader opens.

    Whole frames and other chunks are copied unchanged, without damaged metadata. The chunk map and the
    header are new, and so are attributes and loops if they are lost. The damaged file is only read.

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
        table = reader.frames.table
        present = np.flatnonzero(table.present(len(table)))
        frames = np.arange(present.max(initial=-1) + 1)  # up to the last whole frame
        _copy(reader, dst, Selection(reader, frames), overwrite)
        return report
