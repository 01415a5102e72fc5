"""Dask arrays: one blockwise layer over a picklable lazy array; no lock, no handle, no file object in the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dask.array

    from nd2._array import FrameArray


def to_dask(array: FrameArray, chunks: Any = None) -> dask.array.Array:
    """Return a dask array over a lazy array.

    Parameters
    ----------
    array : FrameArray
        What to read, axes as in the result.
    chunks : optional
        Chunks as dask takes them (``"auto"`` groups frames); by default one block a frame.
    """
    import dask.array as da
    import numpy as np
    from dask.base import tokenize

    if chunks is None:
        pixel_dims = {"C", "Y", "X", "S"}
        chunks = tuple(-1 if dim in pixel_dims else 1 for dim in array.dims)
    result: dask.array.Array = da.from_array(  # type: ignore[no-untyped-call]
        array,
        chunks=chunks,
        name=f"nd2-{tokenize(array, chunks)}",
        lock=False,
        asarray=False,
        fancy=False,
        inline_array=False,
        meta=np.empty((0,) * array.ndim, array.dtype),
    )
    return result
