"""The table of frames: where the stored bytes of each frame are."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.values import record

if TYPE_CHECKING:
    from numpy.typing import NDArray


@record
class FrameTable:
    """Where the stored bytes of each frame are.

    Attributes
    ----------
    offsets : ndarray of uint64, shape (n * pieces,)
        Position in the file of the first stored byte of each piece's pixels.
    lengths : ndarray of uint64, shape (n * pieces,)
        Number of stored bytes; 0 if the piece is missing. Pieces beyond the table are missing.
    pieces : int
        Number of pieces of a frame, consecutive in this table: 1, or one for each channel.
    """

    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint64]
    pieces: int = 1

    def __len__(self) -> int:
        return len(self.lengths) // self.pieces

    def present(self, count: int) -> NDArray[np.bool_]:
        """Return which of the frames 0 to ``count - 1`` the file holds (wholly), shape (count,)."""
        present = np.zeros(count, bool)
        shortest = self.lengths.reshape(-1, self.pieces).min(axis=1)
        present[: len(self)] = shortest[:count] > 0
        return present

    def location(self, index: int) -> tuple[int, int]:
        """Return offset and length of a frame stored in one piece; both are 0 if it is missing."""
        if index >= len(self.lengths):
            return 0, 0
        return int(self.offsets[index]), int(self.lengths[index])

    def locations(self, index: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return offsets and lengths of frames (or pieces); both are 0 for missing ones."""
        offsets, lengths = np.zeros((2, len(index)), np.int64)
        inside = np.flatnonzero(index < len(self.lengths))
        offsets[inside] = self.offsets[index[inside]]
        lengths[inside] = self.lengths[index[inside]]
        return offsets, lengths

    @cached_property
    def token(self) -> str:
        """Digest that distinguishes this table from others of the same file."""
        import hashlib

        digest = hashlib.blake2b(digest_size=16)
        for column in (self.offsets, self.lengths):
            digest.update(np.ascontiguousarray(column).data)
        return f"{digest.hexdigest()}-{self.pieces}"

    def __getstate__(self) -> dict[str, Any]:
        return {"offsets": self.offsets, "lengths": self.lengths, "pieces": self.pieces}
