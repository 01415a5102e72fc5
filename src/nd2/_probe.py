"""Telling by its first bytes whether a file is ND2, and which kind."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, BinaryIO

from nd2._format.chunks import LEGACY_MAGIC_BYTES, MAGIC_BYTES
from nd2._io import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def first_bytes(file: Any, storage_options: Mapping[str, Any] | None = None) -> bytes:
    """Return the first four bytes of a file, fewer if it is shorter."""
    with closing(open_source(file, storage_options)) as source:
        return source.start(4)


def is_supported_file(
    path: Any,
    open_: Callable[[Any], BinaryIO] | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> bool:
    """Return whether a file is ND2, by its first four bytes.

    Parameters
    ----------
    path : str, os.PathLike, BinaryIO
        Path, URL or open binary file.
    open_ : callable, optional
        Opens ``path`` for reading bytes, in place of this package's own opening.
    storage_options : Mapping, optional
        Options for the file system of a URL.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    if open_ is not None:
        with open_(path) as handle:
            head = handle.read(4)
    else:
        head = first_bytes(path, storage_options)
    return head in (MAGIC_BYTES, LEGACY_MAGIC_BYTES)


def is_legacy(path: Any, *, storage_options: Mapping[str, Any] | None = None) -> bool:
    """Return whether a file is a legacy (JPEG 2000) ND2 file, by its first four bytes.

    Parameters
    ----------
    path : str, os.PathLike, BinaryIO
        Path, URL or open binary file.
    storage_options : Mapping, optional
        Options for the file system of a URL.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    return first_bytes(path, storage_options) == LEGACY_MAGIC_BYTES
