"""Public value types of an ND2 file's metadata: attributes, loops, channels, positions.

Lengths on the stage are micrometers, wavelengths nanometers, times milliseconds, unless a field
says otherwise.
"""

from __future__ import annotations

import warnings
from dataclasses import field
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict

from nd2._core.values import Value, publish, value_type

__all__ = [
    "AXIS",
    "Attributes",
    "AxisInterpretation",
    "Channel",
    "ChannelMeta",
    "Color",
    "CompressionType",
    "Contents",
    "Coordinate",
    "CustomField",
    "CustomLoop",
    "ExpLoop",
    "FrameChannel",
    "FrameMetadata",
    "LoopIndices",
    "LoopParams",
    "LoopType",
    "Metadata",
    "Microscope",
    "ModalityFlags",
    "NETimeLoop",
    "NETimeLoopParams",
    "PFSStatus",
    "Period",
    "PeriodDiff",
    "PixelDataType",
    "Position",
    "SpectLoop",
    "StagePosition",
    "TextInfo",
    "TimeLoop",
    "TimeLoopParams",
    "TimeStamp",
    "Volume",
    "VoxelSize",
    "XYPosLoop",
    "XYPosLoopParams",
    "ZStackLoop",
    "ZStackLoopParams",
]

AxisInterpretation: TypeAlias = Literal["distance", "time"]
CompressionType: TypeAlias = Literal["lossless", "lossy", "none"]
PixelDataType: TypeAlias = Literal["float", "unsigned"]
ModalityFlags: TypeAlias = Literal[
    "fluorescence",
    "brightfield",
    "phaseContrast",
    "diContrast",
    "camera",
    "laserScanConfocal",
    "spinningDiskConfocal",
    "sweptFieldConfocalSlit",
    "sweptFieldConfocalPinhole",
    "dsdConfocal",
    "SIM",
    "iSIM",
    "RCM",
    "VCS",
    "sora",
    "liveSR",
    "multiphoton",
    "TIRF",
    "pmt",
    "spectral",
    "vaasIF",
    "vaasNF",
    "transmitDetector",
    "nonDescannedDetector",
    "virtualFilter",
    "gaasp",
    "remainder",
    "aux",
]


LOOP_AXES = {
    "Unknown": "U",
    "TimeLoop": "T",
    "NETimeLoop": "T",
    "XYPosLoop": "P",
    "ZStackLoop": "Z",
    "CustomLoop": "U",
    "SpectLoop": "C",
}
"""Letter of the axis that each kind of loop makes."""


class AXIS:
    """Letters of the axes of an image."""

    X: str = "X"
    Y: str = "Y"
    Z: str = "Z"
    CHANNEL: str = "C"
    RGB: str = "S"
    TIME: str = "T"
    POSITION: str = "P"
    UNKNOWN: str = "U"

    _MAP = LOOP_AXES

    @classmethod
    def frame_coords(cls) -> set[str]:
        """Return the axes of one frame, which no loop makes."""
        return {cls.X, cls.Y, cls.CHANNEL, cls.RGB}


class Attributes(NamedTuple):
    """Geometry of the stored image: bits, bytes, pixels and number of frames.

    ``widthBytes`` is the stride of a row in bytes; ``componentCount`` counts all samples of a
    pixel, three for a color channel.
    """

    bitsPerComponentInMemory: int
    bitsPerComponentSignificant: int
    componentCount: int
    heightPx: int
    pixelDataType: PixelDataType
    sequenceCount: int
    widthBytes: int | None = None
    widthPx: int | None = None
    compressionLevel: float | None = None
    compressionType: CompressionType | None = None
    tileHeightPx: int | None = None
    tileWidthPx: int | None = None
    channelCount: int | None = None


class VoxelSize(NamedTuple):
    """Size of a voxel in micrometers; 1.0 if the file is not calibrated."""

    x: float
    y: float
    z: float


class Sizes(dict[str, int]):
    """Name and size of each axis, read-only; copies and pickles are plain dicts.

    Also an instance of ``types.MappingProxyType``, which nd2 0.12 returns; unlike that one it can be
    pickled and written as JSON.
    """

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> Any:
        raise TypeError("the sizes of a file cannot be changed; copy them: dict(file.sizes)")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    __class__ = property(lambda self: MappingProxyType)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class Coordinate(NamedTuple):
    """One coordinate of a frame: index of the loop, its type, its size."""

    index: int  # type: ignore[assignment]  # the field shadows tuple.index
    type: str
    size: int


