"""The tree of the picture metadata: channels with their optics, calibration, stage and time of the first frame."""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose, nextafter
from typing import TYPE_CHECKING

from nd2._core.chunks.modality import MASKS
from nd2._core.chunks.picture_metadata import FOUR_DOUBLES, TIME_AXIS
from nd2._core.chunks.spectrum import COLOR_NM, PEAK
from nd2._core.format.clx_lite import I32, U32, U64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nd2._core.structures import Channel, Color
    from nd2._core.write.trees import Tree


@dataclass(frozen=True, slots=True)
class FirstFrame:
    """What the picture metadata say of the first frame.

    Attributes
    ----------
    time_ms : float
        Its time on the clock of the acquisition.
    julian_day : float
        When it was taken: Julian day number, UTC; 0 where that is not known.
    stage : tuple of float
        Position of the stage, x, y, z in micrometers.
    """

    time_ms: float = 0.0
    julian_day: float = 0.0
    stage: tuple[float, float, float] = (0.0, 0.0, 0.0)


def tree(channels: Sequence[Channel], first: FirstFrame) -> Tree:
    """Return the tree of the picture metadata.

    What a file keeps once for all channels (calibration, objective, axes) is that of the first channel.
    """
    volume, optics = channels[0].volume, channels[0].microscope
    calibrated, pixel = volume.axesCalibrated[0], float(volume.axesCalibration[0])
    rotation, orientation = _rotation(channels[0], pixel)
    x_axis, y_axis, _ = volume.axesInterpretation
    components = sum(channel.volume.componentCount for channel in channels)
    content = {
        "dTimeAbsolute": float(first.julian_day),
        "dTimeMSec": float(first.time_ms),
        "eTimeSource": I32(0),
        "dXPos": float(first.stage[0]),
        "dYPos": float(first.stage[1]),
        "uiRow": U32(0),
        "uiCol": U32(0),
        "dZPos": float(first.stage[2]),
        "bZPosAbsolute": False,
        "dAngle": 0.0,
        "sPicturePlanes": {
            "uiCount": U32(len(channels)),
            "uiCompCount": U32(components),
            "sPlaneNew": {f"a{i}": _plane(channel, i) for i, channel in enumerate(channels)},
            "uiSampleCount": U32(len(channels)),
            "sSampleSetting": {
                f"a{k}": _sample(channel, rotation, orientation)
                for k, channel in enumerate(channels)
            },
            "sDescription": "",
            "eRepresentation": U32(0),
        },
        "dTemperK": -1.0,
        "dCalibration": pixel if calibrated or pixel != 1.0 else 0.0,
        "dAspect": 1.0,
        "bCalibrated": bool(calibrated),
        "wsObjectiveName": optics.objectiveName or "",
        "dObjectiveMag": _or_unknown(optics.objectiveMagnification),
        "dObjectiveNA": _or_unknown(optics.objectiveNumericalAperture),
        "dRefractIndex1": _or_unknown(optics.immersionRefractiveIndex),
        "dRefractIndex2": -1.0,
        "dZoom": _or_unknown(optics.zoomMagnification),
        "dProjectiveMag": _or_unknown(optics.projectiveMagnification),
        "uiPhysicalVarCount": U32(0),
        "pPhysicalVar": [],
        "wsCustomData": "",
        "ePictureXAxis": I32(TIME_AXIS if x_axis == "time" else 0),
        "ePictureYAxis": I32(TIME_AXIS if y_axis == "time" else 1),
        "dTimeAxisCalibration": -1.0,
        "dZAxisCalibration": -1.0,
        "dStgLgCT11": rotation[0],
        "dStgLgCT12": rotation[1],
        "dStgLgCT21": rotation[2],
        "dStgLgCT22": rotation[3],
    }
    return {"SLxPictureMetadata": content}


def _or_unknown(value: float | None) -> float:
    return -1.0 if value is None else float(value)


# --- channels ------------------------------------------------------------------------------------------------------


