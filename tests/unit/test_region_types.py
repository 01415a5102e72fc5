"""Regions of interest: the center."""

from __future__ import annotations

from nd2._core.region_types import AnimParam, XYZPoint


def test_center_of_a_region() -> None:
    region = AnimParam(centerX=1, centerY=2, centerZ=3)
    assert region.center == XYZPoint(1, 2, 3)
    region.centerX = 5  # structures are mutable, as those of nd2 0.12
    assert region.center.x == 5
