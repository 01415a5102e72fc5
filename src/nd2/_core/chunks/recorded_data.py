"""Recorded data: the table of columns that the microscope's devices filled, one value for each frame."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.chunks import fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

TEXT, INTEGER, REAL = 1, 2, 3
"""Types of columns as the table has them."""
_BY_SIZE = {INTEGER: {8: "<i8"}, REAL: {4: "<f4"}}
"""Types of items that are not as long as their kind has them; one very old file stores z in four bytes."""
_USUAL = {INTEGER: "<i4", REAL: "<f8"}
_TAG = re.compile(r"Tag\d+")
_SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True)
class RecordedColumn:
    """One column of the recorded data.

    Attributes
    ----------
    id : str
        Identifier, the same in all files: ``Z``, ``PFS_STATUS``, ``Camera_ExposureTime1`` ...
    title : str
        What the user reads; it differs between versions of the software.
    unit : str
        Unit of the values; empty if there is none.
    kind : int
        Stored type: 1 text, 2 integer, 3 real, 0 unknown.
    size : int
        Number of values by the table.
    load : callable
        Reads the stored values; None where the file does not have them.
    """

    id: str
    title: str
    unit: str
    kind: int
    size: int
    load: Callable[[], bytes | None]

    @cached_property
    def values(self) -> NDArray[Any]:
        """The values, shape (n,), int32, float64 or text; n is 0 where nothing was stored, else `size`.

        Read when they are asked for, and kept.
        """
        return decode_values(self.load() or b"", self.kind, self.size)


def parse(
    raw: fields.Tree | None, load: Callable[[str], bytes | None]
) -> dict[str, RecordedColumn]:
    """Return the columns by their identifier, in the order of the table.

    Parameters
    ----------
    raw : mapping or None
        The decoded ``CustomDataV2_0`` tree.
    load : callable
        Returns the stored values of a column, given its identifier.
    """
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


def decode_values(data: bytes, kind: int, size: int) -> NDArray[Any]:
    """Decode the values of a column.

    Parameters
    ----------
    data : bytes
        The payload of the column's chunk.
    kind : int
        Stored type: 1 text, 2 integer, 3 real; of another type the length of an item decides.
    size : int
        Number of values; if it is not positive, as many as there are.

    Returns
    -------
    ndarray, shape (n,)
        At most ``size`` values.
    """
    item = len(data) // size if size > 0 else 0
    if kind not in _USUAL and kind != TEXT:
        kind = {4: INTEGER, 8: REAL}.get(item, TEXT if item > 8 else INTEGER)
    if kind == TEXT:
        return _texts(data, size, item)
    dtype = np.dtype(_BY_SIZE[kind].get(item, _USUAL[kind]))
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
