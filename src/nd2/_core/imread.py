"""Functions that open a file, do one thing and close it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal, overload

from nd2._core.file import ND2File

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from typing import BinaryIO, TypeAlias, Unpack

    import dask.array
    import xarray as xr
    from numpy.typing import DTypeLike, NDArray
    from ome_types import OME

    from nd2._core.open import OpenOptions

    File: TypeAlias = str | os.PathLike[str] | BinaryIO


@overload
def imread(
    file: File, *, dask: Literal[False] = ..., xarray: Literal[False] = ..., **options: Unpack[OpenOptions]
) -> NDArray[Any]: ...


@overload
def imread(file: File, *, dask: bool = ..., xarray: Literal[True], **options: Unpack[OpenOptions]) -> xr.DataArray: ...


@overload
def imread(
    file: File, *, dask: Literal[True], xarray: Literal[False] = ..., **options: Unpack[OpenOptions]
) -> dask.array.Array: ...


@overload  # by flags that are known at run time only
def imread(file: File, *, dask: bool = ..., xarray: bool = ..., **options: Unpack[OpenOptions]) -> Any: ...


def imread(
    file: str | os.PathLike[str] | BinaryIO,
    *,
    dask: bool = False,
    xarray: bool = False,
    validate_frames: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    search_window: int = 100,
    index: str | os.PathLike[str] | Literal[True] | None = None,
    flat_frames: bool = False,
    rescue: bool = False,
    dtype: DTypeLike | None = None,
) -> NDArray[Any] | xr.DataArray | dask.array.Array:
    """Open a file, return its image, and close it.

    Parameters
    ----------
    file : str, os.PathLike, BinaryIO
        Path, URL or open binary file.
    dask : bool
        Whether the pixels are a dask array that reads when it is computed.
    xarray : bool
        Whether to return a labeled ``xarray.DataArray``.
    storage_options : Mapping, optional
        Options for the file system of a URL.
    index, flat_frames, validate_frames, search_window, rescue, dtype
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
        dtype=dtype,
    ) as opened:
        if xarray:
            return opened.to_xarray(delayed=dask)
        return opened.to_dask() if dask else opened.asarray()


def nd2_to_tiff(
    source: str | os.PathLike[str] | ND2File,
    dest: str | os.PathLike[str],
    *,
    include_unstructured_metadata: bool = True,
    progress: bool = False,
    on_frame: Callable[[int, int, dict[str, int]], None] | None = None,
    modify_ome: Callable[[OME], None] | None = None,
) -> None:
    """Write an ND2 file as TIFF.

    Parameters
    ----------
    source : str, os.PathLike, ND2File
        Path or URL of an ND2 file, or an open one, which stays open.
    dest : str, os.PathLike
        The TIFF file; with ``.ome.`` in its name, an OME-TIFF.
    include_unstructured_metadata, progress, on_frame, modify_ome
        As those of ``ND2File.write_tiff``.

    Raises
    ------
    OSError
        If ``source`` cannot be opened, or is not ND2.
    ImportError
        If tifffile is not installed.
    ValueError
        If the file is damaged; ``dest`` stays unchanged.
    """
    with nullcontext(source) if isinstance(source, ND2File) else ND2File(source) as file:
        file.write_tiff(
            dest,
            include_unstructured_metadata=include_unstructured_metadata,
            progress=progress,
            on_frame=on_frame,
            modify_ome=modify_ome,
        )
