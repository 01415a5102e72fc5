"""Outlines of regions in pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nd2._core.region_types import AnimParam, BoxShape, ExtrudedShape, RoiInfo, RoiShapeType, XYPoint
from nd2._core.views.regions import outline, region_kind


def test_coordinates_are_halves_of_the_image_from_its_center() -> None:
    step = AnimParam(centerX=0.5, centerY=-0.5, boxShape=BoxShape(0.5, 0.2))
    box = outline(RoiShapeType.Rectangle, step, 200, 100)
    assert (box.shape, box.center, box.size) == ("rectangle", (150.0, 25.0), (50.0, 10.0))
    np.testing.assert_allclose(box.vertices(), [(125, 20), (175, 20), (175, 30), (125, 30)])


def test_outlines_are_turned_about_their_center() -> None:
    step = AnimParam(boxShape=BoxShape(0.4, 0.4), rotationZ=math.pi / 2)
    ellipse = outline(RoiShapeType.Circle, step, 100, 200)
    np.testing.assert_allclose(ellipse.vertices(), [(70, 90), (70, 110), (30, 110), (30, 90)])


@pytest.mark.parametrize(
    ("kind", "points", "size", "shape"),
    [
        (RoiShapeType.Line, 2, 0.0, "line"),
        (RoiShapeType.PolyLine, 4, 0.0, "path"),
        (RoiShapeType.Polygon, 3, 0.0, "polygon"),
        (RoiShapeType.Bezier, 5, 0.0, "polygon"),
        (RoiShapeType.Polygon, 1, 0.2, "rectangle"),
        (RoiShapeType.Ellipse, 0, 0.2, "ellipse"),
        (RoiShapeType.Square, 0, 0.2, "rectangle"),
        (RoiShapeType.Any, 0, 0.0, "point"),
    ],
)
def test_shapes_of_kinds(kind: RoiShapeType, points: int, size: float, shape: str) -> None:
    base = [XYPoint(0.1 * i, 0.1 * i) for i in range(points)]
    step = AnimParam(boxShape=BoxShape(size, size), extrudedShape=ExtrudedShape(0, base))
    found = outline(kind, step, 100, 100)
    assert found.shape == shape
    count = {"rectangle": 4, "ellipse": 4, "point": 1}.get(shape, points)
    assert found.vertices().shape == (count, 2)


def test_an_unknown_kind_is_any() -> None:
    assert region_kind(RoiInfo(99, 1)) is RoiShapeType.Any
    assert region_kind(RoiInfo(4, 1)) is RoiShapeType.Ellipse
