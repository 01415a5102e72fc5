"""A subset of a file as a file: frames are copied as bytes, everything that is not per frame as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nd2._core import errors
from nd2._core.chunks import attributes, experiment, fields, picture_metadata, recorded_data
from nd2._core.chunks.picture_metadata import DAY_MS
from nd2._core.format import chunks, clx_lite, clx_xml
from nd2._core.format.clx_lite import I32, U32, Items
from nd2._core.structures import (
    NETimeLoop,
    NETimeLoopParams,
    TimeLoop,
    TimeLoopParams,
    XYPosLoop,
    XYPosLoopParams,
    ZStackLoop,
)
from nd2._core.write.like import picture_tree
from nd2._core.write.plan import measured_time_loop
from nd2._core.write.stream import ChunkStream

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.readers import Reader
    from nd2._core.readers.chunk_file import ChunkFile
    from nd2._core.structures import ExpLoop

Pick: TypeAlias = "int | slice | Sequence[int]"

_BATCH = 16 << 20
"""Bytes that are copied at once."""
_CACHES = (
    recorded_data.TIMES,
    b"CustomData|AcqTimes2Cache!",
    b"CustomData|AcqFramesCache!",
    b"CustomData|TimeSourceCache!",
)
_SIGNATURES = (b"CustomData|Authentication", chunks.SEQUENCE_PREFIX + b"Authentication")
"""Digital signatures, which hold for the whole file only."""


def crop(reader: Reader, dest: str | os.PathLike[str], picks: Mapping[str, Pick | None]) -> None:
    """Write some frames of a file as a file of their own.

    Parameters
    ----------
    reader : Reader
        The file.
    dest : str or os.PathLike
        The file to write; it may be the same file.
    picks : mapping
        Name of a loop to what is taken of it: an index, a slice, or indices in increasing order; None for all.

    Raises
    ------
    IndexError
        If an index is out of range, or the file has no such loop.
    ValueError
        If nothing is left, or the file is damaged.
    NotImplementedError
        If it is a legacy file.
    OSError
        If the file cannot be written; nothing is left of it then.
    """
    if reader.chunk_file is None:
        raise errors.unsupported("writing a part of a legacy file", path=reader.source.url)
    layout = reader.layout
    counts = dict(layout.loops)
    if unknown := [name for name, pick in picks.items() if pick is not None and name not in counts]:
        raise errors.no_such("loop", unknown[0], counts, path=reader.source.url, kind=IndexError)
    taken = [_indices(name, count, picks.get(name)) for name, count in layout.loops]
    whole = all(
        len(places) == count for places, (_, count) in zip(taken, layout.loops, strict=True)
    )
    if whole:
        frames = np.arange(reader.frame_count)  # those beyond the loops, too
    else:
        frames = layout.grid.frames(taken).reshape(-1)
    stream = ChunkStream(dest, len(frames), version=reader.version)
    try:
        _copy_metadata(reader, reader.chunk_file, stream, taken, frames, whole=whole)
        _copy_frames(reader, stream, frames)
        stream.finish()
    except BaseException:
        stream.abandon()
        raise


def _indices(name: str, count: int, pick: Pick | None) -> NDArray[np.intp]:
    """Return which steps of a loop are taken."""
    if pick is None:
        return np.arange(count)
    if isinstance(pick, slice):
        places = np.arange(count)[pick]
    else:
        places = np.atleast_1d(np.asarray(pick, np.intp))
        if ((places < -count) | (places >= count)).any():
            raise IndexError(f"index {pick} is out of range for loop {name} of {count}")
        places = np.where(places < 0, places + count, places)
    if not len(places):
        raise ValueError(f"nothing is left of loop {name}: {pick} of {count}")
    if (np.diff(places) <= 0).any():
        raise ValueError(f"{pick} of loop {name} is not in increasing order")
    return places


# --- frames --------------------------------------------------------------------------------------------------------


def _copy_frames(reader: Reader, stream: ChunkStream, frames: NDArray[np.intp]) -> None:
    """Copy the stored bytes of the frames, their timestamps included; those that are missing stay missing."""
    stamp = chunks.TIMESTAMP
    offsets, lengths = reader.frames.table.locations(frames)
    present = np.flatnonzero(lengths)
    batches = np.cumsum(lengths[present]) // _BATCH
    for part in np.split(present, np.flatnonzero(np.diff(batches)) + 1):
        spans = [
            (offset - stamp, length + stamp)
            for offset, length in zip(offsets[part].tolist(), lengths[part].tolist(), strict=True)
        ]
        for number, data in zip(part.tolist(), reader.source.read_many(spans), strict=True):
            view = memoryview(data)
            stream.append_frame(number, bytes(view[:stamp]), view[stamp:])


# --- everything else -----------------------------------------------------------------------------------------------


def _copy_metadata(
    reader: Reader,
    file: ChunkFile,
    stream: ChunkStream,
    taken: list[NDArray[np.intp]],
    frames: NDArray[np.intp],
    *,
    whole: bool,
) -> None:
    """Copy all other chunks; those that speak of frames are brought into line with the frames that are taken."""
    columns = {recorded_data.column_name(name): c for name, c in reader.recorded_data.items()}
    others = [n for n in file.chunk_map.others if n != chunks.FILE_SIGNATURE]
    for name in others:
        if name.startswith(_SIGNATURES):
            continue
        if name.startswith(chunks.SEQUENCE_PREFIX):
            _copy_sequence(file, stream, name, frames)
            continue
        data = file.chunk(name) or b""
        if whole:
            pass
        elif name in attributes.NAMES:
            data = _edited(data, {"uiSequenceCount": U32(len(frames))})
        elif name in experiment.NAMES:
            tree = experiment.encode(_loops(reader, taken)) or {}
            data = fields.encode(tree, (2, 0) if clx_xml.is_xml(data) else (3, 0))
        elif name in picture_metadata.NAMES:
            data = _edited(data, _first_frame(reader, taken, frames))
        elif name in _CACHES:
            data = _cells(data, frames, reader.frame_count, 4 if b"Frames" in name else 8)
        elif name == recorded_data.NAME:
            data = _edited(data, {"Size": I32(len(frames))})
        elif name in columns and columns[name].size:
            size = columns[name].size
            data = _cells(data, frames, size, len(data) // size)
        stream.append(name, data)


def _copy_sequence(
    file: ChunkFile, stream: ChunkStream, name: bytes, frames: NDArray[np.intp]
) -> None:
    """Copy a chunk of a frame under the frame's new number."""
    stem, _, number = name[:-1].rpartition(b"|")
    if not number.isdigit():
        return
    place = int(np.searchsorted(frames, int(number)))
    if place < len(frames) and frames[place] == int(number):
        stream.append(b"%s|%d!" % (stem, place), file.chunk(name) or b"")


