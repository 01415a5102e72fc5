"""Putting references in their place: at a local path as a whole or not at all, at a URL as nearly so as its store can."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd2._core.io.destination import atomic_path
from nd2._core.io.open import file_system
from nd2._core.io.urls import is_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HEAD = ".zmetadata"
"""What makes a folder one of references; without it, nothing opens the folder."""


def _resolved(dest: str | os.PathLike[str], options: Mapping[str, Any] | None) -> tuple[Any, str]:
    """Return file system and path; for a local path, None in place of the file system."""
    if not is_url(dest):
        return None, os.path.abspath(os.fspath(dest))
    from fsspec.implementations.local import LocalFileSystem

    fs, path = file_system(str(dest), options)
    if type(fs) is LocalFileSystem:
        return None, path
    return fs, path.rstrip("/")


def exists_at(dest: str | os.PathLike[str], options: Mapping[str, Any] | None = None) -> bool:
    """Return whether something is at a path or URL."""
    fs, place = _resolved(dest, options)
    return os.path.lexists(place) if fs is None else bool(fs.exists(place))


def put_file(
    dest: str | os.PathLike[str],
    write: Callable[[Path], None],
    options: Mapping[str, Any] | None = None,
) -> None:
    """Let a function write a file, then put it in the place of the old one.

    It is written on this machine first: where that fails, nothing was put anywhere. Object stores replace an object in
    one step; in others (SFTP, for example) an upload that breaks off may leave a part of it.

    Parameters
    ----------
    dest : str or os.PathLike
        The file.
    write : callable
        Writes it, given a local path.
    options : Mapping, optional
        Options for the file system of a URL.
    """
    fs, place = _resolved(dest, options)
    if fs is None:
        with atomic_path(Path(place)) as partial:
            write(partial)
        return
    with tempfile.TemporaryDirectory() as folder:
        # Stores tell the type of a file by its name.
        partial = Path(folder, os.path.basename(place))
        write(partial)
        fs.put_file(str(partial), place)


def put_folder(
    dest: str | os.PathLike[str],
    write: Callable[[Path], None],
    options: Mapping[str, Any] | None = None,
) -> None:
    """Let a function fill a folder of references, then put it in the place of the old one.

    It is filled on this machine first. Stores behind a URL have no step that replaces a folder: the old one is removed,
    and the document without which nothing opens the new one is put there last.

    Parameters
    ----------
    dest : str or os.PathLike
        The folder.
    write : callable
        Fills it, given the path of a local folder.
    options : Mapping, optional
        Options for the file system of a URL.

    Raises
    ------
    FileExistsError
        If something else than references is there.
    """
    fs, place = _resolved(dest, options)
    if fs is None:
        if os.path.lexists(place):
            _refuse_others(place, os.listdir(place) if os.path.isdir(place) else None)
        with atomic_path(Path(place)) as partial:
            partial.mkdir(parents=True)
            write(partial)
        return
    there = fs.exists(place)
    if there:
        known = fs.ls(place, detail=False) if fs.isdir(place) else None
        names = None if known is None else [str(name).rpartition("/")[2] for name in known]
        _refuse_others(str(dest), names)
    with tempfile.TemporaryDirectory() as folder:
        head = Path(folder, _HEAD)
        tables = Path(folder, "tables")
        tables.mkdir()
        write(tables)
        (tables / _HEAD).rename(head)
        if there:
            fs.rm(place, recursive=True)
        fs.put(f"{tables}{os.sep}", f"{place}/", recursive=True)
        fs.put_file(str(head), f"{place}/{_HEAD}")


def _refuse_others(place: str, names: list[str] | None) -> None:
    """Refuse to replace what is no folder of references; ``names`` is what is in it, None if it is no folder."""
    if names is None or (names and _HEAD not in names):
        raise FileExistsError(f"{place!r} holds something else than references")
