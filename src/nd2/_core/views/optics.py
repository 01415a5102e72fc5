"""What the picture metadata say of cameras, exposure and microscope, which no public structure holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nd2._core.chunks import fields, picture_metadata
from nd2._core.format.chunks import display_name

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Camera:
    """Model and serial number of a camera or detector."""

    model: str
    serial: str


@dataclass(frozen=True, slots=True)
class Capture:
    """How one channel was captured; None where the file does not say."""

    camera: Camera | None
    exposure_ms: float | None
    microscope: str | None


def captures(unstructured: Mapping[str, Any], channels: int) -> list[Capture]:
    """Return how each channel was captured.

    Parameters
    ----------
    unstructured : mapping
        The decoded metadata chunks, names without prefixes.
    channels : int
        Number of channels.
    """
    known = (unstructured.get(display_name(name)) for name in picture_metadata.NAMES)
    tree = next((tree for tree in known if tree is not None), None)
    picture = fields.root(tree, "SLxPictureMetadata") if isinstance(tree, dict) else {}
    planes = fields.level(picture, "PicturePlanes")
    samples = fields.levels(planes.get("SampleSetting"))
    # The old form has the camera's settings in each plane instead.
    listed = fields.levels(planes.get("PlaneNew")) or fields.levels(planes.get("Plane"))
    found = []
    for index in range(channels):
        plane = listed[index] if index < len(listed) else {}
        sample = _sample(samples, plane.get("SampleIndex"), index)
        found.append(_capture(sample, plane))
    return found


def _capture(sample: Mapping[str, Any], plane: Mapping[str, Any]) -> Capture:
    camera, old = fields.level(sample, "CameraSetting"), fields.level(plane, "CameraSetting")
    model = camera.get("CameraFamilyName") or camera.get("CameraUserName") or old.get("CameraName")
    serial = camera.get("CameraUniqueName")
    exposure = sample.get("ExposureTime", old.get("Exposure"))
    return Capture(
        Camera(str(model or ""), str(serial or "")) if model or serial else None,
        float(exposure) if isinstance(exposure, int | float) and exposure > 0 else None,
        str(fields.level(sample, "DeviceSetting").get("MicroscopeFullName") or "") or None,
    )


def _sample(samples: list[fields.Tree], stated: Any, channel: int) -> fields.Tree:
    """Return the settings that a channel points to, else those of its number, else the only ones."""
    for index in (stated, channel, 0 if len(samples) == 1 else None):
        if isinstance(index, int) and 0 <= index < len(samples):
            return samples[index]
    return {}
