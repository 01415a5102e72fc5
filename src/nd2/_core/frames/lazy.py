"""The base of arrays in a file: indexing reads, and NumPy converts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nd2._core.frames.selection import expand

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
