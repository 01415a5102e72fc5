"""Open a file: tell by its first bytes whether it is ND2, and choose the reader of its format."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, BinaryIO

from nd2._core.format import chunks
from nd2._core.format.chunks import LEGACY_MAGIC_BYTES, MAGIC_BYTES
from nd2._core.io import open_source
from nd2._core.readers.modern import ModernReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nd2._core.io import ByteSource
    from nd2._core.readers import Reader


def first_bytes(file: Any, storage_options: Mapping[str, Any] | None = None) -> bytes:
    """Return the first four bytes of a file, fewer if it is shorter."""
    with closing(open_source(file, storage_options)) as source:
        return source.read_start(4)


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


def open_reader(
    source: ByteSource,
    *,
    flat_frames: bool = False,
    search_window: int | None = None,
    rescue: bool = False,
) -> Reader:
    """Return the reader for the format of a file.

    Parameters
    ----------
    source : ByteSource
        The file.
    flat_frames : bool
        Put all frames on one axis, whatever the loops say.
    search_window : int, optional
        Check every chunk, and look for it within so many kilobytes (of 1000 bytes) where it is not in its place. By
        default the chunk map is trusted. Without effect on legacy files.
    rescue : bool
        Scan the file for what is left of it, whatever its chunk map says.

    Raises
    ------
    OSError
        If the file is not ND2.
    ValueError
        If its signature is damaged.
    """
    if rescue:
        from nd2._core.readers.rescued import open_rescued

        return open_rescued(source, flat_frames=flat_frames)
    head = source.read(0, min(chunks.VERSION_BYTES, source.size))
    version = chunks.parse_version(head, path=source.url)
    if version[0] == 1:
        from nd2._core.readers.legacy import LegacyReader

        return LegacyReader(source, version, flat_frames=flat_frames)
    if search_window is not None:
        from nd2._core.readers.validated import ValidatingReader

        radius = search_window * 1000
        return ValidatingReader(source, version, radius=radius, flat_frames=flat_frames)
    return ModernReader(source, version, flat_frames=flat_frames)
