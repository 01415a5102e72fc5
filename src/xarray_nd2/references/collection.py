"""References to many ND2 files as one dataset, from the files themselves."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from nd2._core.io.destination import resolve
from nd2._core.io.listing import expand
from nd2._core.io.urls import is_url
from xarray_nd2.references.combine import check_axis, join_groups
from xarray_nd2.references.kerchunk import FORMS, check_form, describe_file, write_groups
from xarray_nd2.references.layouts import LayoutOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from xarray_nd2.references.arrays import ZarrGroup

_LOCAL_THREADS = 4
_REMOTE_THREADS = 16
"""Threads for URLs. A file is opened by two requests at once, so these are 32 requests at once."""
_MAX_BATCH = 64
"""Maximum number of files per task on a cluster."""


def write_combined(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    dest: str | os.PathLike[str],
    *,
    concat_dim: str = "T",
    format: Literal["json", "parquet"] = "parquet",
    zarr_format: Literal[2, 3] = 2,
    storage_options: Mapping[str, Any] | None = None,
    inline_coords: bool | int = True,
    squeeze: bool = True,
    check: bool = True,
    dest_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    client: Any = None,
) -> None:
    """Write the references of several ND2 files, joined as one dataset.

    Frames are in arrays, not in objects: thousands of files with millions of frames fit into memory.

    Parameters
    ----------
    sources : str, os.PathLike or iterable of these
        ND2 files in the order in which they are joined: paths, URLs, or patterns, the files of which
        are sorted by name.
    dest : str or os.PathLike
        The folder of Parquet tables, or the JSON file; path, or URL that fsspec supports.
    concat_dim : str
        The axis: ``T``, ``P`` or ``Z``; see `combine_references`.
    format : {"parquet", "json"}
        See `write_kerchunk`.
    zarr_format, storage_options, inline_coords, squeeze, check
        See `to_kerchunk`.
    dest_options, overwrite
        See `write_kerchunk`.
    client : distributed.Client, optional
        Cluster whose workers read the files. They must reach the files by the same paths.

    Raises
    ------
    OSError
        If a file cannot be opened or is not ND2, a pattern matches no file, or the references cannot be
        written.
    FileExistsError
        If ``dest`` exists and is not to be overwritten, or must not be replaced.
    ImportError
        If fastparquet is not installed, which Parquet needs.
    ValueError
        If a file is damaged, the files' images or axes do not fit together, or this form cannot hold
        them.

    Examples
    --------
    >>> write_combined("s3://bucket/plate7/*.nd2", "plate7.parq")  # doctest: +SKIP
    """
    check_axis(concat_dim)
    check_form(format)
    given = [sources] if isinstance(sources, (str, os.PathLike)) else sources
    files = [file for source in given for file in expand(source, storage_options)]
    if not files:
        raise ValueError("there are no files to combine")
    destination = resolve(dest, FORMS[format], overwrite=overwrite, sources=files, storage_options=dest_options)
    options = LayoutOptions(None, "flat", inline_coords, squeeze, check)
    describe = partial(describe_files, storage_options=storage_options, zarr_format=zarr_format, options=options)
    if client is None:
        parts = describe(files)
    else:
        size = min(max(len(files) // (4 * max(len(client.nthreads()), 1)), 1), _MAX_BATCH)
        batches = [files[start : start + size] for start in range(0, len(files), size)]
        futures = client.map(describe, batches, pure=False)
        parts = [part for batch in client.gather(futures) for part in batch]
    write_groups([join_groups(parts, concat_dim)], destination, zarr_format, template=True)


def describe_files(
    files: Sequence[str], storage_options: Mapping[str, Any] | None, zarr_format: int, options: LayoutOptions
) -> list[ZarrGroup]:
    """Describe files, several at a time, each as one group."""
    threads = _REMOTE_THREADS if any(map(is_url, files)) else _LOCAL_THREADS

    def describe(file: str) -> ZarrGroup:
        return describe_file(file, storage_options, zarr_format, options)[0]

    with ThreadPoolExecutor(threads, thread_name_prefix="nd2-refs") as executor:
        return list(executor.map(describe, files))
