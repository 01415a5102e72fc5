"""Picture metadata: from the ``ImageMetadataSeq`` tree to `Metadata` with its channels, and the size of a voxel."""

from __future__ import annotations

import re
from struct import Struct
from typing import TYPE_CHECKING, TypeAlias

from nd2._core.chunks import fields, modality, spectrum
from nd2._core.structures import (
    Channel,
    ChannelMeta,
    Color,
    Contents,
    LoopIndices,
    Metadata,
    Microscope,
    Volume,
    VoxelSize,
    ZStackLoop,
)

if TYPE_CHECKING:
    from nd2._core.structures import Attributes, AxisInterpretation, ExpLoop, TextInfo

_WHITE = 0xFFFFFF
TIME_AXIS = 2
_MAGNIFICATION = re.compile(r"(\d+)\s?x", re.IGNORECASE)
FOUR_DOUBLES = Struct("<4d")


_Matrix: TypeAlias = tuple[float, float, float, float]
"""A two by two matrix, row by row."""

_Affine: TypeAlias = tuple[float, float, float, float, float, float]
"""A two by three matrix, row by row."""


def plane_count(raw_picture: fields.Tree | None) -> int | None:
    """Return the number of channels that the picture metadata give; None if they give none."""
    planes = fields.level(_picture(raw_picture), "sPicturePlanes")
    return fields.integer(planes, "uiCount") or len(_planes(planes)) or None


def parse(
    raw_picture: fields.Tree | None,
    *,
    attributes: Attributes,
    experiment: list[ExpLoop],
    text_info: TextInfo,
) -> Metadata:
    """Parse what holds for all frames.

    Parameters
    ----------
    raw_picture : mapping or None
        The decoded tree, with or without its root level. None if the file has none: then the channels are those of the
        attributes, white, called "Mono", "RGB" or "Channel_1" and so on, as Nikon's own reader does.
    attributes : Attributes
        Geometry of the image; it decides how many channels there are.
    experiment : list of ExpLoop
        The loops.
    text_info : TextInfo
        The text, in which the magnification stands where the metadata leave it out.
    """
    picture = _picture(raw_picture)
    count = attributes.channelCount or 1
    stored = _planes(fields.level(picture, "sPicturePlanes"))[:count]
    components = attributes.componentCount // count
    planes = [*stored, *(_unknown_plane(i, count, components) for i in range(len(stored), count))]
    samples = fields.levels(fields.level(picture, "sPicturePlanes").get("sSampleSetting"))
    loops = _loop_indices(experiment)
    microscope = _microscope(picture, text_info)
    stack = next((loop for loop in reversed(experiment) if isinstance(loop, ZStackLoop)), None)
    to_stage: _Affine | None = None
    channels = []
    for i, plane in enumerate(planes):
        sample_index = fields.integer(plane, "uiSampleIndex")
        sample = samples[sample_index] if 0 <= sample_index < len(samples) else {}
        if "pDeviceSetting" in sample:
            to_stage = _pixel_to_stage(picture, sample, attributes)
        channels.append(
            Channel(
                channel=_channel_meta(plane, i),
                loops=loops,
                microscope=_plane_microscope(microscope, plane)
                if i < len(stored)
                else Microscope(),
                volume=_volume(picture, plane, sample, attributes, stack, to_stage),
            )
        )
    return Metadata(Contents(len(channels), attributes.sequenceCount), channels)


def start_time(raw_picture: fields.Tree | None) -> tuple[float, float]:
    """Return the time of the first frame: milliseconds on the clock of the acquisition, and the Julian day number."""
    picture = _picture(raw_picture)
    return fields.real(picture, "dTimeMSec"), fields.real(picture, "dTimeAbsolute")


def voxel_size(metadata: Metadata) -> VoxelSize:
    """Return the size of a voxel in micrometres: that of the first channel; 1.0 where it is not calibrated."""
    if not metadata.channels:
        return VoxelSize(1.0, 1.0, 1.0)
    return VoxelSize(*metadata.channels[0].volume.axesCalibration)


def _picture(raw: fields.Tree | None) -> fields.Tree:
    return fields.root(raw or {}, "SLxPictureMetadata")


def _planes(planes: fields.Tree) -> list[fields.Tree]:
    """Return the planes in stored order, from the new form if it is there, else from the old one."""
    return fields.levels(planes.get("sPlaneNew")) or fields.levels(planes.get("sPlane"))


def _unknown_plane(index: int, count: int, components: int) -> fields.Tree:
    name = f"Channel_{index + 1}" if count > 1 else "RGB" if components == 3 else "Mono"
    return {"sDescription": name, "uiColor": _WHITE, "uiCompCount": components}


# --- channel -------------------------------------------------------------------------------------------------------


