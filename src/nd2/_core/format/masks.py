"""Pixels of binary layers: run-length encoded objects, and zlib-compressed tiles of object numbers.

The run-length form is accepted by two other readers, the tiles are those of Nikon's writer; neither
was seen in a file by NIS-Elements.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nd2._core import errors
from nd2._core.format.inflate import deflate_zlib, inflate

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIZE: Final = Struct("<I")
_NO_MASK: Final = 5
"""Fewer bytes than this mean a frame without a mask."""
_MAX_BYTES: Final = 1 << 30
_MAX_INFLATION: Final = 64
_SMALL_BLOCK: Final = 1 << 20
"""A block that inflates to more than this, and by a higher ratio, is hostile."""
_MAX_OVERLAP: Final = 16
"""How often objects may cover the pixels of a mask, on average."""
_HEADER, _OBJECT = 7, {2: 11, 3: 9}
"""Numbers in the header of a mask, and in that of an object by the version of the mask."""
_WRITTEN_VERSION: Final = 3
_HEADER_BYTES, _OBJECT_BYTES = Struct("<7I"), Struct("<9I")


def decode_runs(data: bytes, shape: tuple[int, int]) -> NDArray[Any] | None:
    """Decode a run-length encoded mask, shape (Y, X); None if the frame has none.

    Values are the number of the object at each pixel, 0 for none; uint16, or uint32 if a number does not fit.
    """
    if len(data) < _NO_MASK:
        return None
    (size,) = _SIZE.unpack_from(data)
    if size > min(_MAX_BYTES, _SMALL_BLOCK + _MAX_INFLATION * len(data)):
        raise errors.corrupt(f"a mask claims {size} bytes, more than it can hold")
    block = inflate(memoryview(data)[_SIZE.size :], size)
    numbers = np.frombuffer(block, "<u4", len(block) // 4).tolist()
    if len(numbers) < _HEADER:
        raise errors.corrupt("a mask ends too early")
    version, width, height, count = numbers[:4]
    if version not in _OBJECT:
        raise errors.unsupported(f"binary layers of version {version}")
    if not (0 < height <= shape[0] and 0 < width <= shape[1]):
        raise errors.corrupt(f"a mask of {width} x {height} pixels on an image of {shape[::-1]}")
    mask = np.zeros((height, width), np.uint32)
    try:
        _paint(mask, numbers, _OBJECT[version], count)
    except IndexError:
        raise errors.corrupt("a mask ends too early") from None
    return mask if int(mask.max()) > 0xFFFF else mask.astype(np.uint16)


def _paint(mask: NDArray[np.uint32], numbers: list[int], object_header: int, count: int) -> None:
    """Write the number of each object into its runs; later objects cover earlier ones."""
    height, width = mask.shape
    at = _HEADER
    left = _MAX_OVERLAP * mask.size
    for _ in range(count):
        label, rows = numbers[at], numbers[at + 6]
        at += object_header
        for _ in range(rows):
            y, segments = numbers[at], numbers[at + 1]
            at += 2
            if y >= height:
                raise errors.corrupt(f"a mask has a run in row {y} of {height}")
            row = mask[y]
            for k in range(at, at + 2 * segments, 2):
                row[numbers[k] : numbers[k] + numbers[k + 1]] = label
                left -= min(numbers[k + 1], width)
            if left < 0:
                raise errors.corrupt(f"objects of a mask cover it {_MAX_OVERLAP} times")
            at += 2 * segments


def encode_runs(mask: NDArray[Any]) -> bytes:
    """Encode a mask, shape (Y, X), as objects made of rows made of runs; see `decode_runs`."""
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
    head = _HEADER_BYTES.pack(_WRITTEN_VERSION, width, height, len(objects), len(body), last, 0)
    block = head + body
    return _SIZE.pack(len(block)) + deflate_zlib(block)


def _runs(mask: NDArray[np.uint32]) -> tuple[NDArray[np.int64], ...]:
    """Return row, first column, length and value of the runs of equal pixels of objects."""
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


def _object(number: int, y: NDArray[np.int64], x: NDArray[np.int64], length: NDArray[np.int64]) -> bytes:
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
    nbytes = _OBJECT_BYTES.size + words.nbytes
    last_row = _OBJECT_BYTES.size + 4 * int(heads[-1])
    return _OBJECT_BYTES.pack(number, *box, nbytes, rows, last_row, 0) + words.tobytes()


def decode_tile(data: bytes, shape: tuple[int, int], bits: int, *, compressed: bool) -> NDArray[Any]:
    """Decode one tile of a raster layer: the number of the object at each pixel, shape (Y, X)."""
    dtype = np.dtype(f"<u{bits // 8}")
    nbytes = shape[0] * shape[1] * dtype.itemsize
    plain = inflate(data, nbytes) if compressed else data
    if len(plain) < nbytes:
        raise errors.corrupt(f"a tile has {len(plain)} bytes instead of {nbytes}")
    return np.frombuffer(plain, dtype, shape[0] * shape[1]).reshape(shape)
