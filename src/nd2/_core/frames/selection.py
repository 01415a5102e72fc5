"""Arrays that read what is indexed, and the one form of a selection: a ``range`` or positions for each axis.

Equally spaced positions are always a range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


Pick = range | np.ndarray[tuple[int, ...], np.dtype[np.intp]]
"""Positions on one axis, none of them negative."""


class Selection(NamedTuple):
    """An outer (orthogonal) selection."""

    picks: tuple[Pick, ...]
    shape: tuple[int, ...]


def select(key: Sequence[Any], dims: Sequence[str], shape: Sequence[int]) -> Selection:
    """Normalize one integer, slice or index array for each axis; an error names the axis."""
    picks: list[Pick] = []
    shape_out: list[int] = []
    for item, dim, size in zip(key, dims, shape, strict=True):
        pick = normalize(item, size, dim)
        picks.append(pick)
        if isinstance(item, (slice, range)) or np.ndim(item):
            shape_out.append(len(pick))
    return Selection(tuple(picks), tuple(shape_out))


def normalize(item: Any, size: int, dim: str = "") -> Pick:
    """Return the positions that an integer, a slice, a range or an index array takes on an axis."""
    if isinstance(item, slice):
        pick = range(size)[item]
        # The step of a slice may be too large for NumPy's integers.
        return pick if len(pick) > 1 else range(pick[0], pick[0] + 1) if pick else range(0)
    if isinstance(item, range):
        return item
    if type(item) is int and -size <= item < size:
        return range(item % size, item % size + 1)
    where = np.asarray(item)
    if where.dtype == bool:
        if where.shape != (size,):
            raise IndexError(f"boolean index of shape {where.shape} on axis {dim!r} of size {size}")
        return simplify(np.flatnonzero(where))
    if where.dtype.kind not in "iu" and where.size:
        raise IndexError(f"index on axis {dim!r} must be an integer, a slice or an array of integers")
    where = where.reshape(-1).astype(np.intp)
    wrong = (where < -size) | (where >= size)
    if wrong.any():
        raise IndexError(f"index {where[wrong][0]} is out of range for axis {dim!r} of size {size}")
    return simplify(np.where(where < 0, where + size, where))


def simplify(positions: NDArray[np.intp]) -> Pick:
    """Return equally spaced positions as a range, and others unchanged."""
    if not len(positions):
        return range(0)
    start = int(positions[0])
    step = int(positions[1]) - start if len(positions) > 1 else 1
    if step == 0 or (len(positions) > 2 and (np.diff(positions) != step).any()):
        return positions
    return range(start, start + len(positions) * step, step)


def is_whole(pick: Pick, size: int) -> bool:
    """Return whether positions are all those of an axis, in their order."""
    return isinstance(pick, range) and pick == range(size)


def compose(window: range, pick: Pick) -> Pick:
    """Return positions on the whole axis of positions within a part of it."""
    if isinstance(pick, range):
        return window[as_slice(pick)]
    return window.start + window.step * pick


def as_slice(pick: range) -> slice:
    """Return the slice that takes the positions of a range."""
    if not pick:
        return slice(0, 0)
    return slice(pick.start, pick.stop if pick.stop >= 0 else None, pick.step)


def as_index(pick: Pick) -> slice | NDArray[np.intp]:
    """Return the index of positions in an array: a slice if they are equally spaced."""
    return as_slice(pick) if isinstance(pick, range) else pick


def expand(key: Any, ndim: int) -> list[Any]:
    """Return one item for each axis of a key that may hold ``...`` or fewer items."""
    items = list(key) if isinstance(key, tuple) else [key]
    for i, item in enumerate(items):
        if item is Ellipsis:
            items[i : i + 1] = [slice(None)] * (ndim - len(items) + 1)
            break
    return items + [slice(None)] * (ndim - len(items))


class LazyArray:
    """An array that reads what is indexed."""

    __slots__ = ()

    if TYPE_CHECKING:  # a dataclass would take the property as the default of its field

        @property
        def dims(self) -> tuple[str, ...]:
            """Axes."""

        @property
        def shape(self) -> tuple[int, ...]:
            """Size of each axis."""

        @property
        def dtype(self) -> np.dtype[Any]:
            """Type of an item."""

        def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
            """Read a part by outer indexing: an integer, a slice or an index array for each axis."""

        def __dask_tokenize__(self) -> tuple[Any, ...]: ...

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.dims)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Index as NumPy does with integers, slices and ``...``; arrays select orthogonally."""
        items = expand(key, self.ndim)
        if len(items) > self.ndim:
            raise IndexError(f"too many indices for an array of {self.ndim} dimensions")
        return self.read(tuple(items))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("the values are in a file: an array of them is always a copy")
        data = self[...]
        return data if dtype is None else data.astype(dtype, copy=False)
