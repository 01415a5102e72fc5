"""Variables that xarray splits into blocks when it opens a file with ``chunks=``: pixels, and nothing else.

Blocks of all variables must agree on the axes that they share, or ``Dataset.chunks`` and
``map_blocks`` fail. Coordinates of a frame are small: in dask, each would be a task per frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xarray_nd2.array import ND2BackendArray

_OPENING = "open_dataset-"
"""Start of the names that xarray gives to arrays when it opens files."""


class FileVariable(xr.Variable):
    """A variable of a file: labels have the blocks of the image, coordinates stay out of dask.

    Only opening is special; ``chunk`` does later what it does for every variable.
    """

    __slots__ = ()

    @classmethod
    def from_variable(cls, variable: xr.Variable) -> FileVariable:
        """Return a variable as one of a file."""
        data: Any = variable._data  # noqa: SLF001  # as it is, unread
        return cls(variable.dims, data, variable.attrs, variable.encoding, fastpath=True)

    def to_base_variable(self) -> FileVariable:
        """Return the same variable: coordinates keep their type."""
        return FileVariable.from_variable(self)

    @property
    def _in_memory(self) -> bool:
        return isinstance(_innermost(self._data), np.ndarray)

    def chunk(self, chunks: Any = {}, *args: Any, **options: Any) -> Any:  # noqa: B006
        """Cut the variable into blocks, as ``xarray.Variable.chunk`` does."""
        name = (options.get("from_array_kwargs") or {}).get("name", "")
        if not name.startswith(_OPENING):
            return super().chunk(chunks, *args, **options)
        if not {"Y", "X"}.issubset(self.dims):
            return self
        data = _innermost(self._data)
        blocks = data.blocks if isinstance(data, ND2BackendArray) else None
        if blocks:
            chunks = {dim: blocks[dim] for dim in self.dims}
        blocked = super().chunk(chunks, *args, **options)
        if blocks is not None:
            blocks.update(blocked.chunksizes)
        if isinstance(data, ND2BackendArray) and hasattr(blocked.data, "__dask_graph__"):
            from nd2._core.views.dask import WholeArray

            blocked.data = WholeArray.from_blocks(blocked.data, data.values)
        return blocked


def _innermost(data: Any) -> Any:
    """Return the array below xarray's wrappers."""
    while not isinstance(data, (np.ndarray, ND2BackendArray)) and hasattr(data, "array"):
        data = data.array
    return data
