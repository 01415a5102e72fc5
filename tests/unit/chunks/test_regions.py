"""Regions of interest: their order."""

from __future__ import annotations

from typing import Any

from nd2._core.chunks import regions


def test_regions_are_in_the_order_of_their_numbers_the_global_ones_first() -> None:
    def region(number: int) -> dict[str, Any]:
        return {"Id": number, "Info": {"Label": str(number)}}

    stored: dict[str, Any] = {f"Global_{i}": region(i) for i in (10, 2, 0, 11, 1)}
    stored["2PerMPoint_10"] = {"0": region(40)}
    stored["2PerMPoint_9"] = {"10": region(32), "9": region(31)}
    found = regions.parse({"RoiMetadata_v1": stored})
    assert list(found) == [0, 1, 2, 10, 11, 31, 32, 40]
    assert [region.info.label for region in found.values()] == [str(number) for number in found]
