"""Binary layers: masks as runs of pixels, one compressed chunk for each layer and frame that has any."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.format.clx_lite import I32, U32, Items
from nd2._core.format.inflate import deflate_zlib

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

_VERSION = 3
_HEADER = Struct("<7I")
_OBJECT_HEADER = 36


@dataclass(frozen=True, slots=True)
class Layer:
    """One binary layer.

    Attributes
    ----------
    name : str
        What the user reads.
    masks : iterable of ndarray of int, shape (Y, X), or None
        For each frame its mask, 0 for the background; None where it has none. Gone through once.
    color : int
        0x00BBGGRR.
    comp_name, comp_order, state, color_mode, layer_id, file_tag
        As in `BinaryLayer`; defaults follow from the place of the layer.
    """

    name: str
    masks: Iterable[NDArray[Any] | None]
    color: int = 0x00FF00
    comp_name: str = ""
    comp_order: int = 0
    state: int = 0
    color_mode: int = 0
    layer_id: int = 1
    file_tag: str = ""

    @property
    def tag(self) -> str:
        """Tag of the chunks that hold the masks."""
        return self.file_tag or f"RleZipBinarySequence_{self.layer_id}_v1"

    def chunk(self, frame: int) -> bytes:
        """Name of the chunk that holds the mask of a frame."""
        return f"CustomDataSeq|{self.tag}|{frame}!".encode()


def table(layers: Sequence[Layer]) -> Items:
    """Return the tree that describes the layers."""
    items = Items(
        (
            "BinaryItem",
            {
                "uiBinLayerID": U32(layer.layer_id),
                "uiState": U32(layer.state),
                "uiColor": U32(layer.color),
                "strName": layer.name,
                "strCompName": layer.comp_name,
                "uiCompOrder": U32(layer.comp_order),
                "strFileTag": layer.tag,
                "uiColorMode": I32(layer.color_mode),
            },
        )
        for layer in layers
    )
    return Items([("BinaryMetadata_v1", items)])


def encode_mask(mask: NDArray[Any]) -> bytes:
    """Encode a mask as objects made of rows made of runs.

    Parameters
    ----------
    mask : ndarray of int, shape (Y, X)
        Number of the object that each pixel belongs to; 0 for none.

    Raises
    ------
    ValueError
        If the mask is not two-dimensional, or holds numbers below zero or from 2**32 on.
    """
    if mask.ndim != 2 or mask.dtype.kind not in "biu":
        raise ValueError(f"mask of shape {mask.shape} and type {mask.dtype}: expected (Y, X), int")
    if mask.size and not 0 <= int(mask.min()) <= int(mask.max()) < 1 << 32:
        raise ValueError("a mask holds numbers from 0 to 2**32 - 1")
    height, width = mask.shape
    y, x, length, value = _runs(mask.astype(np.uint32, copy=False))
    order = np.argsort(value, kind="stable")
    y, x, length, value = y[order], x[order], length[order], value[order]
    cuts = np.flatnonzero(np.diff(value)) + 1
    objects = [
        _object(int(v[0]), *parts)
        for v, *parts in zip(*(np.split(a, cuts) for a in (value, y, x, length)), strict=True)
        if len(v)
    ]
    body = b"".join(objects)
    last = len(body) - len(objects[-1]) if objects else 0
    head = _HEADER.pack(_VERSION, width, height, len(objects), len(body), last, 0)
    block = head + body
    return Struct("<I").pack(len(block)) + deflate_zlib(block)


def _runs(mask: NDArray[np.uint32]) -> tuple[NDArray[np.int64], ...]:
    """Return row, first column, length and value of each run of equal pixels that are not background."""
    height, width = mask.shape
    edge = np.ones((height, width + 1), bool)
    edge[:, 1:width] = mask[:, 1:] != mask[:, :-1]
    starts = np.flatnonzero(edge)
    rows, columns = np.divmod(starts, width + 1)
    first = columns < width
    length = np.diff(starts, append=starts[-1:])[first]
    rows, columns = rows[first], columns[first]
    value = mask[rows, columns].astype(np.int64)
    kept = value > 0
    return rows[kept], columns[kept], length[kept], value[kept]


def _object(
    number: int, y: NDArray[np.int64], x: NDArray[np.int64], length: NDArray[np.int64]
) -> bytes:
    """Encode one object: its box, then its rows of runs, in the order of y."""
    new_row = np.concatenate([[True], np.diff(y) != 0])
    row = np.cumsum(new_row) - 1
    rows = int(row[-1]) + 1
    counts = np.bincount(row)
    # Two numbers for each row, then two for each run.
    first = 2 * np.arange(len(y)) + 2 * (row + 1)
    words = np.zeros(2 * (len(y) + rows), "<u4")
    words[first], words[first + 1] = x, length
    heads = first[new_row] - 2
    words[heads], words[heads + 1] = y[new_row], counts
    box = (int(x.min()), int(y[0]), int((x + length).max()), int(y[-1]) + 1)
    nbytes = _OBJECT_HEADER + words.nbytes
    last_row = _OBJECT_HEADER + 4 * int(heads[-1])
    return Struct("<9I").pack(number, *box, nbytes, rows, last_row, 0) + words.tobytes()
