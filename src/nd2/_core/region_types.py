"""Public value types of regions of interest; see `structures`."""

from __future__ import annotations

from dataclasses import field
from enum import IntEnum
from typing import NamedTuple

from nd2._core.values import Value, publish, value_type

__all__ = [
    "ROI",
    "AnimParam",
    "BoxShape",
    "ExtrudedShape",
    "InterpType",
    "RoiInfo",
    "RoiShapeType",
    "ScopeType",
    "XYPoint",
    "XYZPoint",
]


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


@value_type
class AnimParam(Value):
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


@value_type
class RoiInfo(Value):
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


@value_type
class ROI(Value):
    """A region of interest and how it changes over time.

    ``position`` is the index of the position that it belongs to; None if it belongs to all (an addition to nd2).
    """

    id: int
    info: RoiInfo
    guid: str
    animParams: list[AnimParam] = field(default_factory=list)
    position: int | None = None


publish(globals(), __all__)
