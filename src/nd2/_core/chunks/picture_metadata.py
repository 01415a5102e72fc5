"""Picture metadata: ``SLxPictureMetadata``, the channels with their optics, and the first frame."""

from __future__ import annotations

import re
from dataclasses import replace
from math import inf, nextafter
from struct import Struct
from typing import TYPE_CHECKING, Any, TypeAlias

from nd2._core import structures as s
from nd2._core.chunks import fields, optics
from nd2._core.format.clx_lite import I32, U32, U64
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = (b"ImageMetadataSeqLV|0!", b"ImageMetadataSeq|0!")
CALIBRATION_NAMES = (b"ImageCalibrationLV|0!", b"ImageCalibration|0!")
"""A copy of pixel size and objective, where some readers look for them."""

UNIX_EPOCH = 2440587.5
"""Julian day number of 1970-01-01, 0 h UTC."""
DAY_MS = 86_400_000.0
"""Milliseconds of a day."""

_WHITE = 0xFFFFFF
_TIME_AXIS = 2
_MAGNIFICATION = re.compile(r"(?<!\d)(\d{1,6})\s?x", re.IGNORECASE)
_FOUR_DOUBLES = Struct("<4d")

_Matrix: TypeAlias = tuple[float, float, float, float]
"""A two by two matrix, row by row."""

_Affine: TypeAlias = tuple[float, float, float, float, float, float]
"""A two by three matrix, row by row."""


