"""Devices of each channel, from the picture metadata: modality, wavelengths, camera, exposure, microscope."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nd2._core.chunks import fields
from nd2._core.format.clx_lite import U32, without_prefix
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nd2._core.structures import ModalityFlags

_FLUORESCENCE, _BRIGHTFIELD = 0x1, 0x2

# In the order of `Microscope.modalityFlags`.
MASKS: dict[ModalityFlags, int] = {
    "fluorescence": _FLUORESCENCE,
    "brightfield": _BRIGHTFIELD,
    "phaseContrast": 0x10,
    "diContrast": 0x20,
    "camera": 0x100,
    "laserScanConfocal": 0x200,
    "spinningDiskConfocal": 0x400,
    "sweptFieldConfocalSlit": 0x800,
    "sweptFieldConfocalPinhole": 0x1000,
    "dsdConfocal": 0x2000,
    "SIM": 0x4000,
    "iSIM": 0x8000,
    "RCM": 0x40,
    "VCS": 0x80,
    "sora": 0x40000000,
    "liveSR": 0x40000,
    "multiphoton": 0x10000,
    "TIRF": 0x20000,
    "pmt": 0x100000,
    "spectral": 0x200000,
    "vaasIF": 0x400000,
    "vaasNF": 0x800000,
    "transmitDetector": 0x1000000,
    "nonDescannedDetector": 0x2000000,
    "virtualFilter": 0x4000000,
    "gaasp": 0x8000000,
    "remainder": 0x10000000,
    "aux": 0x20000000,
}

# Modality codes of older files.
_CODES: dict[int, tuple[ModalityFlags, ...]] = {
    0: ("fluorescence", "camera"),
    1: ("brightfield", "camera"),
    2: ("fluorescence", "laserScanConfocal"),
    3: ("fluorescence", "spinningDiskConfocal"),
    4: ("fluorescence", "sweptFieldConfocalSlit"),
    5: ("fluorescence", "multiphoton", "laserScanConfocal"),
    6: ("brightfield", "phaseContrast"),
    7: ("brightfield", "diContrast"),
    8: ("fluorescence", "spectral", "laserScanConfocal"),
    9: ("fluorescence", "vaasNF", "laserScanConfocal"),
    10: ("fluorescence", "vaasIF", "laserScanConfocal"),
    11: ("fluorescence", "vaasNF", "laserScanConfocal"),
    12: ("dsdConfocal",),
}

_COLOR_NM = (420.0, 515.0, 590.0)
"""Wavelengths that Nikon's reader returns for a color camera: blue, green, red, as stored."""
_PEAK = 4

# The software writes the settings of a camera as lines of text, such as "Binning: 2x2".
_LINE = r"(?m)^[ \t]*%s[ \t\r]*$"
_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_BINNING = _LINE % r"Binning:[ \t]*(\d{1,9})(?:\.0)?[ \t]*x[ \t]*(\d{1,9})(?:\.0)?"
_GAIN = _LINE % rf"Gain:[ \t]*{_NUMBER}[ \t]*x?"
_READOUT = _LINE % rf"Readout Speed:[ \t]*{_NUMBER}[ \t]*MHz"
_MAX_TEXT = 1 << 16

DEVICE_SETTINGS = ("m_sMicroscopeFullName", "m_iXYUse0", "m_iXOrientation0", "m_iYOrientation0")
"""The values of ``pDeviceSetting`` that are used; it has some 150, most of the values of a file."""


def picture_root(raw: fields.Tree | None) -> fields.Tree:
    """Return the content of the root level of the picture metadata."""
    return fields.root(raw or {}, "SLxPictureMetadata")


def planes_and_samples(raw_picture: fields.Tree | None) -> tuple[list[fields.Tree], list[fields.Tree]]:
    """Return the planes, from the new form or else the old one, and the settings of samples."""
    level = fields.level(picture_root(raw_picture), "sPicturePlanes")
    planes = fields.levels(level.get("sPlaneNew")) or fields.levels(level.get("sPlane"))
    return planes, fields.levels(level.get("sSampleSetting"))


def modality(plane: fields.Tree) -> list[ModalityFlags]:
    """Return the modality flags of a plane.

    If the mask has neither fluorescence nor bright field, color planes are bright field and others
    fluorescence.
    """
    if "uiModalityMask" in plane:
        mask = fields.integer(plane, "uiModalityMask")
    else:
        mask = modality_mask(_CODES.get(fields.integer(plane, "eModality"), _CODES[0]))
    if not mask & (_FLUORESCENCE | _BRIGHTFIELD):
        return ["brightfield" if fields.integer(plane, "uiCompCount", 1) == 3 else "fluorescence"]
    return [name for name, bit in MASKS.items() if mask & bit]


def modality_mask(flags: Iterable[ModalityFlags]) -> int:
    """Return the mask of some flags."""
    return sum(MASKS[flag] for flag in flags)


