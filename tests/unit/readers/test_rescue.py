"""The size of frames whose attributes are lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nd2._core.format.pixels import padded_row_bytes
from nd2._core.readers import rescue

if TYPE_CHECKING:
    from nd2.structures import Attributes


def guess(nbytes: int, picture: dict[str, Any] | None = None) -> tuple[Attributes, bool]:
    return rescue.guess_geometry(picture, nbytes, compressed=False)


@pytest.mark.parametrize(("width", "bits"), [(5, 8), (7, 16), (13, 16), (16, 16), (511, 16), (512, 16)])
def test_a_square_image_is_found_though_its_rows_are_padded(width: int, bits: int) -> None:
    found, known = guess(width * padded_row_bytes(width, 1, bits // 8))
    assert not known
    assert (found.widthPx, found.heightPx) == (width, width)
    assert found.bitsPerComponentInMemory == bits


def test_what_is_not_a_square_is_one_row() -> None:
    found, known = guess(2 * 35)
    assert (found.widthPx, found.heightPx, found.widthBytes, known) == (35, 1, 70, False)
    found, _ = guess(35)
    assert (found.widthPx, found.bitsPerComponentInMemory) == (35, 8)


def test_the_camera_knows_better() -> None:
    size = {"cx": 30, "cy": 20}
    camera = {"FormatQuality": {"fmtDesc": {"sizeSensorPixels": size}}}
    setting = {"i0000000000": {"pCameraSetting": camera}, "i0000000001": {}}
    picture = {"sPicturePlanes": {"uiCompCount": 1, "sSampleSetting": setting}}
    found, known = guess(30 * 2 * 20, picture)
    assert (found.widthPx, found.heightPx, known) == (30, 20, True)
    _, known = guess(30 * 2 * 20 + 4, picture)
    assert not known


@pytest.mark.parametrize("components", [-1, 0, 2 * 6 * 6 + 1, 1 << 24])
def test_a_frame_has_a_byte_for_each_component(components: int) -> None:
    found, _ = guess(2 * 6 * 6, {"sPicturePlanes": {"uiCompCount": components}})
    assert (found.componentCount, found.channelCount, found.widthPx, found.heightPx) == (1, 1, 6, 6)


def test_a_large_frame_does_not_have_millions_of_channels() -> None:
    found, _ = guess(1 << 24, {"sPicturePlanes": {"uiCompCount": 1 << 24}})
    assert (found.componentCount, found.channelCount) == (1, 1)
