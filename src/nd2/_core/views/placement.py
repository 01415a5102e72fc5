"""Where each frame of a file goes in an export: which image, which time point, which focal plane.

The models of OME know the axes T, Z, C, Y and X; a stage position is an image of its own. A file may have other loops
(custom ones, several of one kind): those of one kind are laid out one inside the other along one axis, and custom
loops count as time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nd2._core.frames.layout import Layout
    from nd2._core.frames.plan import Picks
    from nd2._core.frames.read import Frames
    from nd2._core.readers import Reader

_AXIS = {"T": "T", "U": "T", "P": "P", "Z": "Z"}


@dataclass(frozen=True, slots=True)
class Placement:
    """Frames, and the place of each.

    Attributes
    ----------
    index : ndarray of int, shape (n,)
        Sequence indices of the frames, ascending.
    image, time, plane : ndarray of int, shape (n,)
        Place of each frame.
    images, times, planes : int
        Number of images, time points and focal planes.
    nesting : str
        ``"TZ"`` or ``"ZT"``: which of the two is the outer loop of the file.
    """

    index: NDArray[np.intp]
    image: NDArray[np.intp]
    time: NDArray[np.intp]
    plane: NDArray[np.intp]
    images: int
    times: int
    planes: int
    nesting: str

    @classmethod
    def of(cls, layout: Layout) -> Placement:
        """Place all frames that the loops reach."""
        frames = np.arange(layout.frame_count)
        places = dict.fromkeys("PTZ", np.zeros(len(frames), np.intp))
        counts = dict.fromkeys("PTZ", 1)
        indices = layout.grid.all_indices()
        for name, count in layout.loops:
            axis = _AXIS[name[0]]
            places[axis] = places[axis] * count + indices[name]
            counts[axis] *= count
        order = [_AXIS[name[0]] for name, count in layout.loops if count > 1]
        outer_z = "Z" in order and "T" in order and order.index("Z") < order.index("T")
        return cls(
            frames,
            places["P"],
            places["T"],
            places["Z"],
            counts["P"],
            counts["T"],
            counts["Z"],
            "ZT" if outer_z else "TZ",
        )

    def of_image(self, image: int) -> Placement:
        """Return the frames of one image alone, which becomes image 0."""
        mine = self.image == image
        index = self.index[mine]
        return replace(
            self,
            index=index,
            image=np.zeros(len(index), np.intp),
            time=self.time[mine],
            plane=self.plane[mine],
            images=1,
        )

    def slots(self, nesting: str) -> NDArray[np.intp]:
        """Return the number of each frame within its image, with T and Z nested as given, shape (n,)."""
        if nesting == "ZT":
            return self.plane * self.times + self.time
        return self.time * self.planes + self.plane

    def in_file_order(self, frames: Frames) -> NDArray[np.intp]:
        """Return the numbers 0 to n - 1 of the frames in the order of their bytes; missing frames come first."""
        offsets, _ = frames.table.locations(self.index * frames.table.pieces)
        return np.argsort(offsets, kind="stable")


def runs(order: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    """Cut an order of frames into parts of at most ``size``."""
    for first in range(0, len(order), size):
        yield order[first : first + size]


def rgb_picks(reader: Reader) -> Picks:
    """Return what to take of C, Y, X and S so that colour samples come out red, green, blue."""
    pixels = reader.frames.pixels
    c, y, x, s = (range(size) for size in pixels.shape)
    return (c, y, x, s[::-1] if pixels.sample_order == "BGR" else s)
