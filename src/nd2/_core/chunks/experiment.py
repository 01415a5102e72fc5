"""Acquisition loops: ``SLxExperiment``, a tree of nested loops; and the fields that a large image was stitched from."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from nd2._core import structures as s
from nd2._core.chunks import fields
from nd2._core.format.clx_lite import I32, U32
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = (b"ImageMetadataLV!", b"ImageMetadata!")

_TIME = (("dStart", "startMs", float), ("dPeriod", "periodMs", float), ("dDuration", "durationMs", float))
_PERIOD_DIFF = (("dMinPeriodDiff", "min", float), ("dMaxPeriodDiff", "max", float), ("dAvgPeriodDiff", "avg", float))
_TOP_TO_BOTTOM = 4
"""First of the stack types that run downward."""
# Stacks with an asymmetric range around the home plane, upward and downward: in these types, the
# stored positions determine the index of the home plane.
_UPWARD, _DOWNWARD = 3, 7
_LARGE_IMAGE = (
    ("iXFields", "columns", I32),
    ("iYFields", "rows", I32),
    ("dOverlap", "overlap", float),
    ("dXmm", "width_mm", float),
    ("dYmm", "height_mm", float),
    ("bStitch", "stitched", bool),
    ("sPattern", "pattern", str),
    ("sCamera", "camera", str),
)
"""Seen in decoded metadata; unverified on the bytes of real files."""
_TEXTS = ("wsApplicationDesc", "wsUserDesc", "aMeasProbesBase64", "wsCameraName")
_COMMANDS = ("wsCommandBeforeLoop", "wsCommandBeforeCapture", "wsCommandAfterCapture", "wsCommandAfterLoop")
_SWITCHES = (
    "bControlShutter",
    "bControlLight",
    "bUsePFS",
    "bUseHWSequencer",
    "bUseTiRecipe",
    "bUseIntenzityCorrection",
    "bUseTriggeredAcquisition",
    "bKeepObject",
)
_POINT_SWITCHES = (
    "bRelativeXY",
    "bRedefineAfterPFS",
    "bRedefineAfterAutoFocus",
    "bKeepPFSOn",
    "bSplitMultipoints",
    "bUseAFPlane",
    "bZEnabled",
)


def decode(raw: fields.Tree) -> list[s.ExpLoop]:
    """Return the loops, outermost first: the axes of the frames in the order of the file.

    Channels are not an axis. If there are several loops of one kind at one level, for instance a
    stack for each channel, the longest one is used. A loop without items is replaced by its
    children.
    """
    loops: list[s.ExpLoop] = []
    _flatten(fields.root(raw, "SLxExperiment"), 0, loops)
    return loops


def _flatten(node: fields.Tree, nesting: int, loops: list[s.ExpLoop]) -> None:
    """Append the loop of a node, and those below it, to ``loops``."""
    loop = _loop(node, nesting)
    if loop is None:
        nesting -= 1
    elif not loops or loops[-1].nestingLevel < nesting:
        loops.append(loop)
    elif loops[-1].nestingLevel == nesting and loops[-1].type == loop.type:
        loops[-1] = max(loops[-1], loop, key=lambda one: one.count)
    # If a time lapse was paused and continued, each phase has its own tree of the loops below it.
    # All these trees are the same; unverified on real files.
    for phase in fields.levels(fields.level(node, "uLoopPars").get("pSubLoops"))[:1]:
        for child in fields.levels(phase.get("ppNextLevelEx"))[:1]:
            _flatten(fields.root(child, "SLxExperiment"), nesting + 1, loops)
    for child in fields.levels(node.get("ppNextLevelEx")):
        _flatten(fields.root(child, "SLxExperiment"), nesting + 1, loops)


def _loop(node: fields.Tree, nesting: int) -> s.ExpLoop | None:
    """Return the loop of a node; None if it has no items, holds channels or is of an unknown kind."""
    pars = fields.level(node, "uLoopPars")
    count = fields.integer(pars, "uiCount")
    loop: s.ExpLoop
    match fields.integer(node, "eType"):
        case s.LoopType.TimeLoop | s.LoopType.ManTimeLoop:
            loop = s.TimeLoop(count, nesting, _time_params(pars))
        case s.LoopType.NETimeLoop:
            periods = _periods(pars)
            loop = s.NETimeLoop(sum(p.count for p in periods), nesting, s.NETimeLoopParams(periods))
        case s.LoopType.XYPosLoop:
            valid = fields.flags(node.get("pItemValid"))
            # Points past the end of the mask are valid: an unused mask has one byte.
            points = [point for i, point in enumerate(_points(pars)) if i >= len(valid) or valid[i]]
            params = s.XYPosLoopParams(fields.flag(pars, "bUseZ"), points)
            loop = s.XYPosLoop(len(points), nesting, params)
        case s.LoopType.ZStackLoop | s.LoopType.ZStackLoopAccurate:
            loop = s.ZStackLoop(count, nesting, z_stack_params(pars, count))
        case s.LoopType.CustomLoop | s.LoopType.XYDiscrLoop | s.LoopType.PolarLoop:
            loop = s.CustomLoop(count, nesting)
        case _:
            return None
    return loop if loop.count > 0 else None


def _time_params(pars: fields.Tree) -> s.TimeLoopParams:
    return s.TimeLoopParams(**fields.read(pars, _TIME), periodDiff=s.PeriodDiff(**fields.read(pars, _PERIOD_DIFF)))


def _periods(pars: fields.Tree) -> list[s.Period]:
    """Return the phases that are marked valid and have frames."""
    periods = [
        s.Period(**vars(_time_params(phase)), count=fields.integer(phase, "uiCount"))
        for phase in fields.levels(pars.get("pPeriod"))
    ]
    if "pPeriodValid" in pars:
        # An empty mask means no phases, as in Nikon's reader.
        valid = fields.flags(pars["pPeriodValid"])
        periods = [period for period, flag in zip(periods, valid, strict=False) if flag]
    return [period for period in periods if period.count > 0]


def _points(pars: fields.Tree) -> list[s.Position]:
    """Return all stored points, from a list of points or (version 2) lists of coordinates."""
    points = fields.levels(pars.get("Points"))
    if not points:
        keys = ("dPosX", "dPosY", "dPosZ", "dPFSOffset", "pPosName")
        columns = {key: fields.level(pars, key) for key in keys}
        points = [{key: column[item] for key, column in columns.items() if item in column} for item in columns["dPosX"]]
    x0 = y0 = 0.0
    if pars.get("bRelativeXY"):
        x0, y0 = fields.real(pars, "dReferenceX"), fields.real(pars, "dReferenceY")
    use_z = fields.flag(pars, "bUseZ")
    return [
        s.Position(
            s.StagePosition(
                fields.real(point, "dPosX") + x0,
                fields.real(point, "dPosY") + y0,
                fields.real(point, "dPosZ") if use_z else 0.0,
            ),
            pfsOffset=offset if (offset := fields.real(point, "dPFSOffset")) >= 0 else None,
            name=fields.text(point, "dPosName") or fields.text(point, "pPosName") or None,
        )
        for point in points
    ]


def z_stack_params(pars: fields.Tree, count: int) -> s.ZStackLoopParams:
    """Return the geometry of a stack of ``count`` planes from the tree of its parameters."""
    low, high, home = (fields.real(pars, key) for key in ("dZLow", "dZHigh", "dZHome"))
    step = fields.real(pars, "dZStep")
    if step == 0 and count > 1:
        step = abs(high - low) / (count - 1)
    kind = fields.integer(pars, "iType")
    inverted = fields.flag(pars, "bZInverted")
    name = pars.get("wsZDevice")
    return s.ZStackLoopParams(
        homeIndex=home_index(kind, inverted, count, step, low, high, home),
        stepUm=step,
        bottomToTop=kind < _TOP_TO_BOTTOM,
        deviceName=name if isinstance(name, str) else None,
    )


def home_index(kind: int, inverted: bool, count: int, step: float, low: float, high: float, home: float) -> int:
    """Return the index of the plane that defines the stack, as Nikon's reader computes it."""
    last = count - 1
    if last <= 0:
        return 0
    if kind in (2, 3):
        span = abs(high - home) if inverted else abs(low - home)
    elif kind in (6, 7):
        span = abs(low - home) if inverted else abs(high - home)
    else:
        return last // 2
    if step <= 0:
        full = abs(high - low)
        if not full:
            return 0
        # Rounding must not move the last plane: 7 * x / x may be less than 7.
        return last if span >= full else int(last * span / full)
    planes = (span - 0.05 * step) / step  # the last plane may fall short by a twentieth of a step
    return last if planes >= last else abs(ceil(planes))


