"""Kerchunk references: the file's own bytes as a Zarr hierarchy that any reader opens without this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from nd2._core.io import open_source
from nd2._core.open import open_reader
from xarray_nd2.references.destination import put_file, put_folder
from xarray_nd2.references.groups import hierarchy
from xarray_nd2.references.model import References, references

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    from xarray_nd2.references.groups import Grouping


def to_kerchunk(
    source: Any,
    *,
    url: str | None = None,
    zarr_format: Literal[2, 3] = 2,
    storage_options: Mapping[str, Any] | None = None,
    inline_coords: bool | int = True,
    layout: Grouping = "flat",
    squeeze: bool = True,
    check: bool = True,
) -> dict[str, Any]:
    """Describe an ND2 file as kerchunk references.

    Parameters
    ----------
    source : str, os.PathLike, BinaryIO
        Local path, URL that fsspec knows, or open binary file.
    url : str, optional
        Where readers of the references find the file; by default where ``source`` is.
    zarr_format : {2, 3}
        2 is read by every reader of kerchunk references; the axes of its image are ``(T, P, Z, Y, X, C, S)``, as far
        as the file has them. 3 is read by zarr-python; its axes are those of the engine, ``(T, P, Z, C, Y, X, S)``.
    storage_options : Mapping, optional
        Options for the file system of a URL. They do not enter the references.
    inline_coords : bool or int
        Whether coordinates are written. Of those that vary from frame to frame, only the ones that take at most 8 MiB
        (or this number of bytes) are; the names of others stand in the attribute ``coordinates_left_out``.
    layout : {"flat", "positions", "ome-zarr"}
        One group; a group for each position (``P0``, ``P1``, ...); or OME-Zarr 0.5 (format 3 only), where the image
        is the array ``0`` with the axes t, c, z, y, x, and several positions are the images ``0``, ``1``, ...
    squeeze : bool
        Whether axes of size 1 other than Y and X are dropped.
    check : bool
        Whether the head of every frame's chunk is read and compared.

    Returns
    -------
    dict
        Kerchunk references, version 1. The variable ``image`` has the engine's attributes and coordinates; its colour
        samples are in stored order, labelled ``B``, ``G``, ``R``. Missing frames have no entry. The attributes
        ``nd2_source_size`` and ``nd2_source_version`` (ETag or mtime) tell later whether the file changed.

    Raises
    ------
    OSError
        If the file cannot be opened, or is not ND2.
    ValueError
        If it is damaged, its frames' bytes are not those of any Zarr chunk, or the URL holds a credential.
    """
    return _describe(
        source, url, zarr_format, storage_options, inline_coords, layout, squeeze, check
    ).to_dict()


def write_kerchunk(
    source: Any,
    dest: str | os.PathLike[str],
    *,
    format: Literal["json", "parquet"] = "json",
    url: str | None = None,
    zarr_format: Literal[2, 3] = 2,
    storage_options: Mapping[str, Any] | None = None,
    inline_coords: bool | int = True,
    layout: Grouping = "flat",
    squeeze: bool = True,
    check: bool = True,
    template: bool = True,
    dest_options: Mapping[str, Any] | None = None,
) -> None:
    """Write the references of an ND2 file.

    Parameters
    ----------
    source : str, os.PathLike, BinaryIO
        Local path, URL that fsspec knows, or open binary file.
    dest : str or os.PathLike
        The JSON file, or the folder of Parquet tables; path, or URL that fsspec knows. A local one is replaced as a
        whole, or not at all; so is a JSON file in an object store. A folder behind a URL is removed before the new one
        is put there, the document without which nothing opens it last.
    format : {"json", "parquet"}
        Parquet is for many frames: readers load the parts that they need. It is of format 2, without groups, and
        needs all frames to be there.
    url, zarr_format, storage_options, inline_coords, layout, squeeze, check
        See `to_kerchunk`.
    template : bool
        Whether the URL stands in a JSON file once, as the template ``u``: readers override it with
        ``template_overrides={"u": url}`` when the file has moved. VirtualiZarr's JSON parser knows no templates.
    dest_options : Mapping, optional
        Options for the file system of ``dest``.

    Raises
    ------
    OSError
        If the file cannot be opened or is not ND2, or the references cannot be written.
    ImportError
        If fastparquet is not installed, which Parquet needs.
        So does a folder for Parquet that holds something else.
    ValueError
        If the file is damaged, or this form cannot hold it; the message names the option that helps. Nothing was
        written then.
    """
    from xarray_nd2.references.parquet import check_parquet, write_parquet

    refs = _describe(
        source, url, zarr_format, storage_options, inline_coords, layout, squeeze, check
    )
    if format == "parquet":
        check_parquet(refs)
        put_folder(dest, lambda folder: write_parquet(refs, folder), dest_options)
    elif format == "json":
        put_file(dest, lambda path: _write_json(refs, path, template), dest_options)
    else:
        raise ValueError(f"format must be 'json' or 'parquet', not {format!r}")


def _describe(
    source: Any,
    url: str | None,
    zarr_format: int,
    storage_options: Mapping[str, Any] | None,
    inline_coords: bool | int,
    layout: Grouping,
    squeeze: bool,
    check: bool,
) -> References:
    if zarr_format not in (2, 3):
        raise ValueError(f"zarr_format must be 2 or 3, not {zarr_format!r}")
    if layout not in ("flat", "positions", "ome-zarr"):
        raise ValueError(f"layout must be 'flat', 'positions' or 'ome-zarr', not {layout!r}")
    if layout == "ome-zarr" and zarr_format != 3:
        raise ValueError("OME-Zarr 0.5 is of Zarr format 3; pass zarr_format=3")
    opened = open_source(source, storage_options)
    try:
        address, groups = hierarchy(
            open_reader(opened),
            layout=layout,
            stored_order=zarr_format == 2,
            url=url,
            inline_coords=inline_coords,
            squeeze=squeeze,
            check=check,
        )
        return references(groups, address, zarr_format)
    finally:
        opened.close()


def _write_json(refs: References, path: Path, template: bool) -> None:
    with path.open("w", encoding="utf-8") as handle:
        handle.writelines(refs.to_json(template=template))
