"""Regions of interest as OME shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import SubElement

from nd2._core.region_types import InterpType
from nd2._core.views.channels import stored_rgb
from nd2._core.views.regions import outline, region_kind, region_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from xml.etree.ElementTree import Element

    from nd2._core.region_types import ROI
    from nd2._core.views.regions import Outline


def add_element(parent: Element, tag: str, **attributes: Any) -> Element:
    """Add an element; attributes that are None or empty are left out."""
    texts = {
        name: value if isinstance(value, str) else repr(value)
        for name, value in attributes.items()
        if value is not None and value != ""
    }
    return SubElement(parent, tag, texts)


def add_roi(
    root: Element, roi: ROI, index: int, width: int, height: int, time_point: Callable[[float], int | None]
) -> None:
    """Add a region of interest to a document, in pixels; ``time_point`` takes a time in milliseconds."""
    kind = region_kind(roi.info)
    element = add_element(root, "ROI", ID=f"ROI:{index}", Name=roi.info.label)
    union = add_element(element, "Union")
    steps = region_steps(roi)
    for number, step in enumerate(steps):
        placed = outline(kind, step, width, height)
        name, place = _shape(placed)
        shape = add_element(
            union,
            name,
            ID=f"Shape:{index}:{number}",
            StrokeColor=ome_color(stored_rgb(roi.info.color)),
            Locked=str(bool(roi.info.locked)).lower(),
            Text=roi.info.label,
            TheT=time_point(step.timeMs) if len(steps) > 1 else None,
            **place,
        )
        if placed.angle:
            add_element(shape, "Transform", **_rotation(placed.angle, *placed.center))
    code = roi.info.interpType
    purpose = InterpType(code).name if code in set(InterpType) else f"kind {code}"
    add_element(element, "Description").text = f"{purpose}, {kind.name}"


def ome_color(rgb: Sequence[int]) -> int:
    """Return a color as OME writes it: RGBA in a signed integer."""
    red, green, blue = rgb
    value = red << 24 | green << 16 | blue << 8 | 255
    return value - (1 << 32) if value >> 31 else value


def _shape(outline: Outline) -> tuple[str, dict[str, Any]]:
    """Return the name of the element of a shape, and its coordinates."""
    (x, y), (width, height) = outline.center, outline.size
    listed = " ".join(f"{px:.6g},{py:.6g}" for px, py in outline.points)
    match outline.shape:
        case "line":
            (x1, y1), (x2, y2) = outline.points
            return "Line", {"X1": x1, "Y1": y1, "X2": x2, "Y2": y2}
        case "path":
            return "Polyline", {"Points": listed}
        case "polygon":
            return "Polygon", {"Points": listed}
        case "ellipse":
            return "Ellipse", {"X": x, "Y": y, "RadiusX": width / 2, "RadiusY": height / 2}
        case "rectangle":
            return "Rectangle", {"X": x - width / 2, "Y": y - height / 2, "Width": width, "Height": height}
        case "point":
            return "Point", {"X": x, "Y": y}


def _rotation(angle: float, x: float, y: float) -> dict[str, float]:
    """Return the matrix that turns by an angle in radians about a point."""
    cos, sin = math.cos(angle), math.sin(angle)
    across, down = x - cos * x + sin * y, y - sin * x - cos * y
    return {"A00": cos, "A10": sin, "A01": -sin, "A11": cos, "A02": across, "A12": down}