@record
class LargeImage:
    """How a large image was acquired in fields."""

    columns: int
    rows: int
    overlap: float
    width_mm: float
    height_mm: float
    stitched: bool
    pattern: str
    camera: str


def decode_large_image(raw: fields.Tree) -> LargeImage | None:
    """Return the first grid of more than one field in the tree of the experiment."""
    nodes = [fields.root(raw, "SLxExperiment")]
    while nodes:
        node = nodes.pop(0)
        grid = LargeImage(**fields.read(fields.level(node, "pLargeImage"), _LARGE_IMAGE))
        if grid.columns > 0 and grid.rows > 0 and grid.columns * grid.rows > 1:
            return grid
        nodes += fields.levels(node.get("ppNextLevelEx"))
    return None


def encode(loops: Sequence[s.ExpLoop]) -> dict[str, Any] | None:
    """Return the tree of nested loops; None without loops.

    Keys, their types and their order are those of real files.
    """
    node: dict[str, Any] | None = None
    for loop in reversed(loops):
        node = {
            "eType": U32(s.LoopType[loop.type]),
            **dict.fromkeys(_TEXTS, ""),
            "uLoopPars": _parameters(loop),
            **dict.fromkeys(_COMMANDS, ""),
            **dict.fromkeys(_SWITCHES, False),
            "vectStimulationConfigurationsSize": I32(0),
            "uiRepeatCount": U32(1),
            "uiNextLevelCount": U32(node is not None),
            **({} if node is None else {"ppNextLevelEx": [node]}),
        }
    return None if node is None else {"SLxExperiment": node}


