"""Recorded data: ``CustomDataV2_0``, a table of columns with one value per frame."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.chunks import fields
from nd2._core.format.clx_lite import I32
from nd2._core.values import cached_property, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike, NDArray

NAME = b"CustomDataVar|CustomDataV2_0!"
TIMES = b"CustomData|AcqTimesCache!"
"""Time of each frame in milliseconds, float64."""
PFS_STATUS = b"CustomData|PFS_STATUS!"
"""State of the focus system at each frame, int32."""
CACHES = {
    TIMES: 8,
    b"CustomData|AcqTimes2Cache!": 8,
    b"CustomData|AcqFramesCache!": 4,
    b"CustomData|TimeSourceCache!": 8,
}
"""Chunks with one number per frame that are not columns of the table, and its size in bytes."""

TEXT, INTEGER, REAL = 1, 2, 3
"""Types of columns in the table."""
_UNUSUAL = {INTEGER: {8: "<i8"}, REAL: {4: "<f4"}}
"""dtypes of items of unusual size; one very old file stores z in four bytes."""
_USUAL = {INTEGER: "<i4", REAL: "<f8"}
_TAG = re.compile(r"Tag\d+")
_SURROGATES = range(0xD800, 0xE000)
_MAX_TITLE = 255
_MAX_ID = 200
"""Readers compare names of chunks, which hold the identifier, up to 256 bytes."""
_CELL = 512
"""Bytes of a cell of text in known files."""

STAGE = ("X Coord [µm]", "Y Coord [µm]", "Z Coord [µm]")
"""Headers of the columns that hold the position of the stage."""
_IDS = {
    "X Coord": "X",
    "Y Coord": "Y",
    "Z Coord": "Z",
    "Exposure Time": "Camera_ExposureTime1",
    "Camera 1 Exposure Time": "Camera_ExposureTime1",
    "Camera 2 Exposure Time": "Camera_ExposureTime2",
    "Camera Temperature": "CameraTemp1",
    "Camera 1 Temperature": "CameraTemp1",
    "Camera 2 Temperature": "CameraTemp2",
    "PFS Offset": "PFS_OFFSET",
    "PFS Status": "PFS_STATUS",
}


@record
class RecordedColumn:
    """One column of the recorded data."""

    id: str
    title: str
    unit: str
    kind: int
    size: int
    load: Callable[[], bytes | None]
    """Reads the stored values; returns None if the file does not have them."""

    @cached_property
    def values(self) -> NDArray[Any]:
        """The values, at most `size`: int32, float64 or text, read on first access; empty if the file lacks them."""
        return decode_values(self.load() or b"", self.kind, self.size)


def column_name(identifier: str) -> bytes:
    """Return the name of the chunk that holds the values of a column."""
    return b"CustomData|%s!" % identifier.encode()


def decode(raw: fields.Tree | None, load: Callable[[str], bytes | None]) -> dict[str, RecordedColumn]:
    """Return the columns by their identifier, in the order of the table."""
    table = fields.level(raw or {}, "CustomTagDescription_v1.0")
    columns: dict[str, RecordedColumn] = {}
    for key, tag in table.items():
        identifier = fields.text(tag, "ID") if isinstance(tag, dict) else ""
        if not identifier or identifier in columns or not _TAG.fullmatch(key):
            continue
        columns[identifier] = RecordedColumn(
            identifier,
            fields.text(tag, "Desc"),
            fields.text(tag, "Unit").strip(),
            fields.integer(tag, "Type"),
            fields.integer(tag, "Size"),
            partial(load, identifier),
        )
    return columns


def encode(columns: Iterable[RecordedColumn]) -> dict[str, Any]:
    """Return the tree of the table."""
    tags = {
        f"Tag{i}": {
            "ID": column.id,
            "Type": I32(column.kind),
            "Group": I32(0),
            "Size": I32(column.size),
            "Desc": column.title,
            "Unit": column.unit,
        }
        for i, column in enumerate(columns)
    }
    return {"CustomTagDescription_v1.0": tags}


def decode_values(data: bytes, kind: int, size: int) -> NDArray[Any]:
    """Decode the values of a column; returns at most ``size`` values, shape (n,).

    An unknown type is determined by the length of an item. If ``size`` is not positive, it returns
    as many values as fit.
    """
    item = len(data) // size if size > 0 else 0
    if kind not in _USUAL and kind != TEXT:
        kind = {4: INTEGER, 8: REAL}.get(item, TEXT if item > 8 else INTEGER)
    if kind == TEXT:
        return _texts(data, size, item)
    dtype = np.dtype(_UNUSUAL[kind].get(item, _USUAL[kind]))
    values = np.frombuffer(data, dtype, len(data) // dtype.itemsize)
    return values[:size] if size > 0 else values


def _texts(data: bytes, size: int, item: int) -> NDArray[np.str_]:
    """Decode cells of equal length in UTF-16, each cut at its first NUL."""
    units = item // 2
    if units == 0:
        return np.zeros(0, "U1")
    cells = np.frombuffer(data, np.uint8, size * item).reshape(size, item)[:, : 2 * units]
    codes = np.ascontiguousarray(cells).view("<u2")
    ends = codes == 0
    lengths = np.where(ends.any(axis=1), ends.argmax(axis=1), units)
    width = max(int(lengths.max()), 1)
    codes = codes[:, :width].astype("<u4")
    codes[np.arange(width) >= lengths[:, None]] = 0
    if ((codes >= _SURROGATES.start) & (codes < _SURROGATES.stop)).any():
        rows = zip(cells, (2 * lengths).tolist(), strict=True)
        return np.array([row[:stop].tobytes().decode("utf-16-le", "replace") for row, stop in rows])
    return codes.view(f"<U{width}")[:, 0]


def split_header(header: str) -> tuple[str, str]:
    """Return title and unit of a column."""
    title, bracket, unit = header.removesuffix("]").rpartition("[")
    if not (bracket and header.endswith("]") and "]" not in unit):
        title, unit = header, ""
    title = title.rstrip()
    if len(title.encode()) > _MAX_TITLE:
        raise ValueError(f"column {title[:40]!r}... has a title of more than {_MAX_TITLE} bytes")
    return title, unit


def column(header: str, values: ArrayLike, count: int) -> RecordedColumn:
    """Make a column of numbers or text, one per frame; integers that do not fit 32 bits become floating point."""
    title, unit = split_header(header)
    array = np.asarray(values)
    if array.shape != (count,):
        raise ValueError(f"column {header!r} has shape {array.shape}; expected ({count},)")
    if array.dtype.kind == "U":
        kind = TEXT
        cells = (text.encode("utf-16-le")[: _CELL - 2].ljust(_CELL, b"\0") for text in array.tolist())
        data = b"".join(cells)
    elif array.dtype.kind in "biuf":
        whole = array.dtype.kind != "f" and (not array.size or (array.min() >= -(1 << 31) and array.max() < 1 << 31))
        kind = INTEGER if whole else REAL
        data = array.astype(_USUAL[kind]).tobytes()
    else:
        raise ValueError(f"column {header!r} holds {array.dtype}: expected numbers or text")
    identifier = _IDS.get(title) or re.sub(r"[^A-Za-z0-9_.-]+", "_", title).strip("_")
    return RecordedColumn(identifier[:_MAX_ID] or "Column", title, unit, kind, count, lambda: data)


def with_unique_ids(columns: Iterable[RecordedColumn]) -> list[RecordedColumn]:
    """Return the columns with a number appended to repeated identifiers."""
    unique: dict[str, RecordedColumn] = {}
    for each in columns:
        name, number = each.id, 1
        while name in unique:
            number += 1
            name = f"{each.id}_{number}"
        unique[name] = replace(each, id=name)
    return list(unique.values())