class TextInfo(TypedDict, total=False):
    """Text that the user and the software attached to the file; empty items are absent."""

    imageId: str
    type: str
    group: str
    sampleId: str
    author: str
    description: str
    capturing: str
    sampling: str
    location: str
    date: str
    conclusion: str
    info1: str
    info2: str
    optics: str
    appVersion: str


class LoopType(IntEnum):
    """Kind of an acquisition loop, as stored."""

    Unknown = 0
    TimeLoop = 1
    XYPosLoop = 2
    XYDiscrLoop = 3
    ZStackLoop = 4
    PolarLoop = 5
    SpectLoop = 6
    CustomLoop = 7
    NETimeLoop = 8
    ManTimeLoop = 9
    ZStackLoopAccurate = 10


@value_type
class PeriodDiff(Value):
    """Measured intervals between the frames of a time loop, in milliseconds; 0 if not measured."""

    avg: float = 0
    max: float = 0
    min: float = 0


@value_type
class TimeLoopParams(Value):
    """Start, nominal period (0: as fast as possible), duration of a time loop, in milliseconds."""

    startMs: float
    periodMs: float
    durationMs: float
    periodDiff: PeriodDiff


@value_type
class Period(TimeLoopParams):
    """One phase of a non-equidistant time loop."""

    count: int


@value_type
class NETimeLoopParams(Value):
    """Phases of a non-equidistant time loop that were used."""

    periods: list[Period]


class StagePosition(NamedTuple):
    """Position of the stage in micrometers."""

    x: float
    y: float
    z: float


@value_type
class Position(Value):
    """A stage position with its name and the offset of the focus system."""

    stagePositionUm: StagePosition
    pfsOffset: float | None = None
    name: str | None = None


@value_type
class XYPosLoopParams(Value):
    """Points of a multi-point loop that were used; ``isSettingZ``: the stage went to their z."""

    isSettingZ: bool
    points: list[Position]


@value_type
class ZStackLoopParams(Value):
    """Geometry of a z stack: home plane, step in micrometers, direction, name of the drive."""

    homeIndex: int
    stepUm: float
    bottomToTop: bool
    deviceName: str | None = None


LoopParams: TypeAlias = TimeLoopParams | NETimeLoopParams | XYPosLoopParams | ZStackLoopParams


@value_type
class TimeLoop(Value):
    """Equidistant time loop."""

    count: int
    nestingLevel: int
    parameters: TimeLoopParams
    type: Literal["TimeLoop"] = "TimeLoop"


@value_type
class NETimeLoop(Value):
    """Time loop of phases, each with its own period."""

    count: int
    nestingLevel: int
    parameters: NETimeLoopParams
    type: Literal["NETimeLoop"] = "NETimeLoop"


@value_type
class XYPosLoop(Value):
    """Loop over stage positions."""

    count: int
    nestingLevel: int
    parameters: XYPosLoopParams
    type: Literal["XYPosLoop"] = "XYPosLoop"


@value_type
class ZStackLoop(Value):
    """Loop over focal planes."""

    count: int
    nestingLevel: int
    parameters: ZStackLoopParams
    type: Literal["ZStackLoop"] = "ZStackLoop"


@value_type
class CustomLoop(Value):
    """Loop of which only the count is known."""

    count: int
    nestingLevel: int = 0
    parameters: None = None
    type: Literal["CustomLoop"] = "CustomLoop"


@value_type
class SpectLoop(Value):
    """Loop over channels, which are not an axis of frames: a frame stores all its channels."""

    count: int
    type: Literal["SpectLoop"] = "SpectLoop"


ExpLoop: TypeAlias = TimeLoop | NETimeLoop | XYPosLoop | ZStackLoop | CustomLoop


