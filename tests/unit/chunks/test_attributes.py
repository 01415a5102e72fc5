"""Image attributes and text information."""

from __future__ import annotations

from typing import Any

import pytest

from nd2._core.chunks import attributes
from nd2._core.format import clx_lite, clx_xml
from nd2.structures import Attributes

STORED: dict[str, Any] = {
    "uiWidth": 33,
    "uiWidthBytes": 68,
    "uiHeight": 24,
    "uiComp": 1,
    "uiBpcInMemory": 16,
    "uiBpcSignificant": 12,
    "uiSequenceCount": 5,
    "uiTileWidth": 33,
    "uiTileHeight": 24,
    "eCompression": 2,
    "dCompressionParam": -1.0,
    "ePixelType": 1,
    "uiVirtualComponents": 1,
}


def parse(plane_count: int | None = 1, **changes: Any) -> Attributes:
    return attributes.decode({"SLxImageAttributes": {**STORED, **changes}}, plane_count=plane_count, max_components=300)


@pytest.mark.parametrize(("stored", "bits"), [(12, 12), (16, 16), (0, 16), (-1, 16), (17, 16)])
def test_significant_bits_are_no_more_than_there_are(stored: int, bits: int) -> None:
    assert parse(uiBpcSignificant=stored).bitsPerComponentSignificant == bits


def test_both_forms_parse_alike() -> None:
    expected = Attributes(16, 12, 1, 24, "unsigned", 5, 68, 33, None, None, None, None, 1)
    binary = clx_lite.decode(clx_lite.encode({"SLxImageAttributes": STORED}))
    xml = clx_xml.decode(clx_xml.encode(clx_lite.Items([("", STORED)])))
    assert attributes.decode(binary, plane_count=1, max_components=300) == expected
    assert attributes.decode(xml, plane_count=1, max_components=300) == expected


@pytest.mark.parametrize(
    ("stored", "kind", "level"), [(0, "lossless", 1.5), (1, "lossy", 1.5), (2, None, None), (7, None, None)]
)
def test_compression(stored: int, kind: str | None, level: float | None) -> None:
    parsed = parse(eCompression=stored, dCompressionParam=1.5)
    assert (parsed.compressionType, parsed.compressionLevel) == (kind, level)


def test_32_bits_are_floating_point_whatever_the_pixel_type() -> None:
    assert parse(uiBpcInMemory=32, ePixelType=1).pixelDataType == "float"
    assert parse(uiBpcInMemory=16, ePixelType=0).pixelDataType == "unsigned"


def test_tiles_are_given_only_where_they_differ_from_the_image() -> None:
    assert parse(uiTileWidth=0, uiTileHeight=0)[10:12] == (None, None)
    assert parse(uiTileWidth=16, uiTileHeight=24)[10:12] == (24, 16)


@pytest.mark.parametrize(
    ("components", "planes", "channels"),
    [(3, None, 1), (1, None, 1), (2, None, 2), (4, 4, 4), (6, 2, 2), (2, 4_000_000_000, 2), (3, 0, 1)],
)
def test_number_of_channels(components: int, planes: int | None, channels: int) -> None:
    assert parse(planes, uiComp=components).channelCount == channels


def test_what_may_be_missing() -> None:
    kept = {key: STORED[key] for key in ("uiWidth", "uiHeight", "uiComp", "uiBpcInMemory")}
    parsed = attributes.decode(kept, plane_count=None, max_components=300)
    assert parsed == Attributes(16, 16, 1, 24, "unsigned", 0, 0, 33, channelCount=1)


@pytest.mark.parametrize("key", ["uiWidth", "uiHeight", "uiComp", "uiBpcInMemory"])
@pytest.mark.parametrize("value", [0, -1, None, "x", {}])
def test_an_image_without_extent_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match="image attributes"):
        parse(**{key: value})


def test_absurd_numbers_of_components_are_refused() -> None:
    with pytest.raises(ValueError, match="4294967295 components"):
        parse(uiComp=4294967295)
