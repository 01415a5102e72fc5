"""Outlines of regions of interest in pixels.

Files store coordinates in units of half the image, from its center. Public examples show that; it is not verified for
all versions of the software, nor is the direction of rotation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nd2._core.region_types import RoiShapeType as Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.region_types import ROI, AnimParam, RoiInfo

_BOXES = {Kind.Rectangle, Kind.Square}
_ROUND = {Kind.Ellipse, Kind.Circle, Kind.Ring, Kind.Spiral}


@dataclass(frozen=True, slots=True)
class Outline:
    """The outline of a region in pixels, from the corner of the image: x to the right, y down.

    Lines, paths and polygons have points, ellipses and rectangles a size (width and height). The outline is turned
    about its center by an angle in radians.
    """

    shape: Literal["point", "line", "path", "polygon", "ellipse", "rectangle"]
    center: tuple[float, float]
    points: tuple[tuple[float, float], ...] = ()
    size: tuple[float, float] = (0.0, 0.0)
    angle: float = 0.0

    def vertices(self) -> NDArray[np.float64]:
        """Return x and y of each point, shape (n, 2), turned; of ellipses and rectangles, those of the corners."""
        points: NDArray[Any] = np.array(self.points or (self.center,), np.float64)
        if self.shape in ("ellipse", "rectangle"):
            corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float64)
            points = self.center + corners * self.size / 2
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        turn = np.array([(cos, sin), (-sin, cos)])
        turned: NDArray[np.float64] = (points - self.center) @ turn + self.center
        return turned


def region_kind(info: RoiInfo) -> Kind:
    """Return the kind of a region; that of an unknown code is Any."""
    return Kind(info.shapeType) if info.shapeType in set(Kind) else Kind.Any


def region_steps(region: ROI) -> list[AnimParam]:
    """Return place and shape of a region at each time from which on they hold."""
    return [step for step in region.animParams if step.enabled]


def outline(kind: Kind, step: AnimParam, width: int, height: int) -> Outline:
    """Return the outline of a region in an image of a width and a height in pixels."""
    half_x, half_y = width / 2, height / 2
    x, y = (1 + step.centerX) * half_x, (1 + step.centerY) * half_y
    size = abs(step.boxShape.sizeX) * half_x, abs(step.boxShape.sizeY) * half_y
    points = tuple((x + px * half_x, y + py * half_y) for px, py in step.extrudedShape.basePoints)
    angle = step.rotationZ
    if kind in (Kind.Line, Kind.PolyLine) and len(points) >= 2:
        return Outline("line" if len(points) == 2 else "path", (x, y), points, angle=angle)
    if len(points) >= 3:
        return Outline("polygon", (x, y), points, angle=angle)
    if kind in _ROUND:
        return Outline("ellipse", (x, y), size=size, angle=angle)
    if kind in _BOXES or all(size):
        return Outline("rectangle", (x, y), size=size, angle=angle)
    return Outline("point", (x, y), angle=angle)