@record
class FirstFrame:
    """Time and place of the first frame."""

    time_ms: float = 0.0
    """Time on the clock of the acquisition."""
    julian_day: float = 0.0
    """Julian day number, UTC; 0 if unknown."""
    stage: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Position of the stage: x, y, z in micrometers."""


def plane_count(raw_picture: fields.Tree | None) -> int | None:
    """Return the number of channels in the picture metadata; None if they list none."""
    level = fields.level(optics.picture_root(raw_picture), "sPicturePlanes")
    return fields.integer(level, "uiCount") or len(optics.planes_and_samples(raw_picture)[0]) or None


def decode(
    raw_picture: fields.Tree | None, *, attributes: s.Attributes, experiment: list[s.ExpLoop], text_info: s.TextInfo
) -> s.Metadata:
    """Return the metadata that all frames share."""
    picture = optics.picture_root(raw_picture)
    count = attributes.channelCount or 1
    stored, samples = optics.planes_and_samples(raw_picture)
    stored = stored[:count]
    components = attributes.componentCount // count
    planes = [*stored, *(_unknown_plane(i, count, components) for i in range(len(stored), count))]
    indices = {loop.type: i for i, loop in enumerate(experiment)}
    loops = s.LoopIndices(**indices) if indices else None
    microscope = _microscope(picture, text_info)
    stack = next((loop for loop in reversed(experiment) if isinstance(loop, s.ZStackLoop)), None)
    to_stage: _Affine | None = None
    channels = []
    for i, plane in enumerate(planes):
        own = s.Microscope()
        if i < len(stored):
            pinhole = fields.positive(plane, "dPinholeDiameter") or microscope.pinholeDiameterUm
            own = replace(microscope, pinholeDiameterUm=pinhole, modalityFlags=optics.modality(plane))
        sample_index = fields.integer(plane, "uiSampleIndex")
        sample = samples[sample_index] if 0 <= sample_index < len(samples) else {}
        if "pDeviceSetting" in sample:
            to_stage = _pixel_to_stage(picture, sample, attributes)
        color = s.Color.from_abgr_u4(fields.integer(plane, "uiColor"))
        meta = s.ChannelMeta(fields.text(plane, "sDescription"), i, color, *optics.wavelengths(plane, i))
        volume = _volume(picture, plane, sample, attributes, stack, to_stage)
        channels.append(s.Channel(meta, loops, own, volume))
    return s.Metadata(s.Contents(len(channels), attributes.sequenceCount), channels)


def decode_first_frame(raw_picture: fields.Tree | None) -> FirstFrame:
    """Return time and place of the first frame."""
    picture = optics.picture_root(raw_picture)
    x, y, z = (fields.real(picture, key) for key in ("dXPos", "dYPos", "dZPos"))
    return FirstFrame(fields.real(picture, "dTimeMSec"), fields.real(picture, "dTimeAbsolute"), (x, y, z))


def voxel_size(metadata: s.Metadata) -> s.VoxelSize:
    """Return the voxel size of the first channel in micrometers; 1.0 if it is not calibrated."""
    channels = metadata.channels
    return s.VoxelSize(*channels[0].volume.axesCalibration) if channels else s.VoxelSize(1.0, 1.0, 1.0)


def _unknown_plane(index: int, count: int, components: int) -> fields.Tree:
    name = f"Channel_{index + 1}" if count > 1 else "RGB" if components == 3 else "Mono"
    return {"sDescription": name, "uiColor": _WHITE, "uiCompCount": components}


def _microscope(picture: fields.Tree, text_info: s.TextInfo) -> s.Microscope:
    """Return the optics that all channels share."""
    radius = fields.positive(picture, "dPinholeRadius")
    return s.Microscope(
        objectiveMagnification=_magnification(picture, text_info),
        objectiveName=fields.text(picture, "wsObjectiveName") or None,
        objectiveNumericalAperture=fields.positive(picture, "dObjectiveNA"),
        zoomMagnification=fields.positive(picture, "dZoom"),
        immersionRefractiveIndex=fields.positive(picture, "dRefractIndex1")
        or fields.positive(picture, "dRefractIndex2"),
        projectiveMagnification=fields.positive(picture, "dProjectiveMag"),
        pinholeDiameterUm=2 * radius if radius else None,
    )


def _magnification(picture: fields.Tree, text_info: s.TextInfo) -> float | None:
    """Return the magnification; in real files, it is only in the name of the objective."""
    if stored := fields.positive(picture, "dObjectiveMag"):
        return stored
    for name in (text_info.get("optics", ""), fields.text(picture, "wsObjectiveName")):
        if match := _MAGNIFICATION.search(name):
            return float(match[1])
    return None


def _volume(
    picture: fields.Tree,
    plane: fields.Tree,
    sample: fields.Tree,
    attributes: s.Attributes,
    stack: s.ZStackLoop | None,
    to_stage: _Affine | None,
) -> s.Volume:
    calibrated = fields.flag(picture, "bCalibrated")
    pixel = fields.positive(picture, "dCalibration") or 1.0
    step = stack.parameters.stepUm if stack else 0.0
    axes: list[s.AxisInterpretation] = [
        "time" if fields.integer(picture, f"ePicture{axis}Axis") == _TIME_AXIS else "distance" for axis in "XY"
    ]
    components = min(fields.integer(plane, "uiCompCount", 1), attributes.componentCount)
    matrix = fields.level(sample, "matCameraToStage")
    return s.Volume(
        axesCalibrated=(calibrated, calibrated, step != 0),
        axesCalibration=(pixel, pixel, abs(step) or 1.0),
        axesInterpretation=(axes[0], axes[1], "distance"),
        bitsPerComponentInMemory=attributes.bitsPerComponentInMemory,
        bitsPerComponentSignificant=attributes.bitsPerComponentSignificant,
        cameraTransformationMatrix=_camera_matrix(matrix) or _stage_rotation(picture),
        componentCount=components,
        componentDataType="float" if attributes.bitsPerComponentSignificant == 32 else "unsigned",
        voxelCount=(attributes.widthPx or 0, attributes.heightPx, stack.count if stack else 1),
        componentMaxima=[0.0] * components,
        componentMinima=[0.0] * components,
        pixelToStageTransformationMatrix=to_stage,
    )


def _stage_rotation(picture: fields.Tree) -> _Matrix:
    return (
        fields.real(picture, "dStgLgCT11", 1.0),
        fields.real(picture, "dStgLgCT12"),
        fields.real(picture, "dStgLgCT21"),
        fields.real(picture, "dStgLgCT22", 1.0),
    )


def _camera_matrix(matrix: fields.Tree) -> _Matrix | None:
    """Return the two by two matrix that a byte array stores as four doubles."""
    data = matrix.get("Data")
    if fields.integer(matrix, "Columns") != 2 or fields.integer(matrix, "Rows") != 2:
        return None
    if not isinstance(data, (list, bytes, bytearray)) or len(data) != _FOUR_DOUBLES.size:
        return None
    m11, m12, m21, m22 = _FOUR_DOUBLES.unpack(bytes(data))
    return m11, m12, m21, m22


def _pixel_to_stage(picture: fields.Tree, sample: fields.Tree, attributes: s.Attributes) -> _Affine | None:
    """Return the affine matrix from pixels to micrometers relative to the stage position."""
    device = fields.level(sample, "pDeviceSetting")
    pixel = fields.positive(picture, "dCalibration")
    if not (device.get("m_iXYUse0") and picture.get("bCalibrated") and pixel):
        return None
    x, y = (fields.integer(device, f"m_i{axis}Orientation0", 1) * pixel for axis in "XY")
    m11, m12, m21, m22 = _stage_rotation(picture)
    width, height = attributes.widthPx or 0, attributes.heightPx
    return (
        x * m11,
        x * m12,
        -(x * m11 * width + x * m12 * height) / 2,
        y * m21,
        y * m22,
        -(y * m21 * width + y * m22 * height) / 2,
    )


def encode(
    channels: Sequence[s.Channel], first: FirstFrame, exposures_ms: Sequence[float | None] = ()
) -> dict[str, Any]:
    """Return the tree of the picture metadata; the first channel gives what all of them share."""
    exposures = exposures_ms or [None] * len(channels)
    volume, microscope = channels[0].volume, channels[0].microscope
    calibrated, pixel = volume.axesCalibrated[0], float(volume.axesCalibration[0])
    rotation, orientation = _stage_axes(volume)
    x_axis, y_axis, _ = volume.axesInterpretation
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
            "uiCompCount": U32(sum(channel.volume.componentCount for channel in channels)),
            "sPlaneNew": {f"a{i}": _plane_tree(channel, i) for i, channel in enumerate(channels)},
            "uiSampleCount": U32(len(channels)),
            "sSampleSetting": {
                f"a{i}": _sample_tree(channel.volume, rotation, orientation, exposure)
                for i, (channel, exposure) in enumerate(zip(channels, exposures, strict=True))
            },
            "sDescription": "",
            "eRepresentation": U32(0),
        },
        "dTemperK": -1.0,
        "dCalibration": pixel if calibrated or pixel != 1.0 else 0.0,
        "dAspect": 1.0,
        "bCalibrated": bool(calibrated),
        "wsObjectiveName": microscope.objectiveName or "",
        "dObjectiveMag": _number(microscope.objectiveMagnification),
        "dObjectiveNA": _number(microscope.objectiveNumericalAperture),
        "dRefractIndex1": _number(microscope.immersionRefractiveIndex),
        "dRefractIndex2": -1.0,
        "dZoom": _number(microscope.zoomMagnification),
        "dProjectiveMag": _number(microscope.projectiveMagnification),
        "uiPhysicalVarCount": U32(0),
        "pPhysicalVar": [],
        "wsCustomData": "",
        "ePictureXAxis": I32(_TIME_AXIS if x_axis == "time" else 0),
        "ePictureYAxis": I32(_TIME_AXIS if y_axis == "time" else 1),
        "dTimeAxisCalibration": -1.0,
        "dZAxisCalibration": -1.0,
        **{f"dStgLgCT{k}": float(m) for k, m in zip((11, 12, 21, 22), rotation, strict=True)},
    }
    return {"SLxPictureMetadata": content}


def _stage_axes(volume: s.Volume) -> tuple[_Matrix, tuple[int, int]]:
    """Return the rotation from camera to stage, and the orientation of the axes of the stage.

    Nikon's reader uses the rotation as the matrix of the camera. So the rotation has the signs of
    that matrix; where the matrix from pixels to the stage has others, the orientation is -1.
    """
    c11, c12, c21, c22 = map(float, volume.cameraTransformationMatrix)
    if volume.pixelToStageTransformationMatrix is None:
        return (c11, c12, c21, c22), (1, 1)
    pixel = float(volume.axesCalibration[0])
    affine = volume.pixelToStageTransformationMatrix
    m11, m12, m21, m22 = (_factor(affine[i], pixel) for i in (0, 1, 3, 4))
    x = -1 if m11 * c11 + m12 * c12 < 0 else 1
    y = -1 if m21 * c21 + m22 * c22 < 0 else 1
    return (x * m11, x * m12, y * m21, y * m22), (x, y)


def _factor(product: float, pixel: float) -> float:
    """Return the number whose product with the pixel size is exact, if there is one."""
    value = product / pixel
    candidates = (value, nextafter(value, inf), nextafter(value, -inf))
    return next((one for one in candidates if one * pixel == product), value)


def encode_calibration(channel: s.Channel) -> dict[str, Any]:
    """Return the tree of the calibration."""
    volume = channel.volume
    pixel = float(volume.axesCalibration[0]) if volume.axesCalibrated[0] else 0.0
    return {
        "SLxCalibration": {
            "dCalibration": pixel,
            "dAspect": 1.0,
            "bValid": pixel > 0,
            "sObjective": channel.microscope.objectiveName or "",
        }
    }


def _number(value: float | None) -> float:
    """Return a number as stored: -1 if it is unknown."""
    return -1.0 if value is None else float(value)


def _plane_tree(channel: s.Channel, index: int) -> dict[str, Any]:
    meta, microscope, samples = channel.channel, channel.microscope, channel.volume.componentCount
    probe = optics.probe(meta.emissionLambdaNm, meta.excitationLambdaNm, samples=samples, index=index)
    return {
        "uiCompCount": U32(samples),
        "uiSampleIndex": U32(index),
        "uiModalityMask": U64(optics.modality_mask(microscope.modalityFlags)),
        "pFluorescentProbe": probe,
        "pFilterPath": {"m_sDescr": "", "m_uiCount": U32(0), "m_pFilter": []},
        "dLampVoltage": 0.0,
        "dFadingCorr": 0.0,
        "uiColor": U32(_color_code(meta.color)),
        "sDescription": meta.name,
        "dAcqTime": 0.0,
        "dPinholeDiameter": _number(microscope.pinholeDiameterUm),
        "iChannelSeriesIndex": I32(-1),
        "dObjCalibration1to1": 0.0,
        "sizeObjFullChip.cx": I32(0),
        "sizeObjFullChip.cy": I32(0),
    }


def _color_code(color: s.Color) -> int:
    """Return a color as 0xAABBGGRR; full opacity is stored as 0, as NIS-Elements does."""
    alpha = 0 if color.a >= 1 else max(round(color.a * 255), 1)
    return alpha << 24 | color.b << 16 | color.g << 8 | color.r


def _sample_tree(
    volume: s.Volume, rotation: _Matrix, orientation: tuple[int, int], exposure_ms: float | None
) -> dict[str, Any]:
    sample: dict[str, Any] = {
        "pDeviceSetting": {
            "m_iXYUse0": I32(volume.pixelToStageTransformationMatrix is not None),
            "m_iXOrientation0": I32(orientation[0]),
            "m_iYOrientation0": I32(orientation[1]),
        },
        "uiOpticalConfigs": U32(0),
        "sOpticalConfigs": [],
        "sSpecSettings": "",
        "dExposureTime": float(exposure_ms or 0.0),
        "uiModeFQ": U32(0),
    }
    camera = tuple(map(float, volume.cameraTransformationMatrix))
    if camera != rotation:
        data = _FOUR_DOUBLES.pack(*camera)
        sample["matCameraToStage"] = {"Columns": U32(2), "Rows": U32(2), "Data": data}
    return sample
