"""Open references as a dataset, and warn if the file changed."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import xarray as xr
from fsspec import get_filesystem_class
from fsspec.core import split_protocol
from fsspec.implementations.reference import ReferenceNotReachable
from zarr.storage import FsspecStore

from nd2._core import errors
from nd2._core.io import open_source
from nd2._core.io.listing import stat_url
from nd2._core.io.urls import is_url, redact
from xarray_nd2.references.formats import FORMATS
from xarray_nd2.references.kerchunk import with_url
from xarray_nd2.references.layouts import SOURCE_SIZE, SOURCE_VERSION
from xarray_nd2.references.reading import load

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

_REQUESTS = 32
"""Number of files whose version is requested in parallel."""


class StaleReferencesWarning(UserWarning):
    """The ND2 file changed after the references were made."""


def open_references(
    refs: str | os.PathLike[str] | Mapping[str, Any],
    *,
    url: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    remote_options: Mapping[str, Any] | None = None,
    group: str | None = None,
    check: bool = True,
    **options: Any,
) -> xr.Dataset:
    """Open references as a dataset.

    Parameters
    ----------
    refs : str, os.PathLike or Mapping
        A JSON file or a folder of Parquet tables (path, or URL that fsspec supports), or the references
        themselves. Relative paths in a JSON file are resolved from its folder.
    url : str, optional
        Current path or URL of the ND2 file, if it moved; not for Parquet.
    storage_options : Mapping, optional
        Options for the file system of ``refs``.
    remote_options : Mapping, optional
        Options for the file system of the ND2 file, including credentials.
    group : str, optional
        Group to open, if there are several.
    check : bool
        Whether to compare the file's length and version (ETag or modification time) with the recorded ones.
    **options
        Passed to ``xarray.open_zarr``; by default ``chunks={}``, one block per frame.

    Returns
    -------
    xarray.Dataset

    Warns
    -----
    StaleReferencesWarning
        If the file changed since the references were made, or cannot be reached.

    Raises
    ------
    OSError
        If the references cannot be read.
    ValueError
        If they are not references, or have no such group, or ``url`` is given for Parquet.
    """
    content, attrs, version = load(refs, storage_options)
    source = attrs.get("source", "")
    sources = [str(item) for item in source] if isinstance(source, list) else [str(source)]
    if url is not None:
        if isinstance(content, str) or len(sources) != 1:
            raise ValueError(
                "url= works only for JSON references to a single file; write the references again with url="
            )
        content = with_url(content, url)
    if group is not None and not isinstance(content, str):
        groups = FORMATS[version].group_paths(content["refs"])
        if group.strip("/") not in ("", *groups):
            raise errors.no_such("group", group, groups)
    if check:
        for message in _changes(sources, attrs, url, remote_options):
            warnings.warn(message, StaleReferencesWarning, stacklevel=2)
    protocol = split_protocol(url if url is not None else sources[0])[0] or "file"
    remote = dict(remote_options or {})
    if get_filesystem_class(protocol).async_impl:
        remote["asynchronous"] = True
    target = dict(storage_options or {})
    fs_options = {"fo": content, "target_options": target, "remote_protocol": protocol, "remote_options": remote}
    store = ReferenceStore.from_url("reference://", storage_options=fs_options, read_only=True)
    fixed: dict[str, Any] = {"consolidated": True, "zarr_format": version, "group": group}
    chunks = options.pop("chunks", {})
    dataset: xr.Dataset = xr.open_zarr(store, chunks=None, **fixed, **options)
    if chunks is None:
        return dataset
    # Blocks of coordinates would not be those of the image: they stay out of dask, as the engine's do.
    coords = {name: dataset.variables[name] for name in set(dataset.coords) - set(dataset.dims)}
    dropped = options.pop("drop_variables", None) or []
    dropped = [dropped] if isinstance(dropped, str) else list(dropped)
    pixels: xr.Dataset = xr.open_zarr(store, chunks=chunks, drop_variables=[*dropped, *coords], **fixed, **options)
    return pixels.assign_coords({name: coords[name] for name in dataset.coords if name in coords})


class ReferenceStore(FsspecStore):
    """References that dask knows by the token of their file system.

    Otherwise dask would pickle the references, maybe a million, to name an array.
    """

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self.fs.__dask_tokenize__(), self.path

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read a key; say what to do if the ND2 file is not where the references lead."""
        try:
            return await super().get(key, prototype, byte_range)
        except ReferenceNotReachable as error:
            target = error.target
            path = redact(str(target[0] if isinstance(target, (list, tuple)) else target))
            raise errors.source(
                "the ND2 file of the references cannot be reached; if it moved, open them with url=", path=path
            ) from error


def _changes(
    sources: list[str], attrs: Mapping[str, Any], url: str | None, remote_options: Mapping[str, Any] | None
) -> Iterator[str]:
    """Yield a warning for each file that changed or cannot be reached."""
    sizes, versions = (
        value if isinstance(value, list) else [value] * len(sources)
        for value in (attrs.get(SOURCE_SIZE), attrs.get(SOURCE_VERSION))
    )
    places = [place if url is None else url for place in sources]
    if len(sources) > 1:
        # There may be thousands of files: a HEAD request for each is enough, many at a time.
        with ThreadPoolExecutor(_REQUESTS, thread_name_prefix="nd2-check") as executor:
            found = list(executor.map(lambda place: _listed(place, remote_options), places))
    else:
        found = [None] * len(sources)
    for place, known, size, version in zip(places, found, sizes, versions, strict=True):
        if size is None:
            continue
        try:
            if known is None:
                with closing(open_source(place, remote_options)) as opened:
                    known = opened.identity
            now, now_size, now_version = known
        except OSError as error:
            yield f"the ND2 file of the references cannot be reached: {errors.one_line(error)}; if it moved, pass url="
            continue
        # A copy has another version, but the same length.
        same = url is not None or not version or not now_version or version == now_version
        if now_size != size or not same:
            yield (
                f"{redact(str(now))!r} changed since the references were made: it has {now_size} bytes, version "
                f"{now_version!r}, and had {size} bytes, version {version!r}; write them again"
            )


def _listed(place: str, options: Mapping[str, Any] | None) -> tuple[str, int, str] | None:
    """Ask for the length and version of a remote file; None if they are unknown."""
    file = stat_url(place, options) if is_url(place) else None
    return (place, file.size, file.version) if file and file.version else None
