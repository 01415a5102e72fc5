"""Where each frame of a file goes in an export: which image, which time point, which focal plane.

The models of OME know the axes T, Z, C, Y and X; a stage position is a separate image. A file may have other loops
(custom ones, several of one kind): those of one kind are laid out one inside the other along one axis, and custom
loops count as time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nd2._core.frames.grid import Layout
    from nd2._core.frames.plan import Picks
    from nd2._core.frames.read import Frames
    from nd2._core.readers import Reader
    from nd2._core.views.facts import Facts

IMAGE_AXES = {"T": "T", "U": "T", "P": "P", "Z": "Z"}
"""Axis of an exported image for each kind of loop, by the first letter of its name."""


@record
class Placement:
    """Frames by their sequence indices, ascending, and the place of each: arrays of shape (n,)."""

    index: NDArray[np.intp]
    image: NDArray[np.intp]
    time: NDArray[np.intp]
    plane: NDArray[np.intp]
    images: int
    times: int
    planes: int
    nesting: str

    @classmethod
    def from_layout(cls, layout: Layout) -> Placement:
        """Place all frames that the loops reach."""
        frames = np.arange(layout.frame_count)
        places = dict.fromkeys("PTZ", np.zeros(len(frames), np.intp))
        indices = layout.grid.all_indices()
        for name, count in layout.loops:
            axis = IMAGE_AXES[name[0]]
            places[axis] = places[axis] * count + indices[name]
        counts = image_counts(layout)
        return cls(
            frames, places["P"], places["T"], places["Z"], counts["P"], counts["T"], counts["Z"], nesting(layout)
        )

    def image_part(self, image: int) -> Placement:
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

    @property
    def first_frames(self) -> NDArray[np.intp]:
        """Sequence index of the first plane of each time point of the first image, shape (times,)."""
        chosen = (self.image == 0) & (self.plane == 0)
        frames: NDArray[np.intp] = self.index[chosen][np.argsort(self.time[chosen])]
        return frames

    def slots(self, nesting: str) -> NDArray[np.intp]:
        """Return the number of each frame within its image, with T and Z nested as given, shape (n,)."""
        if nesting == "ZT":
            return self.plane * self.times + self.time
        return self.time * self.planes + self.plane

    def in_file_order(self, frames: Frames) -> NDArray[np.intp]:
        """Return the numbers 0 to n - 1 of the frames in the order of their bytes; missing frames come first."""
        offsets, _ = frames.table.locations(self.index * frames.table.pieces)
        return np.argsort(offsets, kind="stable")

    def grid(self, values: NDArray[np.float64]) -> list[list[float | None]] | None:
        """Return values of the frames on the axes T and Z of their image; None for NaN, or if all are NaN."""
        if not np.isfinite(values).any():
            return None
        table = np.empty(len(values))
        table[self.slots("TZ")] = values
        rows = table.reshape(self.times, self.planes).tolist()
        return [[None if np.isnan(v) else v for v in row] for row in rows]


def image_counts(layout: Layout) -> dict[str, int]:
    """Return the number of images (P), of time points (T) and of focal planes (Z)."""
    counts = dict.fromkeys("PTZ", 1)
    for name, count in layout.loops:
        counts[IMAGE_AXES[name[0]]] *= count
    return counts


def nesting(layout: Layout) -> str:
    """Return ``"TZ"`` or ``"ZT"``: which of the two is the outer loop."""
    order = [IMAGE_AXES[name[0]] for name, count in layout.loops if count > 1]
    outer_z = "Z" in order and "T" in order and order.index("Z") < order.index("T")
    return "ZT" if outer_z else "TZ"


def frame_tables(facts: Facts, placement: Placement) -> dict[str, Any]:
    """Return times and stage positions of the frames of one image, for which OME-Zarr does not have axes."""
    tables: dict[str, Any] = {}
    index = placement.index
    columns = {"time_ms": ("recorded", facts.times(index))} | {
        f"stage_{axis}_um": (series.source or "nominal", series.values[index]) for axis, series in facts.stage.items()
    }
    for name, (source, values) in columns.items():
        table = placement.grid(values)
        if table is not None:
            tables.setdefault(source, {"axes": ["t", "z"]})[name] = table
    return tables


def batches(order: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    """Cut an order of frames into parts of at most ``size``."""
    for first in range(0, len(order), size):
        yield order[first : first + size]


def rgb_picks(reader: Reader) -> Picks:
    """Return the indices on C, Y, X and S that give samples of color as red, green, blue."""
    pixels = reader.frames.pixels
    c, y, x, s = (range(size) for size in pixels.shape)
    return (c, y, x, s[::-1] if pixels.sample_order == "BGR" else s)
