"""Regions of interest: their order."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from nd2._core.chunks import regions
from nd2._core.format import clx_lite
from nd2.structures import ROI, InterpType, RoiInfo, RoiShapeType
from tests.trees import trees


def test_regions_are_in_the_order_of_their_numbers_the_global_ones_first() -> None:
    def region(number: int) -> dict[str, Any]:
        return {"Id": number, "Info": {"Label": str(number)}}

    stored: dict[str, Any] = {f"Global_{i}": region(i) for i in (10, 2, 0, 11, 1)}
    stored["2PerMPoint_10"] = {"0": region(40)}
    stored["2PerMPoint_9"] = {"10": region(32), "9": region(31)}
    found = regions.decode({"RoiMetadata_v1": stored})
    assert list(found) == [0, 1, 2, 10, 11, 31, 32, 40]
    assert [region.info.label for region in found.values()] == [str(number) for number in found]
    assert [region.position for region in found.values()] == [None] * 5 + [9, 9, 10]


def test_regions_of_positions_come_back() -> None:
    info = RoiInfo(RoiShapeType.Point, InterpType.StandardROI)
    given = [ROI(1, info, ""), ROI(2, info, "", position=1), ROI(3, info, "", position=1)]
    tree = clx_lite.decode(clx_lite.encode(regions.encode(given)), strip_prefix=True)
    assert list(regions.decode(tree).values()) == given


def test_regions_of_picked_positions() -> None:
    info = RoiInfo(RoiShapeType.Point, InterpType.StandardROI)
    regions_in_file = [ROI(i, info, "", position=p) for i, p in enumerate((None, 0, 1, 1, 3, 12))]
    stored = clx_lite.decode_items(clx_lite.encode(regions.encode(regions_in_file)))
    picked = clx_lite.encode(regions.pick_positions(stored, {1: 0, 12: 1}))
    found = regions.decode(clx_lite.decode(picked, strip_prefix=True))
    assert {number: roi.position for number, roi in found.items()} == {0: None, 2: 0, 3: 0, 5: 1}


def test_numbers_that_no_file_has_are_ignored() -> None:
    assert regions.decode({"Global_" + "1" * 5000: {"Id": 1}}) == {}


@given(
    trees(
        *("RoiMetadata_v1", "Global_0", "Global_", "2PerMPoint_1", "Id", "Info", "ShapeType"),
        *("AnimParams_0", "BoxShape", "SizeX", "ExtrudedShape", "BasePoints_0", "Label"),
    )
)
def test_any_tree_gives_regions(tree: dict[str, Any]) -> None:
    assert all(isinstance(roi, ROI) for roi in regions.decode(tree).values())