class Color(NamedTuple):
    """Display color: red, green, blue from 0 to 255, opacity from 0 to 1."""

    r: int
    g: int
    b: int
    a: float = 1.0

    @classmethod
    def from_abgr_u4(cls, val: int) -> Color:
        """Return the color of a number 0xAABBGGRR, in which opacity 0 means opaque."""
        red, green, blue, opacity = ((val >> shift) & 255 for shift in (0, 8, 16, 24))
        return cls(red, green, blue, opacity / 255 if opacity else 1.0)

    def as_abgr_u4(self) -> int:
        """Return the color as a number 0xAABBGGRR, with opacity 0 for opaque."""
        opacity = 0 if self.a == 1 else int(self.a * 255)
        return opacity << 24 | self.b << 16 | self.g << 8 | self.r

    def as_hex(self) -> str:
        """Return the color as ``"#rrggbb"``; the opacity is left out."""
        return f"#{self.r:02x}{self.g:02x}{self.b:02x}"


@value_type
class Contents(Value):
    """Number of channels and of frames."""

    channelCount: int
    frameCount: int


@value_type
class ChannelMeta(Value):
    """Name, color and wavelengths (nanometers) of a channel."""

    name: str
    index: int
    color: Color
    emissionLambdaNm: float | None = None
    excitationLambdaNm: float | None = None

    @property
    def colorRGBA(self) -> int:
        """The color as a number 0xAABBGGRR; deprecated, use ``color.as_abgr_u4()``."""
        message = "`ChannelMeta.colorRGBA` is deprecated: use `color.as_abgr_u4()`"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return self.color.as_abgr_u4()


@value_type
class LoopIndices(Value):
    """Place of each kind of loop in the experiment; None without such a loop."""

    NETimeLoop: int | None = None
    TimeLoop: int | None = None
    XYPosLoop: int | None = None
    ZStackLoop: int | None = None
    CustomLoop: int | None = None


@value_type
class Microscope(Value):
    """Optics of a channel: objective, zoom, pinhole (diameter in micrometers), modality."""

    objectiveMagnification: float | None = None
    objectiveName: str | None = None
    objectiveNumericalAperture: float | None = None
    zoomMagnification: float | None = None
    immersionRefractiveIndex: float | None = None
    projectiveMagnification: float | None = None
    pinholeDiameterUm: float | None = None
    modalityFlags: list[ModalityFlags] = field(default_factory=list)


@value_type
class Volume(Value):
    """Voxels of a channel as x, y, z: calibration in micrometers, counts, stage transformations."""

    axesCalibrated: tuple[bool, bool, bool]
    axesCalibration: tuple[float, float, float]
    axesInterpretation: tuple[AxisInterpretation, AxisInterpretation, AxisInterpretation]
    bitsPerComponentInMemory: int
    bitsPerComponentSignificant: int
    cameraTransformationMatrix: tuple[float, float, float, float]
    componentCount: int
    componentDataType: PixelDataType
    voxelCount: tuple[int, int, int]
    componentMaxima: list[float] | None = None
    componentMinima: list[float] | None = None
    pixelToStageTransformationMatrix: tuple[float, float, float, float, float, float] | None = None


@value_type
class Channel(Value):
    """One channel of the file."""

    channel: ChannelMeta
    loops: LoopIndices | None
    microscope: Microscope
    volume: Volume


@value_type
class Metadata(Value):
    """Metadata of the whole file."""

    contents: Contents | None = None
    channels: list[Channel] | None = None


@value_type
class TimeStamp(Value):
    """Time of a frame: Julian day number (UTC), and milliseconds on the acquisition's clock."""

    absoluteJulianDayNumber: float
    relativeTimeMs: float


class PFSStatus(IntEnum):
    """State of the Perfect Focus System; files also contain undocumented values."""

    ERROR = -1
    IN_RANGE = 0
    FOCUSED = 1
    OUT_OF_RANGE = 3
    OUT_OF_RANGE_OPTICS = 4
    SEARCHING = 5
    SEARCH_FAILED = 6
    DISABLED = 7


@value_type
class FrameChannel(Channel):
    """One channel of one frame, with the frame's position and time."""

    position: Position
    time: TimeStamp
    pfs_status: int | None = None


@value_type
class FrameMetadata(Value):
    """Metadata of one frame."""

    contents: Contents
    channels: list[FrameChannel]


class CustomField(NamedTuple):
    """A field of the form that the user filled in; ``value`` is None if the user left it empty.

    ``kind`` is "text", "number", "check", "selection", "date" or "unknown"; a value is a str,
    float, bool, the label that was chosen, a datetime, or a dict of all that was stored.
    """

    name: str
    kind: str
    value: Any
    unit: str = ""
    description: str = ""
    mandatory: bool = False


publish(globals(), __all__)
