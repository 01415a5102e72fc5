"""Open references as a dataset, and warn if the file changed."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.io import open_source
from nd2._core.io.faults import explain_faults
from nd2._core.io.listing import stat_url
from nd2._core.io.magic import is_magic
from nd2._core.io.open import file_system
from nd2._core.io.urls import is_url, local_path, redact
from xarray_nd2.references.formats import FORMATS, zarr_format
from xarray_nd2.references.kerchunk import TEMPLATE, fits_template
from xarray_nd2.references.layouts import SOURCE_SIZE, SOURCE_VERSION

if TYPE_CHECKING:
    import xarray as xr


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
        Whether to compare the file's length and version (ETag or modification time) with the recorded
        ones.
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
    import xarray as xr

    from xarray_nd2.references.store import ReferenceStore

    content, attrs, version = load(refs, storage_options)
    source = attrs.get("source", "")
    sources = [str(item) for item in source] if isinstance(source, list) else [str(source)]
    if url is not None:
        if isinstance(content, str) or len(sources) != 1:
            raise ValueError(
                "url= works only for JSON references to a single file; write the references again with url="
            )
        content = _with_url(content, url)
    if group is not None and not isinstance(content, str):
        groups = FORMATS[version].group_paths(content["refs"])
        if group.strip("/") not in ("", *groups):
            raise errors.no_such("group", group, groups)
    if check:
        for message in _changes(sources, attrs, url, remote_options):
            warnings.warn(message, StaleReferencesWarning, stacklevel=2)
    protocol = _protocol(url if url is not None else sources[0])
    fs_options: dict[str, Any] = {
        "fo": content,
        "remote_protocol": protocol,
        "remote_options": _remote_options(protocol, remote_options),
    }
    if isinstance(content, str):
        fs_options["target_options"] = dict(storage_options or {})
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


def load(
    refs: str | os.PathLike[str] | Mapping[str, Any], storage_options: Mapping[str, Any] | None = None
) -> tuple[str | dict[str, Any], dict[str, Any], int]:
    """Read references, other than Parquet."""
    place = ""
    if not isinstance(refs, (str, os.PathLike, Mapping)):
        raise TypeError(f"references are a path, a URL or a mapping, not {type(refs).__name__}")
    if not isinstance(refs, (str, os.PathLike)):
        content: Any = dict(refs)
    else:
        place = str(refs) if is_url(refs) else local_path(refs)
        fs, path = file_system(place, storage_options)
        with explain_faults(place):
            if fs.isdir(path):
                head = json.loads(fs.cat_file(f"{path.rstrip('/')}/.zmetadata"))
                return place, dict(head["metadata"].get(".zattrs", {})), 2
            data = fs.cat_file(path)
        if is_magic(data[:16]):
            raise ValueError(f"{redact(place)!r} is an ND2 file; xarray_nd2.write_kerchunk writes references to it")
        try:
            content = json.loads(data)
        except ValueError as error:
            raise ValueError(f"{redact(place)!r} is not JSON: {error}") from None
    if not isinstance(content, dict) or "refs" not in content:
        raise ValueError("these are not kerchunk references of version 1: they have no 'refs'")
    version = zarr_format(content["refs"])
    attrs = FORMATS[version].root_attrs(content["refs"])
    if place:
        content = _with_absolute_paths(content, place)
        source = attrs.get("source", "")
        several = isinstance(source, list)
        sources = [_absolute(str(item), place) for item in (source if several else [source])]
        attrs["source"] = sources if several else sources[0]
    return content, attrs, version


def _absolute(url: str, place: str) -> str:
    """Resolve a relative path in the file of references at ``place``."""
    if not url or is_url(url) or os.path.isabs(url):
        return url
    if is_url(place):
        return f"{place.rpartition('/')[0]}/{url}"
    joined = os.path.join(os.path.dirname(os.path.abspath(place)), url)
    return joined if os.path.exists(joined) else url


def _with_absolute_paths(content: dict[str, Any], place: str) -> dict[str, Any]:
    """Return references in which relative paths are resolved from the folder of their file."""
    refs = content.get("refs", {})
    links = {value[0] for value in refs.values() if isinstance(value, list)}
    moved = {link: _absolute(link, place) for link in links if "{{" not in link}
    templates = {name: _absolute(url, place) for name, url in content.get("templates", {}).items()}
    if any(link != url for link, url in moved.items()):
        refs = {
            key: [moved.get(value[0], value[0]), *value[1:]] if isinstance(value, list) else value
            for key, value in refs.items()
        }
    return {**content, "refs": refs, **({"templates": templates} if templates else {})}


def _with_url(content: dict[str, Any], url: str) -> dict[str, Any]:
    """Return references to the file at another place."""
    if TEMPLATE in content.get("templates", {}) and fits_template(url):
        return {**content, "templates": {**content["templates"], TEMPLATE: url}}
    refs = {key: [url, *value[1:]] if isinstance(value, list) else value for key, value in content["refs"].items()}
    return {**content, "templates": {}, "refs": refs}


def _protocol(url: str) -> str:
    from fsspec.core import split_protocol

    protocol, _ = split_protocol(url)
    return protocol or "file"


def _remote_options(protocol: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return options for the file's file system, asynchronous where it supports that."""
    from fsspec import get_filesystem_class

    given = dict(options or {})
    return {**given, "asynchronous": True} if get_filesystem_class(protocol).async_impl else given


def _changes(
    sources: list[str], attrs: Mapping[str, Any], url: str | None, remote_options: Mapping[str, Any] | None
) -> list[str]:
    """Return a warning for each file that changed or cannot be reached."""
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
    messages = []
    for place, known, size, version in zip(places, found, sizes, versions, strict=True):
        if size is None:
            continue
        try:
            now, now_size, now_version = known or _identity(place, remote_options)
        except OSError as error:
            messages.append(
                f"the ND2 file of the references cannot be reached: {errors.one_line(error)}; if it moved, pass url="
            )
            continue
        # A copy has another version, but the same length.
        same = url is not None or not version or not now_version or version == now_version
        if now_size != size or not same:
            messages.append(
                f"{redact(str(now))!r} changed since the references were made: it has {now_size} bytes, version "
                f"{now_version!r}, and had {size} bytes, version {version!r}; write them again"
            )
    return messages


def _identity(place: str, options: Mapping[str, Any] | None) -> tuple[str, int, str]:
    """Open a file, and return its URL, length and version."""
    with closing(open_source(place, options)) as source:
        return source.identity


def _listed(place: str, options: Mapping[str, Any] | None) -> tuple[str, int, str] | None:
    """Ask for the length and version of a remote file; None if they are unknown."""
    file = stat_url(place, options) if is_url(place) else None
    return (place, file.size, file.version) if file and file.version else None
