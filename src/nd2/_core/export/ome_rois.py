"""Regions of interest as OME shapes.

Files store coordinates in units of half the image, from its centre. That is what public examples show; it is not
verified for all versions of the software, nor is the direction of rotation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nd2._core.structures import InterpType
from nd2._core.structures import RoiShapeType as Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from ome_types.model import ROI, Shape

    from nd2._core.structures import ROI as Nd2Roi
    from nd2._core.structures import AnimParam

_BOXES = {Kind.Rectangle, Kind.Square}
_ROUND = {Kind.Ellipse, Kind.Circle, Kind.Ring, Kind.Spiral}


def ome_roi(
    roi: Nd2Roi,
    index: int,
    width: int,
    height: int,
    text: Callable[[str], str],
    time_point: Callable[[float], int | None],
) -> ROI:
    """Return a region of interest as OME has it, in pixels.

    Parameters
    ----------
    roi : ROI
        The region.
    index : int
        Its number in the document.
    width, height : int
        Size of the image in pixels.
    text : callable
        Makes a string fit for XML.
    time_point : callable
        Returns the time point that a time in milliseconds belongs to.
    """
    from ome_types.model import ROI

    kind = Kind(roi.info.shapeType) if roi.info.shapeType in set(Kind) else Kind.Any
    steps = [step for step in roi.animParams if step.enabled]
    union: dict[str, list[Any]] = {}
    for number, step in enumerate(steps):
        common: dict[str, Any] = {
            "id": f"Shape:{index}:{number}",
            "text": text(roi.info.label) or None,
            "stroke_color": (
                roi.info.color & 255,
                roi.info.color >> 8 & 255,
                roi.info.color >> 16 & 255,
            ),
            "the_t": time_point(step.timeMs) if len(steps) > 1 else None,
            "locked": roi.info.locked,
        }
        name, shape = _shape(kind, step, width / 2, height / 2, common)
        union.setdefault(name, []).append(shape)
    return ROI(
        id=f"ROI:{index}",
        name=text(roi.info.label) or None,
        description=f"{_purpose(roi.info.interpType)}, {kind.name}",
        union=ROI.Union(**union),
    )


def _purpose(stored: int) -> str:
    return InterpType(stored).name if stored in set(InterpType) else f"kind {stored}"


def _shape(
    kind: Kind, step: AnimParam, half_x: float, half_y: float, common: dict[str, Any]
) -> tuple[str, Shape]:
    """Return the list of the union that a shape belongs to, and the shape."""
    from ome_types import model

    x, y = (1 + step.centerX) * half_x, (1 + step.centerY) * half_y
    width, height = abs(step.boxShape.sizeX) * half_x, abs(step.boxShape.sizeY) * half_y
    points = [(x + px * half_x, y + py * half_y) for px, py in step.extrudedShape.basePoints]
    common = {key: value for key, value in common.items() if value is not None}
    if step.rotationZ:
        common["transform"] = _rotation(step.rotationZ, x, y)
    if kind in (Kind.Line, Kind.PolyLine) and len(points) >= 2:
        if len(points) == 2:
            (x1, y1), (x2, y2) = points
            return "lines", model.Line(x1=x1, y1=y1, x2=x2, y2=y2, **common)
        return "polylines", model.Polyline(points=_listed(points), **common)
    if len(points) >= 3:
        return "polygons", model.Polygon(points=_listed(points), **common)
    if kind in _ROUND:
        return "ellipses", model.Ellipse(
            x=x, y=y, radius_x=width / 2, radius_y=height / 2, **common
        )
    if kind in _BOXES or (width and height):
        left, top = x - width / 2, y - height / 2
        return "rectangles", model.Rectangle(x=left, y=top, width=width, height=height, **common)
    return "points", model.Point(x=x, y=y, **common)


def _listed(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.6g},{y:.6g}" for x, y in points)


def _rotation(angle: float, x: float, y: float) -> Any:
    """Return the matrix that turns by an angle in radians about a point."""
    from ome_types.model import AffineTransform

    cos, sin = math.cos(angle), math.sin(angle)
    return AffineTransform(
        a00=cos, a01=-sin, a02=x - cos * x + sin * y, a10=sin, a11=cos, a12=y - sin * x - cos * y
    )
