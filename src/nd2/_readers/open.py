"""Choosing the reader for a file by its first bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nd2._format import chunks
from nd2._readers.modern import ModernReader

if TYPE_CHECKING:
    from nd2._io import ByteSource
    from nd2._readers.protocol import Reader


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
        from nd2._readers.rescued import open_rescued

        return open_rescued(source, flat_frames=flat_frames)
    head = source.read(0, min(chunks.VERSION_BYTES, source.size))
    version = chunks.parse_version(head, path=source.url)
    if version[0] == 1:
        from nd2._readers.legacy import LegacyReader

        return LegacyReader(source, version, flat_frames=flat_frames)
    if search_window is not None:
        from nd2._readers.validated import ValidatingReader

        radius = search_window * 1000
        return ValidatingReader(source, version, radius=radius, flat_frames=flat_frames)
    return ModernReader(source, version, flat_frames=flat_frames)
