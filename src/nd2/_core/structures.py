"""Public value types of an ND2 file's metadata: attributes, loops, channels, positions, events.

Lengths on the stage are micrometers, wavelengths nanometers, times milliseconds, unless a field
says otherwise. All classes show as members of the module ``nd2.structures``, but pickles of their
instances name this module: they load also where another package owns ``nd2.structures``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import (
    Any,
    Literal,
    NamedTuple,
    TypeAlias,
    TypedDict,
    TypeVar,
    dataclass_transform,
)

__all__ = [
    "AXIS",
    "ROI",
    "AnimParam",
    "Attributes",
    "AxisInterpretation",
    "BoxShape",
    "Channel",
    "ChannelMeta",
    "Color",
    "CompressionType",
    "Contents",
    "Coordinate",
    "CustomField",
    "CustomLoop",
    "EventMeaning",
    "ExpLoop",
    "ExperimentEvent",
    "ExtrudedShape",
    "FrameChannel",
    "FrameMetadata",
    "InterpType",
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
    "RoiInfo",
    "RoiShapeType",
    "ScopeType",
    "SpectLoop",
    "StagePosition",
    "StimulationEvent",
    "StimulationType",
    "TextInfo",
    "TimeLoop",
    "TimeLoopParams",
    "TimeStamp",
    "Volume",
    "VoxelSize",
    "XYPoint",
    "XYPosLoop",
    "XYPosLoopParams",
    "XYZPoint",
    "ZStackLoop",
    "ZStackLoopParams",
]

_T = TypeVar("_T")

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


class _Value:
    """Representation, equality and pickles of the dataclasses below.

    Written once instead of generated for each class: generating them takes a third of the import
    time of this module.
    """

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        return _blank, _name(self), vars(self)


@dataclass_transform(field_specifiers=(field,))
def _value(cls: type[_T]) -> type[_T]:
    """Make a dataclass whose representation, equality and pickles come from `_Value`."""
    return dataclass(repr=False, eq=False)(cls)


def _name(value: object) -> tuple[str | type]:
    """Return the name of a value's class here; the class itself if it is a subclass."""
    cls = type(value)
    return (cls.__name__ if globals().get(cls.__name__) is cls else cls,)


def _class(name: str | type) -> Any:
    return globals()[name] if isinstance(name, str) else name


def _blank(name: str | type) -> Any:
    """Return an instance without values, which unpickling sets."""
    cls = _class(name)
    return cls.__new__(cls)


def _filled(name: str | type, *values: Any) -> Any:
    """Return a named tuple or a member of an enumeration."""
    return _class(name)(*values)


def _reduce(value: Any, protocol: object = None) -> tuple[Any, ...]:
    """Pickle a named tuple or a member of an enumeration."""
    values = value if isinstance(value, tuple) else (value.value,)
    return _filled, (*_name(value), *values)


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
    """Size of a voxel in micrometers; 1.0 where the file is not calibrated."""

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


@_value
class PeriodDiff(_Value):
    """Measured intervals between the frames of a time loop, in milliseconds; 0 if not measured."""

    avg: float = 0
    max: float = 0
    min: float = 0


@_value
class TimeLoopParams(_Value):
    """Start, nominal period (0: as fast as possible), duration of a time loop, in milliseconds."""

    startMs: float
    periodMs: float
    durationMs: float
    periodDiff: PeriodDiff


@_value
class Period(TimeLoopParams):
    """One phase of a non-equidistant time loop."""

    count: int


@_value
class NETimeLoopParams(_Value):
    """Phases of a non-equidistant time loop, those that were used."""

    periods: list[Period]


class StagePosition(NamedTuple):
    """Position of the stage in micrometers."""

    x: float
    y: float
    z: float


@_value
class Position(_Value):
    """A stage position with its name and the offset of the focus system."""

    stagePositionUm: StagePosition
    pfsOffset: float | None = None
    name: str | None = None


@_value
class XYPosLoopParams(_Value):
    """Points of a multi-point loop that were used; ``isSettingZ``: the stage went to their z."""

    isSettingZ: bool
    points: list[Position]


@_value
class ZStackLoopParams(_Value):
    """Geometry of a z stack: home plane, step in micrometers, direction, name of the drive."""

    homeIndex: int
    stepUm: float
    bottomToTop: bool
    deviceName: str | None = None


LoopParams: TypeAlias = TimeLoopParams | NETimeLoopParams | XYPosLoopParams | ZStackLoopParams


@_value
class TimeLoop(_Value):
    """Equidistant time loop."""

    count: int
    nestingLevel: int
    parameters: TimeLoopParams
    type: Literal["TimeLoop"] = "TimeLoop"