def wavelengths(plane: fields.Tree, index: int) -> tuple[float | None, float | None]:
    """Return the wavelengths of emission and excitation in nanometers; None where unknown."""
    is_color = fields.integer(plane, "uiCompCount", 1) == 3
    color = _COLOR_NM[index] if is_color and index < len(_COLOR_NM) else None
    probe = fields.level(plane, "pFluorescentProbe")
    filters = fields.levels(fields.level(plane, "pFilterPath").get("m_pFilter"))
    first = filters[0] if filters else {}
    emission = color or _maximum(_points(probe, "m_EmissionSpectrum")) or _maximum(_points(first, "m_EmissionSpectrum"))
    excitation = (
        _maximum(_points(probe, "m_ExcitationSpectrum"))
        or _peak(_points(first, "m_ExcitationSpectrum"), index)
        or color
    )
    return emission or None, excitation or None


def _points(owner: fields.Tree, key: str) -> list[fields.Tree]:
    return fields.levels(fields.level(owner, key).get("pPoint"))


def _wavelength(point: fields.Tree) -> float:
    return fields.real(point, "dWavelength") or fields.real(point, "uiWavelength")


def _maximum(points: list[fields.Tree]) -> float:
    """Return the wavelength of the first highest point of a spectrum; 0 without points."""
    return _wavelength(max(points, key=lambda point: fields.real(point, "dTValue"), default={}))


def _peak(points: list[fields.Tree], index: int) -> float:
    """Return the wavelength of a plane's own peak, or the maximum of a spectrum without peaks."""
    if len(points) > 1 and all(fields.integer(point, "eType") == _PEAK for point in points):
        return _wavelength(points[index]) if index < len(points) else 0.0
    return _maximum(points)


def probe(emission: float | None, excitation: float | None, *, samples: int, index: int) -> dict[str, Any]:
    """Return the tree of the probe of a plane, from which `wavelengths` reads them back."""
    if samples == 3 and index < len(_COLOR_NM):
        # Readers know the wavelengths of a color camera.
        emission = None
        excitation = None if excitation == _COLOR_NM[index] else excitation
    # nd2 0.12.0 needs at least one key in the probe.
    return {
        "m_sName": "",
        "m_uiColor": U32(0xFFFFFF),
        "m_ExcitationSpectrum": _spectrum(excitation),
        "m_EmissionSpectrum": _spectrum(emission),
    }


def _spectrum(wavelength: float | None) -> dict[str, Any]:
    points = {}
    if wavelength is not None:
        points["Point0"] = {"eType": U32(_PEAK), "dWavelength": float(wavelength), "dTValue": 1.0}
    return {"uiCount": U32(len(points)), "pPoint": points, "bPoints": False}


@record
class Camera:
    """Model and serial number of a camera or detector."""

    model: str
    serial: str


@record
class Capture:
    """Capture settings of one channel, each None if unknown."""

    camera: Camera | None = None
    exposure_ms: float | None = None
    microscope: str | None = None
    binning: tuple[int, int] | None = None
    """Pixels of the camera in one pixel of the image, x and y."""
    gain: float | None = None
    readout_mhz: float | None = None


def decode_captures(raw_picture: fields.Tree | None, channels: int) -> list[Capture]:
    """Return how each channel was captured, from the decoded picture metadata."""
    planes, stored = planes_and_samples(raw_picture)
    # Many channels may share a sample, so the text of each is searched once.
    samples = [(sample, _settings(sample)) for sample in stored]
    captures = []
    for channel in range(channels):
        plane = planes[channel] if channel < len(planes) else {}
        # The sample that a channel points to; else that of its number, or the only one.
        places = (plane.get("uiSampleIndex"), channel, 0 if len(samples) == 1 else None)
        pointed = (samples[i] for i in places if isinstance(i, int) and 0 <= i < len(samples))
        sample, (binning, gain, readout) = next(pointed, ({}, (None, None, None)))
        # The old form has the camera's settings in each plane.
        camera, old = _camera(sample), _camera(plane)
        model = camera.get("CameraFamilyName") or camera.get("CameraUserName") or old.get("CameraName")
        serial = camera.get("CameraUniqueName")
        captures.append(
            Capture(
                Camera(str(model or ""), str(serial or "")) if model or serial else None,
                fields.positive(sample, "dExposureTime") or fields.positive(old, "Exposure"),
                fields.text(fields.level(sample, "pDeviceSetting"), "m_sMicroscopeFullName") or None,
                (int(binning[1]), int(binning[2])) if binning else None,
                float(gain[1]) if gain else None,
                float(readout[1]) if readout else None,
            )
        )
    return captures


def _settings(sample: fields.Tree) -> tuple[re.Match[str] | None, ...]:
    text = fields.text(sample, "sSpecSettings")[:_MAX_TEXT]
    return tuple(re.search(pattern, text) for pattern in (_BINNING, _GAIN, _READOUT))


def _camera(tree: fields.Tree) -> dict[str, Any]:
    level = fields.level(tree, "pCameraSetting") or fields.level(tree, "sCameraSetting")
    return {without_prefix(name): value for name, value in level.items()}
