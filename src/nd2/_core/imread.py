"""``imread``: a whole image in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from nd2._core.file import ND2File

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import BinaryIO

    import dask.array
    import xarray as xr
    from numpy.typing import NDArray


@overload
def imread(
    file: str | os.PathLike[str] | BinaryIO,
    *,
    dask: Literal[False] = ...,
    xarray: Literal[False] = ...,
    validate_frames: bool = ...,
    search_window: int = ...,
    storage_options: Mapping[str, Any] | None = ...,
    index: str | os.PathLike[str] | Literal[True] | None = ...,
    flat_frames: bool = ...,
    rescue: bool = ...,
) -> NDArray[Any]: ...


@overload
def imread(
    file: str | os.PathLike[str] | BinaryIO,
    *,
    dask: bool = ...,
    xarray: Literal[True],
    validate_frames: bool = ...,
    search_window: int = ...,
    storage_options: Mapping[str, Any] | None = ...,
    index: str | os.PathLike[str] | Literal[True] | None = ...,
    flat_frames: bool = ...,
    rescue: bool = ...,
) -> xr.DataArray: ...


@overload
def imread(
    file: str | os.PathLike[str] | BinaryIO,
    *,
    dask: Literal[True],
    xarray: Literal[False] = ...,
    validate_frames: bool = ...,
    search_window: int = ...,
    storage_options: Mapping[str, Any] | None = ...,
    index: str | os.PathLike[str] | Literal[True] | None = ...,
    flat_frames: bool = ...,
    rescue: bool = ...,
) -> dask.array.Array: ...


@overload
def imread(
    file: str | os.PathLike[str] | BinaryIO,
    *,
    dask: bool = ...,
    xarray: bool = ...,
    validate_frames: bool = ...,
    search_window: int = ...,
    storage_options: Mapping[str, Any] | None = ...,
    index: str | os.PathLike[str] | Literal[True] | None = ...,
    flat_frames: bool = ...,
    rescue: bool = ...,
) -> Any: ...  # by flags that are known at run time only


def imread(
    file: str | os.PathLike[str] | BinaryIO,
    *,
    dask: bool = False,
    xarray: bool = False,
    validate_frames: bool = False,
    search_window: int = 100,
    storage_options: Mapping[str, Any] | None = None,
    index: str | os.PathLike[str] | Literal[True] | None = None,
    flat_frames: bool = False,
    rescue: bool = False,
) -> NDArray[Any] | xr.DataArray | dask.array.Array:
    """Open a file, return its image, and close it.

    Parameters
    ----------
    file : str, os.PathLike, BinaryIO
        Path, URL or open binary file.
    dask : bool
        Whether the pixels are a dask array that reads when it is computed.
    xarray : bool
        Whether to return a labelled ``xarray.DataArray``.
    storage_options : Mapping, optional
        Options for the file system of a URL.
    index, flat_frames, validate_frames, search_window, rescue
        As `ND2File` takes them.

    Returns
    -------
    ndarray, dask.array.Array or xarray.DataArray

    Raises
    ------
    OSError
        If the file cannot be opened, or is not ND2.
    ValueError
        If it is damaged.
    """
    with ND2File(
        file,
        storage_options=storage_options,
        index=index,
        flat_frames=flat_frames,
        validate_frames=validate_frames,
        search_window=search_window,
        rescue=rescue,
    ) as opened:
        if xarray:
            return opened.to_xarray(delayed=dask)
        return opened.to_dask() if dask else opened.asarray()
