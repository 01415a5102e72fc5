"""Recorded data: columns of one value for each frame, as the table and the arrays that files keep them in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.chunks.recorded_data import INTEGER, REAL, TEXT
from nd2._core.format import names
from nd2._core.format.clx_lite import I32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

_CELL = 512
"""Bytes of a cell of text in known files."""
_HEADER = re.compile(r"(.*?)\s*(?:\[([^\]]*)\])?")
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
STAGE = ("X Coord [µm]", "Y Coord [µm]", "Z Coord [µm]")
"""Headers of the columns that hold the position of the stage."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the recorded data.

    Attributes
    ----------
    id : str
        Identifier: the name of the chunk that holds the values.
    title, unit : str
        What the user reads.
    values : ndarray, shape (n,)
        float64, int32 or text.
    """

    id: str
    title: str
    unit: str
    values: NDArray[Any]

    @property
    def kind(self) -> int:
        """Stored type: 1 text, 2 integer, 3 real."""
        return {"U": TEXT, "i": INTEGER}.get(self.values.dtype.kind, REAL)

    @property
    def chunk(self) -> bytes:
        """Name of the chunk that holds the values."""
        return names.column(self.id)

    @property
    def data(self) -> bytes:
        """The stored values."""
        if self.kind != TEXT:
            return self.values.astype("<i4" if self.kind == INTEGER else "<f8").tobytes()
        return b"".join(
            str(text).encode("utf-16-le")[: _CELL - 2].ljust(_CELL, b"\0") for text in self.values
        )


def column(header: str, values: ArrayLike, count: int, *, identifier: str = "") -> Column:
    """Make a column.

    Parameters
    ----------
    header : str
        Title, with the unit in brackets behind it: ``"Temperature [°C]"``.
    values : array-like, shape (count,)
        Numbers or text; integers of more than 32 bits are kept as floating point.
    count : int
        Number of frames.
    identifier : str
        Identifier; by default one that follows from the title.

    Raises
    ------
    ValueError
        If there are not as many values as frames.
    """
    match = _HEADER.fullmatch(header)
    title, unit = (match[1], match[2] or "") if match else (header, "")
    array = np.asarray(values)
    if array.shape != (count,):
        raise ValueError(f"column {header!r} has shape {array.shape}; expected ({count},)")
    if array.dtype.kind in "biu":
        fits = not array.size or (array.min() >= -(1 << 31) and array.max() < 1 << 31)
        array = array.astype("<i4" if fits else "<f8")
    elif array.dtype.kind == "f":
        array = array.astype("<f8")
    elif array.dtype.kind != "U":
        raise ValueError(f"column {header!r} holds {array.dtype}: expected numbers or text")
    chunk = identifier or _IDS.get(title) or re.sub(r"[^A-Za-z0-9_.-]+", "_", title).strip("_")
    return Column(chunk or "Column", title, unit, array)


def unique(columns: list[Column]) -> list[Column]:
    """Return the columns, their identifiers made unique."""
    seen: set[str] = set()
    out = []
    for one in columns:
        name, number = one.id, 1
        while name in seen:
            number += 1
            name = f"{one.id}_{number}"
        seen.add(name)
        out.append(Column(name, one.title, one.unit, one.values))
    return out


def table(columns: list[Column]) -> Mapping[str, Any]:
    """Return the tree of the table that describes the columns."""
    tags = {
        f"Tag{i}": {
            "ID": one.id,
            "Type": I32(one.kind),
            "Group": I32(0),
            "Size": I32(len(one.values)),
            "Desc": one.title,
            "Unit": one.unit,
        }
        for i, one in enumerate(columns)
    }
    return {"CustomTagDescription_v1.0": tags}
