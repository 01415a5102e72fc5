"""Files at paths and in folders and buckets, and files that match patterns, with length and version."""

from __future__ import annotations

import errno
import glob
import os
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd2._core.io.open import file_system
from nd2._core.io.urls import file_name, is_url, local_path
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MARKS = "*?["


@record
class ListedFile:
    """A file that was found, by its absolute path or URL.

    ``size`` is the length in bytes, or -1; ``version`` the ETag or the modification time (of a local file in
    nanoseconds), or empty if the listing does not have it.
    """

    path: str
    size: int = -1
    version: str = ""


def has_pattern(path: str | os.PathLike[str]) -> bool:
    """Return whether a path or URL is a pattern, and not the name of a local file."""
    if is_url(path):
        # "?" starts the query of a web address
        marks = "*" if path.startswith(("http://", "https://")) else _MARKS
        return any(mark in path for mark in marks)
    text = local_path(path)
    return any(mark in text for mark in _MARKS) and not os.path.lexists(text)


def expand(path: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> list[str]:
    """Return the files that a pattern matches, sorted; a path without a pattern is returned unchanged."""
    if not has_pattern(path):
        return [os.fspath(path)]
    if is_url(path):
        return [file.path for file in _list_remote(path, storage_options)]
    found = sorted(name for name in glob.iglob(local_path(path), recursive=True) if os.path.isfile(name))
    if not found:
        raise FileNotFoundError(errno.ENOENT, "matches no file", os.fspath(path))
    return found


def list_files(
    path: str | os.PathLike[str],
    *,
    recurse: bool = False,
    name_pattern: str = "*.nd2",
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[ListedFile]:
    """Yield the file at a path, or the sorted files that are in a folder or match a pattern.

    A file that does not exist is yielded as well; opening it raises the error. ``recurse`` and ``name_pattern``
    select files of a folder.
    """
    if is_url(path):
        yield from _list_url(path, recurse, name_pattern, storage_options)
        return
    if has_pattern(path):
        yield from (_local_file(name) for name in expand(path))
        return
    folder = Path(local_path(path))
    if not folder.is_dir():
        yield _local_file(str(folder))
        return
    found = folder.rglob(name_pattern) if recurse else folder.glob(name_pattern)
    yield from (_local_file(str(file)) for file in sorted(found) if file.is_file())


def _local_file(path: str) -> ListedFile:
    place = os.path.abspath(path)
    try:
        stat = os.stat(place)
    except OSError:
        return ListedFile(place)
    return ListedFile(place, stat.st_size, str(stat.st_mtime_ns))


def _list_url(
    url: str, recurse: bool, name_pattern: str, storage_options: Mapping[str, Any] | None
) -> Iterator[ListedFile]:
    pattern, web = has_pattern(url), url.startswith(("http://", "https://"))
    if not pattern and (file_name(url).lower().endswith(".nd2") or (web and not url.endswith("/"))):
        yield ListedFile(url)  # a web page is not read to find out whether it lists files
        return
    found = _list_remote(url, storage_options, depth=None if recurse else 1)
    if pattern or [file_name(file.path) for file in found] == [file_name(url)]:
        yield from found  # also a file without the usual suffix
        return
    yield from (file for file in found if fnmatch(file.path.rpartition("/")[2], name_pattern))


def stat_url(url: str, storage_options: Mapping[str, Any] | None = None) -> ListedFile:
    """Ask for length and version of a remote file; they are unknown if the server does not answer."""
    from nd2._core.io.faults import explain_faults
    from nd2._core.io.transport import parse_info

    try:
        fs, path = file_system(url, storage_options)
        fs.invalidate_cache(path)
        with explain_faults(url):
            stat = parse_info(fs.info(path), url)
    except OSError:
        return ListedFile(url)
    return ListedFile(url, stat.size, stat.version)


def _list_remote(url: str, storage_options: Mapping[str, Any] | None, depth: int | None = None) -> list[ListedFile]:
    """Return the files of a remote folder or pattern, sorted, by as few requests as the store allows."""
    from nd2._core.io.faults import explain_faults
    from nd2._core.io.transport import info_version

    fs, root = file_system(url, storage_options)
    pattern = has_pattern(url)
    with explain_faults(url):
        fs.invalidate_cache()  # else files that were added since are missing
        found = fs.glob(root, detail=True) if pattern else fs.find(root, maxdepth=depth, detail=True)
    files = []
    for name in sorted(found):
        info = found[name]
        if info.get("type") == "directory":
            continue
        size, place = info.get("size"), str(fs.unstrip_protocol(name))
        files.append(ListedFile(place, -1 if size is None else int(size), info_version(info)))
    if not files:
        message = "matches no file" if pattern else "is neither a file nor a folder with files"
        raise FileNotFoundError(errno.ENOENT, message, url)
    return files
