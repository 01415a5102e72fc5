"""What the readers of both formats are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nd2._core.io import ByteSource


class BaseReader:
    """A reader of one file.

    Parameters
    ----------
    source : ByteSource
        The file.
    version : tuple of int
        Its format version.
    flat_frames : bool
        Put all frames on one axis, whatever the loops say.
    """

    def __init__(
        self, source: ByteSource, version: tuple[int, int], *, flat_frames: bool = False
    ) -> None:
        self.source = source
        self.version = version
        self.flat_frames = flat_frames
