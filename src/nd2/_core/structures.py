"""Public value types of an ND2 file's metadata: attributes, loops, channels, positions, regions of interest, events.

Values only, no logic. Lengths on the stage are micrometres, wavelengths nanometres, times milliseconds, unless a field
says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict, TypeVar, dataclass_transform

__all__ = [
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


class _Value:
    """Representation, equality and hash of the frozen dataclasses below.

    Written once instead of generated for each class: generating them takes a third of the import time of this module.
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def _value(cls: type[_T]) -> type[_T]:
    """Make a frozen dataclass whose representation and equality come from `_Value`."""
    return dataclass(frozen=True, repr=False, eq=False)(cls)


# --- image ---------------------------------------------------------------------------------------------------------


class Attributes(NamedTuple):
    """Geometry of the stored image: bits, bytes, pixels and number of frames.

    ``widthBytes`` is the stride of a row in bytes; ``componentCount`` counts all samples of a pixel, three for a colour
    channel.
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
    """Size of a voxel in micrometres; 1.0 where the file is not calibrated."""

    x: float
    y: float
    z: float


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


# --- acquisition loops ---------------------------------------------------------------------------------------------


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
    """Measured intervals between the frames of a time loop, in milliseconds; zero where nothing was measured."""

    avg: float = 0
    max: float = 0
    min: float = 0


@_value
class TimeLoopParams(_Value):
    """Start, nominal period and duration of a time loop, in milliseconds; period 0 means as fast as possible."""

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
    """Position of the stage in micrometres."""

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
    """Points of a multi-point loop, those that were used; ``isSettingZ`` tells whether their z was driven to."""

    isSettingZ: bool
    points: list[Position]


@_value
class ZStackLoopParams(_Value):
    """Geometry of a z stack: index of the home plane, step in micrometres, direction, name of the drive."""

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
    """Loop over channels; it is no axis of its own, because the channels of a frame are stored together."""

    count: int
    type: Literal["SpectLoop"] = "SpectLoop"


ExpLoop: TypeAlias = TimeLoop | NETimeLoop | XYPosLoop | ZStackLoop | CustomLoop


# --- channels ------------------------------------------------------------------------------------------------------


class Color(NamedTuple):
    """Display colour: red, green, blue from 0 to 255, opacity from 0 to 1."""

    r: int
    g: int
    b: int
    a: float = 1.0


@_value
class Contents(_Value):
    """Number of channels and of frames."""

    channelCount: int
    frameCount: int


@_value
class ChannelMeta(_Value):
    """Name, colour and wavelengths (nanometres) of a channel."""

    name: str
    index: int
    color: Color
    emissionLambdaNm: float | None = None
    excitationLambdaNm: float | None = None


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
    """Optics of a channel: objective, zoom, pinhole (diameter in micrometres), modality."""

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
    """Voxels of a channel in the order x, y, z: calibration in micrometres, counts, transformations to the stage."""

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
    """Metadata that hold for the whole file."""

    contents: Contents | None = None
    channels: list[Channel] | None = None


# --- frames --------------------------------------------------------------------------------------------------------


@_value
class TimeStamp(_Value):
    """Time of a frame: Julian day number (days, UTC) and milliseconds on the clock of the acquisition."""

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


# --- regions of interest -------------------------------------------------------------------------------------------


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
    """Whether a region of interest holds for all positions or for one."""

    Any = 0
    Global = 1
    MPoint = 2


class XYPoint(NamedTuple):
    """A point in the plane, in the stored, normalised units."""

    x: float = 0
    y: float = 0


class XYZPoint(NamedTuple):
    """A point in space, in the stored, normalised units."""

    x: float = 0
    y: float = 0
    z: float = 0


class BoxShape(NamedTuple):
    """Extent of a region of interest, in the stored, normalised units."""

    sizeX: float = 0
    sizeY: float = 0
    sizeZ: float = 0


class ExtrudedShape(NamedTuple):
    """A polygon with a height, in the stored, normalised units."""

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
    boxShape: BoxShape = BoxShape()
    extrudedShape: ExtrudedShape = ExtrudedShape()


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
    """A region of interest and how it changes over time."""

    id: int
    info: RoiInfo
    guid: str
    animParams: list[AnimParam] = field(default_factory=list)


# --- events --------------------------------------------------------------------------------------------------------


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


class StimulationType(IntEnum):
    """How a stimulation ran beside the acquisition."""

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


# --- what the user wrote ---------------------------------------------------------------------------------------------


class CustomField(NamedTuple):
    """A field of the form that the user filled in; ``value`` is None where the user left it empty.

    ``kind`` is "text", "number", "check", "selection", "date" or "unknown"; a value is a str, float, bool, the label
    that was chosen, a datetime, or a dict of all that was stored.
    """

    name: str
    kind: str
    value: Any
    unit: str = ""
    description: str = ""
    mandatory: bool = False


# Programs compare and print the public name of a class, wherever it is defined.
for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = "nd2.structures"