def _channel_meta(plane: fields.Tree, index: int) -> ChannelMeta:
    emission, excitation = spectrum.wavelengths(plane, index)
    return ChannelMeta(
        name=fields.text(plane, "sDescription"),
        index=index,
        color=_color(fields.integer(plane, "uiColor")),
        emissionLambdaNm=emission,
        excitationLambdaNm=excitation,
    )


def _color(value: int) -> Color:
    """Return the colour stored as 0xAABBGGRR; an opacity of zero was not set."""
    alpha = value >> 24 & 0xFF
    red, green, blue = (value >> shift & 0xFF for shift in (0, 8, 16))
    return Color(red, green, blue, alpha / 255 if alpha else 1.0)


def _loop_indices(experiment: list[ExpLoop]) -> LoopIndices | None:
    indices = {loop.type: i for i, loop in enumerate(experiment)}
    return LoopIndices(**indices) if indices else None


# --- optics --------------------------------------------------------------------------------------------------------


def _microscope(picture: fields.Tree, text_info: TextInfo) -> Microscope:
    """Return what all channels share."""
    radius = fields.positive(picture, "dPinholeRadius")
    return Microscope(
        objectiveMagnification=_magnification(picture, text_info),
        objectiveName=fields.text(picture, "wsObjectiveName") or None,
        objectiveNumericalAperture=fields.positive(picture, "dObjectiveNA"),
        zoomMagnification=fields.positive(picture, "dZoom"),
        immersionRefractiveIndex=fields.positive(picture, "dRefractIndex1")
        or fields.positive(picture, "dRefractIndex2"),
        projectiveMagnification=fields.positive(picture, "dProjectiveMag"),
        pinholeDiameterUm=2 * radius if radius else None,
    )


def _magnification(picture: fields.Tree, text_info: TextInfo) -> float | None:
    """Return the magnification of the objective; real files hold it in the name of the objective only."""
    if stored := fields.positive(picture, "dObjectiveMag"):
        return stored
    for name in (text_info.get("optics", ""), fields.text(picture, "wsObjectiveName")):
        if found := _MAGNIFICATION.search(name):
            return float(found[1])
    return None


def _plane_microscope(shared: Microscope, plane: fields.Tree) -> Microscope:
    return Microscope(
        **{
            **vars(shared),
            "pinholeDiameterUm": fields.positive(plane, "dPinholeDiameter")
            or shared.pinholeDiameterUm,
            "modalityFlags": modality.flags(plane),
        }
    )


# --- volume --------------------------------------------------------------------------------------------------------


def _volume(
    picture: fields.Tree,
    plane: fields.Tree,
    sample: fields.Tree,
    attributes: Attributes,
    stack: ZStackLoop | None,
    to_stage: _Affine | None,
) -> Volume:
    calibrated = bool(picture.get("bCalibrated", False))
    pixel = fields.positive(picture, "dCalibration") or 1.0
    step = stack.parameters.stepUm if stack else 0.0
    x_axis, y_axis = (_axis(picture, key) for key in ("ePictureXAxis", "ePictureYAxis"))
    components = min(fields.integer(plane, "uiCompCount", 1), attributes.componentCount)
    matrix = fields.level(sample, "matCameraToStage")
    return Volume(
        axesCalibrated=(calibrated, calibrated, step != 0),
        axesCalibration=(pixel, pixel, abs(step) or 1.0),
        axesInterpretation=(x_axis, y_axis, "distance"),
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


def _axis(picture: fields.Tree, key: str) -> AxisInterpretation:
    return "time" if fields.integer(picture, key) == TIME_AXIS else "distance"


def _stage_rotation(picture: fields.Tree) -> _Matrix:
    return (
        fields.real(picture, "dStgLgCT11", 1.0),
        fields.real(picture, "dStgLgCT12"),
        fields.real(picture, "dStgLgCT21"),
        fields.real(picture, "dStgLgCT22", 1.0),
    )


def _camera_matrix(matrix: fields.Tree) -> _Matrix | None:
    """Return the matrix stored as four doubles in a byte array, if it is one of two by two."""
    data = matrix.get("Data")
    if fields.integer(matrix, "Columns") != 2 or fields.integer(matrix, "Rows") != 2:
        return None
    if not isinstance(data, (list, bytes)) or len(data) != FOUR_DOUBLES.size:
        return None
    m11, m12, m21, m22 = FOUR_DOUBLES.unpack(bytes(data))
    return m11, m12, m21, m22


def _pixel_to_stage(
    picture: fields.Tree, sample: fields.Tree, attributes: Attributes
) -> _Affine | None:
    """Return the affine matrix from pixels to micrometres on the stage, relative to the frame's position."""
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