def _parameters(loop: s.ExpLoop) -> dict[str, Any]:
    count = {"uiCount": U32(loop.count)}
    match loop:
        case s.TimeLoop():
            return {**count, **_time_tree(loop.parameters)}
        case s.NETimeLoop():
            periods = loop.parameters.periods
            return {
                **count,
                "uiPeriodCount": U32(len(periods)),
                "pPeriod": [{"uiCount": U32(p.count), **_time_tree(p)} for p in periods],
                "pPeriodValid": bytes([1] * len(periods)),
            }
        case s.XYPosLoop():
            return _points_tree(loop.parameters)
        case s.ZStackLoop():
            return _stack_tree(loop)
        case s.CustomLoop():
            return count
    raise TypeError(f"{type(loop).__name__} is not an experiment loop")


def _time_tree(value: s.TimeLoopParams) -> dict[str, Any]:
    return {
        **fields.write(value, _TIME),
        **fields.write(value.periodDiff, _PERIOD_DIFF),
        "wsPhaseName": "",
        "uiLoopType": U32(0),
        "uiGroup": U32(0),
        "uiStimulationCount": U32(0),
        "wsInterfaceName": "",
        "uiTreatment": U32(0),
        "dIncubationDuration": -1.0,
    }


def _points_tree(value: s.XYPosLoopParams) -> dict[str, Any]:
    points = [
        {
            **dict(zip(("dPosX", "dPosY", "dPosZ"), map(float, point.stagePositionUm), strict=True)),
            "dPFSOffset": -1.0 if point.pfsOffset is None else float(point.pfsOffset),
            "dPosName": point.name or "",
        }
        for point in value.points
    ]
    return {
        "uiCount": U32(len(points)),
        "bUseZ": bool(value.isSettingZ),
        **dict.fromkeys(_POINT_SWITCHES, False),
        "dReferenceX": 0.0,
        "dReferenceY": 0.0,
        "sZDevice": "",
        "Points": points,
    }


def _stack_tree(loop: s.ZStackLoop) -> dict[str, Any]:
    value = loop.parameters
    step, last = float(value.stepUm), max(loop.count - 1, 0)
    # Without a positive step, readers derive the index from a ratio of ranges, rounded down.
    slack = 0.5 if step < 0 and value.homeIndex < last else 0.0
    before, high = abs(step) * (value.homeIndex + slack), abs(step) * last
    return {
        "uiCount": U32(loop.count),
        "dZLow": 0.0,
        "dZHigh": high,
        "dZHome": before if value.bottomToTop else high - before,
        "dZStep": step,
        "dReferencePosition": 0.0,
        "bAbsolute": False,
        "bTriggeredPiezo": False,
        "bZInverted": False,
        "bTIRF": False,
        "dTIRFPosition": 0.0,
        "dTIRFPFSOffset": -1.0,
        "iType": I32(_UPWARD if value.bottomToTop else _DOWNWARD),
        **({} if value.deviceName is None else {"wsZDevice": value.deviceName}),
        "wsCommandBeforeCapture": "",
        "wsCommandAfterCapture": "",
    }
