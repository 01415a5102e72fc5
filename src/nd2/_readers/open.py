"""Choosing the reader for a file by its first bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nd2._format import chunks
from nd2._readers.modern import ModernReader

if TYPE_CHECKING:
    from nd2._io import ByteSource
    from nd2._readers.protocol import Reader

HEAD_BYTES = 112


def open_reader(source: ByteSource, *, flat_frames: bool = False) -> Reader:
    """Return the reader for the format of a file.

    Parameters
    ----------
    source : ByteSource
        The file.
    flat_frames : bool
        Put all frames on one axis, whatever the loops say.

    Raises
    ------
    OSError
        If the file is not ND2.
    ValueError
        If its signature is damaged.
    """
    head = source.read(0, min(HEAD_BYTES, source.size))
    version = chunks.parse_version(head, path=source.url)
    if version[0] == 1:
        from nd2._readers.legacy import LegacyReader

        return LegacyReader(source, version, flat_frames=flat_frames)
    return ModernReader(source, version, flat_frames=flat_frames)