@_value
class NETimeLoop(_Value):
    """Time loop made of phases with periods of their own."""

    count: int
    nestingLevel: int
    parameters: NETimeLoopParams
    type: Literal["NETimeLoop"] = "NETimeLoop"


@_value
class XYPosLoop(_Value):
    """Loop over stage positions."""

    count: int
    nestingLevel: int
    parameters: XYPosLoopParams
    type: Literal["XYPosLoop"] = "XYPosLoop"


@_value
class ZStackLoop(_Value):
    """Loop over focal planes."""

    count: int
    nestingLevel: int
    parameters: ZStackLoopParams
    type: Literal["ZStackLoop"] = "ZStackLoop"


@_value
class CustomLoop(_Value):
    """Loop of which only the count is known."""

    count: int
    nestingLevel: int = 0
    parameters: None = None
    type: Literal["CustomLoop"] = "CustomLoop"


@_value
class SpectLoop(_Value):
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


@_value
class Contents(_Value):
    """Number of channels and of frames."""

    channelCount: int
    frameCount: int


@_value
class ChannelMeta(_Value):
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


@_value
class LoopIndices(_Value):
    """Place of each kind of loop in the experiment; None where there is no such loop."""

    NETimeLoop: int | None = None
    TimeLoop: int | None = None
    XYPosLoop: int | None = None
    ZStackLoop: int | None = None
    CustomLoop: int | None = None


@_value
class Microscope(_Value):
    """Optics of a channel: objective, zoom, pinhole (diameter in micrometers), modality."""

    objectiveMagnification: float | None = None
    objectiveName: str | None = None
    objectiveNumericalAperture: float | None = None
    zoomMagnification: float | None = None
    immersionRefractiveIndex: float | None = None
    projectiveMagnification: float | None = None
    pinholeDiameterUm: float | None = None
    modalityFlags: list[ModalityFlags] = field(default_factory=list)


@_value
class Volume(_Value):
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


@_value
class Channel(_Value):
    """One channel of the file."""

    channel: ChannelMeta
    loops: LoopIndices | None
    microscope: Microscope
    volume: Volume


@_value
class Metadata(_Value):
    """Metadata of the whole file."""

    contents: Contents | None = None
    channels: list[Channel] | None = None


@_value
class TimeStamp(_Value):
    """Time of a frame: Julian day number (UTC), and milliseconds on the acquisition's clock."""

    absoluteJulianDayNumber: float
    relativeTimeMs: float


class PFSStatus(IntEnum):
    """State of the Perfect Focus System; files hold further, undocumented values."""

    ERROR = -1
    IN_RANGE = 0
    FOCUSED = 1
    OUT_OF_RANGE = 3
    OUT_OF_RANGE_OPTICS = 4
    SEARCHING = 5
    SEARCH_FAILED = 6
    DISABLED = 7


@_value
class FrameChannel(Channel):
    """One channel of one frame, with the frame's position and time."""

    position: Position
    time: TimeStamp
    pfs_status: int | None = None


@_value
class FrameMetadata(_Value):
    """Metadata of one frame."""

    contents: Contents
    channels: list[FrameChannel]


class RoiShapeType(IntEnum):
    """Shape of a region of interest."""

    Any = 0
    Raster = 1
    Point = 2
    Rectangle = 3
    Ellipse = 4
    Polygon = 5
    Bezier = 6
    Line = 7
    PolyLine = 8
    Circle = 9
    Square = 10
    Ring = 11
    Spiral = 12


class InterpType(IntEnum):
    """Purpose of a region of interest."""

    AnyROI = 0
    StandardROI = 1
    BackgroundROI = 2
    ReferenceROI = 3
    StimulationROI = 4


class ScopeType(IntEnum):
    """Whether a region of interest is valid for all positions or for one."""

    Any = 0
    Global = 1
    MPoint = 2


class XYPoint(NamedTuple):
    """A point in the plane, in the stored, normalized units."""

    x: float = 0
    y: float = 0


class XYZPoint(NamedTuple):
    """A point in space, in the stored, normalized units."""

    x: float = 0
    y: float = 0
    z: float = 0


class BoxShape(NamedTuple):
    """Extent of a region of interest, in the stored, normalized units."""

    sizeX: float = 0
    sizeY: float = 0
    sizeZ: float = 0


class ExtrudedShape(NamedTuple):
    """A polygon with a height, in the stored, normalized units."""

    sizeZ: float = 0
    basePoints: tuple[XYPoint, ...] | list[XYPoint] = ()


