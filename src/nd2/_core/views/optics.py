"""What the picture metadata say of cameras, exposure and microscope, which no public structure holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nd2._core.format import names

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
    known = (unstructured.get(names.text(name)) for name in names.PICTURE)
    tree = next((tree for tree in known if tree is not None), None)
    picture = _level(_level({"": tree}, ""), "SLxPictureMetadata") or _level({"": tree}, "")
    planes = _level(picture, "PicturePlanes")
    samples = list(_level(planes, "SampleSetting").values())
    # The old form has the camera's settings in each plane instead.
    listed = list((_level(planes, "PlaneNew") or _level(planes, "Plane")).values())
    found = []
    for index in range(channels):
        plane = listed[index] if index < len(listed) and isinstance(listed[index], dict) else {}
        sample = _sample(samples, plane.get("SampleIndex"), index)
        found.append(_capture(sample, plane))
    return found


def _capture(sample: Mapping[str, Any], plane: Mapping[str, Any]) -> Capture:
    camera, old = _level(sample, "CameraSetting"), _level(plane, "CameraSetting")
    model = camera.get("CameraFamilyName") or camera.get("CameraUserName") or old.get("CameraName")
    serial = camera.get("CameraUniqueName")
    exposure = sample.get("ExposureTime", old.get("Exposure"))
    return Capture(
        Camera(str(model or ""), str(serial or "")) if model or serial else None,
        float(exposure) if isinstance(exposure, int | float) and exposure > 0 else None,
        str(_level(sample, "DeviceSetting").get("MicroscopeFullName") or "") or None,
    )


def _sample(samples: list[Any], stated: Any, channel: int) -> dict[str, Any]:
    """Return the settings of a channel: those it points to; else those of its own number, or the only ones."""
    for index in (stated, channel, 0 if len(samples) == 1 else None):
        if isinstance(index, int) and 0 <= index < len(samples):
            return samples[index] if isinstance(samples[index], dict) else {}
    return {}


def _level(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = tree.get(name)
    return value if isinstance(value, dict) else {}
