"""Byte sources of the files that users pass: paths, URLs and file objects."""

from __future__ import annotations

import errno
import io
import os
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.io.local import FileObjectSource, LocalSource
from nd2._core.io.urls import is_url, local_path, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fsspec.spec import AbstractFileSystem

    from nd2._core.io.source import ByteSource

# Packages that fsspec needs for the protocols of the extra "remote".
_PACKAGES = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "s3a": "s3fs"}

_SEVERAL = "xarray.open_mfdataset(files, engine='nd2') opens several files as one dataset"


def open_source(file: Any, storage_options: Mapping[str, Any] | None = None) -> ByteSource:
    """Open a path, a URL or a file object."""
    if isinstance(file, (list, tuple, set)):
        raise TypeError(f"expected one file, got a {type(file).__name__} of {len(file)}; {_SEVERAL}")
    if isinstance(file, bytes):
        file = os.fsdecode(file)
    if is_url(file):
        system, place = file_system(file, storage_options)
        if "*" in place and not system.exists(place):
            raise _pattern_error(place)
        return _open_path(system, place)
    fs, path = getattr(file, "fs", None), getattr(file, "path", None)
    if fs is not None and isinstance(path, str):
        # fsspec's open files, OpenFile and UPath: read through their file system, not through one shared handle.
        if not getattr(file, "compression", None):
            if "b" not in getattr(file, "mode", "rb"):
                raise TypeError("the file must be opened in binary mode ('rb')")
            return _open_path(fs, path)
        if not hasattr(file, "read"):
            raise ValueError(
                f"{path!r} is to be read through {file.compression!r}, which has no random access; decompress it first"
            )
    if isinstance(file, (str, os.PathLike)):
        place = local_path(file)
        if any(mark in place for mark in "*?[") and not os.path.lexists(place):
            raise _pattern_error(place)
        return LocalSource(place)
    if isinstance(file, (io.BufferedReader, io.FileIO)) and _is_whole_local_file(file):
        return LocalSource(os.fsdecode(file.name), file)
    return FileObjectSource(file)


def _pattern_error(path: str) -> FileNotFoundError:
    message = f"does not exist; patterns are not expanded: {_SEVERAL}"
    return FileNotFoundError(errno.ENOENT, message, path)


def file_system(url: str, storage_options: Mapping[str, Any] | None = None) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URL or a path, and the path in it."""
    from fsspec.core import split_protocol, url_to_fs

    from nd2._core.io.faults import explain_faults

    protocol, _ = split_protocol(url)
    try:
        with explain_faults(url):  # links of a chained URL may be opened here
            return url_to_fs(url, **(storage_options or {}))  # type: ignore[no-any-return]
    except ValueError as error:
        if str(error).startswith("Protocol not known"):
            raise ValueError(f"fsspec does not know the protocol {protocol!r} (URL {redact(url)!r})") from None
        raise
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        if package is None:  # fsspec's own message names the package
            raise
        raise errors.missing_package(package, "remote", f"to open {redact(url)}") from error


def is_local(fs: AbstractFileSystem | None) -> bool:
    """Return whether a file system is fsspec's local one, whose paths are those of the system."""
    if fs is None:  # for local outputs, fsspec is not imported
        return False
    from fsspec.implementations.local import LocalFileSystem

    return type(fs) is LocalFileSystem


def _open_path(fs: Any, path: str) -> ByteSource:
    """Open a path in an fsspec file system; files of the local one are read without fsspec."""
    if is_local(fs):
        return LocalSource(path)
    from nd2._core.io.remote import FsspecSource

    return FsspecSource(fs, path)


def _is_whole_local_file(handle: io.BufferedReader | io.FileIO) -> bool:
    """Return whether a handle is a plain open file whose name is still that of the same file."""
    raw = handle if isinstance(handle, io.FileIO) else handle.raw
    if type(raw) is not io.FileIO or not isinstance(raw.name, (str, bytes)) or handle.closed:
        return False
    try:
        return os.path.samestat(os.stat(raw.name), os.fstat(raw.fileno()))
    except OSError:
        return False