@_value
class AnimParam(_Value):
    """Place and shape of a region of interest from a point in time (milliseconds) on."""

    timeMs: float = 0
    enabled: bool = True
    centerX: float = 0
    centerY: float = 0
    centerZ: float = 0
    rotationZ: float = 0
    boxShape: BoxShape = field(default_factory=BoxShape)
    extrudedShape: ExtrudedShape = field(default_factory=ExtrudedShape)

    @property
    def center(self) -> XYZPoint:
        """The center of the region."""
        return XYZPoint(self.centerX, self.centerY, self.centerZ)


@_value
class RoiInfo(_Value):
    """Kind, label and settings of a region of interest; ``color`` is stored as 0x00BBGGRR."""

    shapeType: RoiShapeType | int
    interpType: InterpType | int
    cookie: int = 0
    color: int = 255
    label: str = ""
    stimulationGroup: int = 0
    scope: ScopeType | int = ScopeType.Global
    appData: int = 0
    multiFrame: bool = False
    locked: bool = False
    compCount: int = 2
    bpc: int = 16
    autodetected: bool = False
    gradientStimulation: bool = False
    gradientStimulationBitDepth: int = 0
    gradientStimulationLo: float = 0.0
    gradientStimulationHi: float = 0.0


@_value
class ROI(_Value):
    """A region of interest and how it changes over time.

    ``position`` is the index of the position that it belongs to; None where it belongs to all (an addition to nd2).
    """

    id: int
    info: RoiInfo
    guid: str
    animParams: list[AnimParam] = field(default_factory=list)
    position: int | None = None


class EventMeaning(IntEnum):
    """What an event of the experiment was."""

    Unspecified = 0
    Autofocus = 1
    UserInteraction1_Old = 2
    UserInteraction2_Old = 3
    UserInteraction3_Old = 4
    UserInteraction4_Old = 5
    JOBs = 6
    Command = 7
    Macro = 8
    Pause = 9
    Resume = 10
    Cancel = 11
    RAMGrabZeroTime = 12
    TimeLoopNextPhase = 13
    Refocus = 14
    Stimulation = 15
    ExternalStimulation = 16
    ExperimentStart = 17
    ExperimentEnd = 18
    PhaseXStart = 19
    PhaseXEnd = 20
    BeforeXYMove = 21
    AfterXYMove = 22
    BeforeZSeries = 23
    AfterZSeries = 24
    BeforeLambdaLoop = 25
    AfterLambdaLoop = 26
    BeforeLargeImage = 27
    AfterLargeImage = 28
    BeforeStimulation = 29
    AfterStimulation = 30
    UserEvents = 31
    StreamData = 32
    UserInteraction1 = 33
    UserInteraction2 = 34
    UserInteraction3 = 35
    UserInteraction4 = 36
    UserInteraction5 = 37
    UserInteraction6 = 38
    UserInteraction7 = 39
    UserInteraction8 = 40
    BeforeCapture = 41
    AfterCapture = 42
    RealTimeTTLData = 43
    NoAcquisitionStart = 44
    NoAcquisitionEnd = 45
    HardwareError = 46
    StormEvent = 47
    IncubationInfo = 48
    IncubationError = 49
    InteractiveExpEnd = 50
    ExperimentPause = 51
    WIDReplenishmentStart = 52
    WIDReplenishmentEnd = 53
    NSTORM = 54
    EventCount = 55


class StimulationType(IntEnum):
    """How a stimulation ran with the acquisition."""

    NoStimulation = 0
    Sequential = 1
    Parallel = 2
    Manual = 3
    Begin = 4
    End = 5


@_value
class StimulationEvent(_Value):
    """The stimulation that an event belongs to."""

    type: StimulationType | int = StimulationType.NoStimulation
    loop_index: int = 0
    position: int = 0
    description: str = ""


@_value
class ExperimentEvent(_Value):
    """Something that happened during the experiment; times in milliseconds."""

    id: int = 0
    time: float = 0.0
    time2: float = 0.0
    meaning: EventMeaning | int = EventMeaning.Unspecified
    description: str = ""
    data: str = ""
    stimulation: StimulationEvent | None = None


class CustomField(NamedTuple):
    """A field of the form that the user filled in; ``value`` is None where the user left it empty.

    ``kind`` is "text", "number", "check", "selection", "date" or "unknown"; a value is a str,
    float, bool, the label that was chosen, a datetime, or a dict of all that was stored.
    """

    name: str
    kind: str
    value: Any
    unit: str = ""
    description: str = ""
    mandatory: bool = False


# Programs compare and print the public name of a class, wherever it is defined.
for _key in __all__:
    _public = globals()[_key]
    if isinstance(_public, type):
        _public.__module__ = "nd2.structures"
        if issubclass(_public, tuple | IntEnum):
            _public.__reduce_ex__ = _reduce  # type: ignore[method-assign]
