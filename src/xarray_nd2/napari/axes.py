"""Where the axes of an image are in the world of a viewer: scale, translation and units of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nd2._core.frames.array import FrameArray
    from nd2._core.views.facts import Facts


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: item ``i`` is at ``start + i * step``, in a unit that pint knows."""

    name: str
    step: float = 1.0
    start: float = 0.0
    unit: str = "pixel"


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of an image or a binary layer, those of channels and color samples left out."""

    items: tuple[Axis, ...]

    @classmethod
    def from_image(cls, facts: Facts, image: FrameArray, place: tuple[float, float]) -> Axes:
        """Return the axes of an image whose corner is at a place, y and x in micrometers."""
        return cls(tuple(_axis(facts, image, dim, place) for dim in image.dims if dim not in "CS"))

    @property
    def dims(self) -> tuple[str, ...]:
        """Name of each axis."""
        return tuple(axis.name for axis in self.items)

    @property
    def plane(self) -> Axes:
        """The axes Y and X."""
        return Axes(self.items[-2:])

    def options(self) -> dict[str, Any]:
        """Return the options of a layer."""
        return {
            "scale": tuple(axis.step for axis in self.items),
            "translate": tuple(axis.start for axis in self.items),
            "units": tuple(axis.unit for axis in self.items),
            "axis_labels": self.dims,
        }


def _axis(facts: Facts, image: FrameArray, dim: str, place: tuple[float, float]) -> Axis:
    if dim in ("Y", "X"):
        if facts.pixel_size is None:
            return Axis(dim)
        x, y = facts.pixel_size
        return Axis(dim, y, place[0], "um") if dim == "Y" else Axis(dim, x, place[1], "um")
    count = image.sizes[dim]
    if dim[0] == "Z":
        heights = facts.heights(dim, count)
        # Viewers count upward: a stack that goes down has the distance of its planes, but not their heights.
        first, step = float(heights[0]), float(heights[1] - heights[0])
        return Axis(dim, abs(step), first if step > 0 else 0.0, "um") if step else Axis(dim)
    if dim[0] == "T":
        frames = image.grid.steps(dim)
        step_ms = facts.time_step(frames)
        times = facts.step_times(frames)
        if step_ms is not None and times.source is not None:
            return Axis(dim, step_ms / 1000, float(times.values[0]) / 1000, "s")
    return Axis(dim)
