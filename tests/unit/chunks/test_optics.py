"""Camera, exposure and settings of each channel, from trees as files hold them."""

from __future__ import annotations

from typing import Any

import pytest

from nd2._core.chunks import optics


def setting(name: str, exposure: float, text: str = "") -> dict[str, Any]:
    return {
        "pCameraSetting": {"CameraFamilyName": name, "CameraUniqueName": f"{name} 1"},
        "pDeviceSetting": {"m_sMicroscopeFullName": "Ti2"},
        "dExposureTime": exposure,
        "sSpecSettings": text,
    }


def planes(**tree: Any) -> dict[str, Any]:
    return {"SLxPictureMetadata": {"sPicturePlanes": tree}}


def test_channels_point_to_their_settings() -> None:
    tree = planes(
        sPlaneNew={"0": {"uiSampleIndex": 1}, "1": {"uiSampleIndex": 0}, "2": {"uiSampleIndex": 9}},
        sSampleSetting={"0": setting("A", 20.0), "1": setting("B", -1.0), "2": setting("C", 5.0)},
    )
    captures = optics.decode_captures(tree, 3)
    assert [one.exposure_ms for one in captures] == [None, 20.0, 5.0]
    assert [one.camera and one.camera.model for one in captures] == ["B", "A", "C"]
    assert {one.microscope for one in captures} == {"Ti2"}


def test_the_old_form_keeps_the_camera_in_each_plane() -> None:
    old = {"0": {"pCameraSetting": {"sCameraName": "D", "dExposure": 7.0}}}
    [one] = optics.decode_captures({"sPicturePlanes": {"sPlane": old}}, 1)
    assert one.camera == optics.Camera("D", "")
    assert one.exposure_ms == 7.0


def test_nothing_is_known_without_metadata() -> None:
    assert optics.decode_captures(None, 2) == [optics.Capture()] * 2


def test_settings_of_the_camera_are_lines_of_text() -> None:
    text = "Exposure: 10 ms\r\nBinning: 2.0x2.0\r\nGain: 1.5x\r\nReadout Speed: 100.0MHz\r\n"
    [one] = optics.decode_captures(planes(sSampleSetting={"0": setting("A", 10.0, text)}), 1)
    assert (one.binning, one.gain, one.readout_mhz) == ((2, 2), 1.5, 100.0)
    [other] = optics.decode_captures(planes(sSampleSetting={"0": setting("A", 10.0, "Binning: full")}), 1)
    assert (other.binning, other.gain, other.readout_mhz) == (None, None, None)


@pytest.mark.parametrize("text", ["\n" * 65536, f"Binning: {'9' * 5000}x1\nGain: {'9' * 5000}"])
def test_hostile_settings_are_none_and_take_no_time(text: str) -> None:
    tree = planes(sSampleSetting={"0": setting("A", 10.0, text)})
    captures = optics.decode_captures(tree, 10_000)
    assert {(one.binning, one.gain) for one in captures} == {(None, None)}
