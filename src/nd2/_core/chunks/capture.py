"""Cameras, exposure and microscope of each channel, from the picture metadata."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from nd2._core.chunks import fields, picture_metadata
from nd2._core.format.clx_lite import without_prefix
from nd2._core.values import record


def _line(pattern: str) -> str:
    return rf"(?m)^[ \t]*{pattern}[ \t\r]*$"


# The software writes the settings of a camera as lines of text, such as "Binning: 2x2".
_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_BINNING = _line(r"Binning:[ \t]*(\d{1,9})(?:\.0)?[ \t]*x[ \t]*(\d{1,9})(?:\.0)?")
_GAIN = _line(rf"Gain:[ \t]*{_NUMBER}[ \t]*x?")
_READOUT = _line(rf"Readout Speed:[ \t]*{_NUMBER}[ \t]*MHz")
_MAX_TEXT = 1 << 16
_Settings: TypeAlias = "tuple[re.Match[str] | None, ...]"


@record
class Camera:
    """Model and serial number of a camera or detector."""

    model: str
    serial: str


@record
class Capture:
    """Settings with which one channel was captured; unknown values are None.

    Attributes
    ----------
    exposure_ms : float or None
        Exposure time in milliseconds.
    binning : tuple of (int, int) or None
        Pixels of the camera in one pixel of the image, x and y.
    """

    camera: Camera | None = None
    exposure_ms: float | None = None
    microscope: str | None = None
    binning: tuple[int, int] | None = None
    gain: float | None = None
    readout_mhz: float | None = None


def decode(raw_picture: fields.Tree | None, channels: int) -> list[Capture]:
    """Return how each channel was captured, from the decoded picture metadata."""
    planes, stored = picture_metadata.planes_and_samples(raw_picture)
    # Many channels may share a sample, so the text of each is searched once.
    samples = [(sample, _settings(sample)) for sample in stored]
    captures = []
    for channel in range(channels):
        plane = planes[channel] if channel < len(planes) else {}
        sample, settings = _sample(samples, plane.get("uiSampleIndex"), channel)
        captures.append(_capture(sample, settings, plane))
    return captures


def _settings(sample: fields.Tree) -> _Settings:
    text = fields.text(sample, "sSpecSettings")[:_MAX_TEXT]
    return tuple(re.search(pattern, text) for pattern in (_BINNING, _GAIN, _READOUT))


def _capture(sample: fields.Tree, settings: _Settings, plane: fields.Tree) -> Capture:
    # The old form has the camera's settings in each plane.
    camera, old = _camera(sample), _camera(plane)
    model = camera.get("CameraFamilyName") or camera.get("CameraUserName") or old.get("CameraName")
    serial = camera.get("CameraUniqueName")
    binning, gain, readout = settings
    return Capture(
        Camera(str(model or ""), str(serial or "")) if model or serial else None,
        fields.positive(sample, "dExposureTime") or fields.positive(old, "Exposure"),
        fields.text(fields.level(sample, "pDeviceSetting"), "m_sMicroscopeFullName") or None,
        (int(binning[1]), int(binning[2])) if binning else None,
        float(gain[1]) if gain else None,
        float(readout[1]) if readout else None,
    )


def _camera(tree: fields.Tree) -> dict[str, Any]:
    level = fields.level(tree, "pCameraSetting") or fields.level(tree, "sCameraSetting")
    return {without_prefix(name): value for name, value in level.items()}


def _sample(samples: list[tuple[fields.Tree, _Settings]], index: Any, channel: int) -> tuple[fields.Tree, _Settings]:
    """Return the sample that a channel points to; else that of its number, or the only one."""
    for candidate in (index, channel, 0 if len(samples) == 1 else None):
        if isinstance(candidate, int) and 0 <= candidate < len(samples):
            return samples[candidate]
    return {}, (None, None, None)
