"""Cameras, exposure and microscope of each channel, from the picture metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nd2._core.chunks import fields
from nd2._core.format.clx_xml import without_prefix

if TYPE_CHECKING:
    from collections.abc import Sequence

# The software writes the settings of a camera as lines of text, such as "Binning: 2x2".
_BINNING = re.compile(r"^\s*Binning:\s*(\d+)(?:\.0)?\s*x\s*(\d+)(?:\.0)?\s*$", re.MULTILINE)
_GAIN = re.compile(r"^\s*Gain:\s*(\d+(?:\.\d+)?)\s*x?\s*$", re.MULTILINE)
_READOUT = re.compile(r"^\s*Readout Speed:\s*(\d+(?:\.\d+)?)\s*MHz\s*$", re.MULTILINE)
_MAX_TEXT = 1 << 16


@dataclass(frozen=True, slots=True)
class Camera:
    """Model and serial number of a camera or detector."""

    model: str
    serial: str


@dataclass(frozen=True, slots=True)
class Capture:
    """How one channel was captured; None where the file does not say.

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
    picture = fields.root(raw_picture or {}, "SLxPictureMetadata")
    planes = fields.level(picture, "sPicturePlanes")
    samples = fields.levels(planes.get("sSampleSetting"))
    # The old form has the camera's settings in each plane instead.
    stored = fields.levels(planes.get("sPlaneNew")) or fields.levels(planes.get("sPlane"))
    captures = []
    for index in range(channels):
        plane = stored[index] if index < len(stored) else {}
        captures.append(_capture(_sample(samples, plane.get("uiSampleIndex"), index), plane))
    return captures


def _capture(sample: fields.Tree, plane: fields.Tree) -> Capture:
    camera, old = _camera(sample), _camera(plane)
    model = camera.get("CameraFamilyName") or camera.get("CameraUserName") or old.get("CameraName")
    serial = camera.get("CameraUniqueName")
    settings = fields.text(sample, "sSpecSettings")[:_MAX_TEXT]
    binning, gain, readout = (pattern.search(settings) for pattern in (_BINNING, _GAIN, _READOUT))
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


def _sample(samples: Sequence[fields.Tree], index: Any, channel: int) -> fields.Tree:
    """Return the settings that a channel points to; else those of its number, or the only ones."""
    for candidate in (index, channel, 0 if len(samples) == 1 else None):
        if isinstance(candidate, int) and 0 <= candidate < len(samples):
            return samples[candidate]
    return {}