def _cells(data: bytes, frames: NDArray[np.intp], count: int, item: int) -> bytes:
    """Take the cells of some frames; of a table that is too short, those that it has."""
    item = len(data) // count if count and len(data) % count == 0 and len(data) >= count else item
    if not item:
        return data
    cells = np.frombuffer(data, np.uint8, len(data) // item * item).reshape(-1, item)
    return cells[frames[frames < len(cells)]].tobytes()


def _edited(data: bytes, values: Mapping[str, Any]) -> bytes:
    """Return a payload with some values replaced, wherever they stand; all others are kept as they are."""
    form: Any = clx_xml if clx_xml.is_xml(data) else clx_lite
    edited: bytes = form.encode(_replaced(form.decode_items(data), values))
    return edited


def _replaced(items: Items, values: Mapping[str, Any]) -> Items:
    out = Items()
    for name, value in items:
        if isinstance(value, Items):
            out.append((name, _replaced(value, values)))
        elif value is not None:
            out.append((name, values.get(name, value)))
    return out


def _first_frame(
    reader: Reader, taken: list[NDArray[np.intp]], frames: NDArray[np.intp]
) -> dict[str, float]:
    """Return what the picture metadata say of the first frame that is taken, where it differs."""
    values: dict[str, float] = {}
    times, first = reader.frame_times, int(frames[0])
    if times is not None and first < len(times) and np.isfinite(times[[0, first]]).all():
        values["dTimeMSec"] = float(times[first])
        if reader.start_julian_day:
            passed = float(times[first] - times[0]) / DAY_MS
            values["dTimeAbsolute"] = reader.start_julian_day + passed
    shift = _z_shift(reader, taken)
    sets_z = any(isinstance(o, XYPosLoop) and o.parameters.isSettingZ for o in reader.experiment)
    if shift and not sets_z:
        values["dZPos"] = fields.real(picture_tree(reader), "dZPos") + shift
    return values


# --- loops ---------------------------------------------------------------------------------------------------------


def _loops(reader: Reader, taken: list[NDArray[np.intp]]) -> list[ExpLoop]:
    """Return the loops as they are by what is taken of them."""
    shift = _z_shift(reader, taken)
    return [
        loop
        if len(places) == loop.count and not (shift and isinstance(loop, XYPosLoop))
        else _part(reader, axis, loop, places, shift)
        for axis, (loop, places) in enumerate(zip(reader.experiment, taken, strict=True))
    ]


def _part(
    reader: Reader, axis: int, loop: ExpLoop, places: NDArray[np.intp], z_shift: float
) -> ExpLoop:
    count = len(places)
    if isinstance(loop, TimeLoop):
        return _time_part(reader, axis, loop, places)
    if isinstance(loop, NETimeLoop):
        ends = np.cumsum([period.count for period in loop.parameters.periods])
        counts = np.bincount(np.searchsorted(ends, places, side="right"), minlength=len(ends))
        periods = [
            replace(period, count=int(n))
            for period, n in zip(loop.parameters.periods, counts, strict=True)
            if n
        ]
        return replace(loop, count=count, parameters=NETimeLoopParams(periods))
    if isinstance(loop, XYPosLoop):
        points = [loop.parameters.points[i] for i in places.tolist()]
        if z_shift and loop.parameters.isSettingZ:
            points = [
                replace(
                    p, stagePositionUm=p.stagePositionUm._replace(z=p.stagePositionUm.z + z_shift)
                )
                for p in points
            ]
        return replace(
            loop, count=count, parameters=XYPosLoopParams(loop.parameters.isSettingZ, points)
        )
    if isinstance(loop, ZStackLoop):
        home, step = _stack(loop, places)
        parameters = replace(loop.parameters, homeIndex=home, stepUm=loop.parameters.stepUm * step)
        return replace(loop, count=count, parameters=parameters)
    return replace(loop, count=count)


def _time_part(reader: Reader, axis: int, loop: TimeLoop, places: NDArray[np.intp]) -> TimeLoop:
    """Return a time loop with fewer steps; its measured period from the recorded times, if there are any."""
    given = loop.parameters
    step = int(places[1] - places[0]) if len(places) > 1 else 1
    nominal = TimeLoopParams(
        startMs=given.startMs + float(places[0]) * given.periodMs,
        periodMs=given.periodMs * step,
        durationMs=given.periodMs * step * max(len(places) - 1, 0),
        periodDiff=given.periodDiff,
    )
    part = replace(loop, count=len(places), parameters=nominal)
    times = reader.frame_times
    grid = reader.layout.grid
    frames = grid.steps(grid.names[axis])[places]
    if times is None or not given.periodDiff.avg or int(frames[-1]) >= len(times):
        return part
    measured = measured_time_loop(part, times[frames])
    return replace(part, parameters=replace(nominal, periodDiff=measured.parameters.periodDiff))


def _stack(loop: ZStackLoop, places: NDArray[np.intp]) -> tuple[int, int]:
    """Return the index of the plane nearest to the home plane among those taken, and their step in planes."""
    step = int(places[1] - places[0]) if len(places) > 1 else 1
    if len(places) > 2 and (np.diff(places) != step).any():
        raise ValueError(
            f"planes {places.tolist()} are not equally spaced, as those of a stack are"
        )
    return int(np.abs(places - loop.parameters.homeIndex).argmin()), step


def _z_shift(reader: Reader, taken: list[NDArray[np.intp]]) -> float:
    """Return how far the new home plane lies from the old one, micrometers."""
    for loop, places in zip(reader.experiment, taken, strict=True):
        if isinstance(loop, ZStackLoop) and len(places) < loop.count:
            home, _ = _stack(loop, places)
            old = loop.parameters.homeIndex
            return float(places[home] - old) * loop.parameters.stepUm
    return 0.0