def _plane(channel: Channel, index: int) -> Tree:
    meta, optics = channel.channel, channel.microscope
    emission, excitation = meta.emissionLambdaNm, meta.excitationLambdaNm
    if channel.volume.componentCount == 3 and index < len(COLOR_NM):
        # Readers know the wavelengths of a colour camera by themselves.
        emission = None
        excitation = None if excitation == COLOR_NM[index] else excitation
    mask = sum(MASKS[flag] for flag in optics.modalityFlags)
    return {
        "uiCompCount": U32(channel.volume.componentCount),
        "uiSampleIndex": U32(index),
        "uiModalityMask": U64(mask),
        # nd2 0.12.0 needs at least one key in the probe.
        "pFluorescentProbe": {
            "m_sName": "",
            "m_uiColor": U32(0xFFFFFF),
            "m_ExcitationSpectrum": _spectrum(excitation),
            "m_EmissionSpectrum": _spectrum(emission),
        },
        "pFilterPath": {"m_sDescr": "", "m_uiCount": U32(0), "m_pFilter": []},
        "dLampVoltage": 0.0,
        "dFadingCorr": 0.0,
        "uiColor": U32(_color(meta.color)),
        "sDescription": meta.name,
        "dAcqTime": 0.0,
        "dPinholeDiameter": _or_unknown(optics.pinholeDiameterUm),
        "iChannelSeriesIndex": I32(-1),
        "dObjCalibration1to1": 0.0,
        "sizeObjFullChip.cx": I32(0),
        "sizeObjFullChip.cy": I32(0),
    }


def _spectrum(wavelength: float | None) -> Tree:
    points: Tree = {}
    if wavelength is not None:
        points["Point0"] = {
            "eType": U32(PEAK),
            "dWavelength": float(wavelength),
            "dTValue": 1.0,
        }
    return {"uiCount": U32(len(points)), "pPoint": points, "bPoints": False}


def _color(color: Color) -> int:
    """Return the colour as 0xAABBGGRR; full opacity is stored as 0, as NIS-Elements does."""
    alpha = 0 if color.a >= 1 else max(round(color.a * 255), 1)
    return alpha << 24 | color.b << 16 | color.g << 8 | color.r


# --- from pixels to the stage --------------------------------------------------------------------------------------

_Matrix = tuple[float, float, float, float]


def _rotation(channel: Channel, pixel: float) -> tuple[_Matrix, tuple[int, int]]:
    """Return the rotation from camera to stage, and the orientation of the stage's axes.

    The matrix from pixels to the stage is their product with the pixel size; without one, the camera's matrix is all.
    """
    camera = tuple(float(value) for value in channel.volume.cameraTransformationMatrix)
    to_stage = channel.volume.pixelToStageTransformationMatrix
    m11, m12, m21, m22 = camera
    if to_stage is None:
        return (m11, m12, m21, m22), (1, 1)
    rows = (to_stage[:2], to_stage[3:5])
    orientation = tuple(
        _sign(row, known) for row, known in zip(rows, (camera[:2], camera[2:]), strict=True)
    )
    (m11, m12), (m21, m22) = (
        [_factor(value, sign * pixel) for value in row]
        for row, sign in zip(rows, orientation, strict=True)
    )
    return (m11, m12, m21, m22), (orientation[0], orientation[1])


def _sign(row: Sequence[float], camera: Sequence[float]) -> int:
    """Return the orientation for which a row of the matrix agrees with the camera's, or has a positive main value."""
    main = max(range(2), key=lambda k: abs(row[k]))
    reference = camera[main] or 1.0
    return 1 if row[main] * reference >= 0 else -1


def _factor(product: float, pixel: float) -> float:
    """Return what gives exactly the product when it is multiplied by the pixel size, where there is such a number."""
    value = product / pixel
    for candidate in (value, nextafter(value, 1e300), nextafter(value, -1e300)):
        if candidate * pixel == product:
            return candidate
    return value


def _sample(channel: Channel, rotation: _Matrix, orientation: tuple[int, int]) -> Tree:
    volume = channel.volume
    to_stage = volume.pixelToStageTransformationMatrix
    sample: Tree = {
        "pDeviceSetting": {
            "m_iXYUse0": I32(to_stage is not None),
            "m_iXOrientation0": I32(orientation[0]),
            "m_iYOrientation0": I32(orientation[1]),
        },
        "uiOpticalConfigs": U32(0),
        "sOpticalConfigs": [],
        "sSpecSettings": "",
        "dExposureTime": 0.0,
        "uiModeFQ": U32(0),
    }
    camera = tuple(float(value) for value in volume.cameraTransformationMatrix)
    if camera != rotation:
        sample["matCameraToStage"] = {
            "Columns": U32(2),
            "Rows": U32(2),
            "Data": FOUR_DOUBLES.pack(*camera),
        }
    return sample


def one_pixel_size(x: float, y: float) -> float:
    """Return the size of a pixel, of which a file holds one.

    Raises
    ------
    ValueError
        If pixels are not square.
    """
    if not isclose(x, y, rel_tol=1e-6):
        raise ValueError(
            f"pixels of {x} x {y} micrometers: an ND2 file holds square pixels; resample the image"
        )
    return float(x)
