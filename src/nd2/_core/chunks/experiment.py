"""Acquisition loops: from the ``ImageMetadata`` tree of nested loops to the list of axes."""

from __future__ import annotations

from math import ceil
from typing import TypeAlias

from nd2._core.chunks import fields
from nd2._core.structures import (
    CustomLoop,
    ExpLoop,
    LoopType,
    NETimeLoop,
    NETimeLoopParams,
    Period,
    PeriodDiff,
    Position,
    SpectLoop,
    StagePosition,
    TimeLoop,
    TimeLoopParams,
    XYPosLoop,
    XYPosLoopParams,
    ZStackLoop,
    ZStackLoopParams,
)

_AnyLoop: TypeAlias = ExpLoop | SpectLoop

_TOP_TO_BOTTOM = 4
"""First of the stack types that run downwards."""


def parse(raw: fields.Tree) -> list[ExpLoop]:
    """Return the loops of an experiment, outermost first: the axes of the frames in the order of the file.

    Channels are no axis. Where several loops of one kind stand side by side, as when each channel has a stack of its
    own, the longest one counts. A loop without items is left out, and its children take its place.

    Parameters
    ----------
    raw : mapping
        The decoded tree, with or without its root level.
    """
    loops: list[ExpLoop] = []
    _flatten(fields.root(raw, "SLxExperiment"), 0, loops)
    return loops


def _flatten(node: fields.Tree, nesting: int, loops: list[ExpLoop]) -> None:
    """Append the loop of a node, and those below it, to ``loops``."""
    loop = _loop(node, nesting)
    if loop is None or isinstance(loop, SpectLoop):
        nesting -= 1
    elif not loops or loops[-1].nestingLevel < nesting:
        loops.append(loop)
    elif loops[-1].nestingLevel == nesting and loops[-1].type == loop.type:
        loops[-1] = max(loops[-1], loop, key=lambda one: one.count)
    # The phases of a paused and continued time lapse keep the loops below them in experiments of their own; all phases
    # have the same ones, unverified on real files.
    for phase in fields.levels(fields.level(node, "uLoopPars").get("pSubLoops"))[:1]:
        for child in fields.levels(phase.get("ppNextLevelEx"))[:1]:
            _flatten(fields.root(child, "SLxExperiment"), nesting + 1, loops)
    for child in fields.levels(node.get("ppNextLevelEx")):
        _flatten(fields.root(child, "SLxExperiment"), nesting + 1, loops)


def _loop(node: fields.Tree, nesting: int) -> _AnyLoop | None:
    """Return the loop of a node; None if it has no items, or is of a kind that is not known."""
    pars = fields.level(node, "uLoopPars")
    count = fields.integer(pars, "uiCount")
    loop: _AnyLoop
    match fields.integer(node, "eType"):
        case LoopType.TimeLoop | LoopType.ManTimeLoop:
            loop = TimeLoop(count, nesting, _time_params(pars))
        case LoopType.NETimeLoop:
            periods = _periods(pars)
            loop = NETimeLoop(sum(p.count for p in periods), nesting, NETimeLoopParams(periods))
        case LoopType.XYPosLoop:
            points = _valid(_points(pars), node.get("pItemValid"))
            params = XYPosLoopParams(bool(pars.get("bUseZ", False)), points)
            loop = XYPosLoop(len(points), nesting, params)
        case LoopType.ZStackLoop | LoopType.ZStackLoopAccurate:
            loop = ZStackLoop(count, nesting, _z_params(pars, count))
        case LoopType.SpectLoop:
            loop = SpectLoop(fields.integer(fields.level(pars, "pPlanes"), "uiCount", count))
        case LoopType.CustomLoop | LoopType.XYDiscrLoop | LoopType.PolarLoop:
            loop = CustomLoop(count, nesting)
        case _:
            return None
    return loop if loop.count > 0 or isinstance(loop, SpectLoop) else None


# --- time ----------------------------------------------------------------------------------------------------------


def _time_params(pars: fields.Tree) -> TimeLoopParams:
    return TimeLoopParams(
        startMs=fields.real(pars, "dStart"),
        periodMs=fields.real(pars, "dPeriod"),
        durationMs=fields.real(pars, "dDuration"),
        periodDiff=PeriodDiff(
            avg=fields.real(pars, "dAvgPeriodDiff"),
            max=fields.real(pars, "dMaxPeriodDiff"),
            min=fields.real(pars, "dMinPeriodDiff"),
        ),
    )


def _period(phase: fields.Tree) -> Period:
    params = _time_params(phase)
    return Period(
        params.startMs,
        params.periodMs,
        params.durationMs,
        params.periodDiff,
        count=fields.integer(phase, "uiCount"),
    )


def _periods(pars: fields.Tree) -> list[Period]:
    """Return the phases that were used: those that are marked valid and have frames."""
    stored = [_period(phase) for phase in fields.levels(pars.get("pPeriod"))]
    if "pPeriodValid" in pars:
        # A mask that is there and empty means no phase at all, to Nikon's own reader too.
        valid = fields.flags(pars["pPeriodValid"])
        stored = [period for period, flag in zip(stored, valid, strict=False) if flag]
    return [period for period in stored if period.count > 0]


# --- positions -----------------------------------------------------------------------------------------------------


def _points(pars: fields.Tree) -> list[Position]:
    """Return all stored points, from a list of points or, in version 2 files, from lists of their coordinates."""
    points = fields.levels(pars.get("Points"))
    if not points:
        keys = ("dPosX", "dPosY", "dPosZ", "dPFSOffset", "pPosName")
        columns = {key: fields.level(pars, key) for key in keys}
        points = [
            {key: column[item] for key, column in columns.items() if item in column}
            for item in columns["dPosX"]
        ]
    x0 = y0 = 0.0
    if pars.get("bRelativeXY"):
        x0, y0 = fields.real(pars, "dReferenceX"), fields.real(pars, "dReferenceY")
    use_z = bool(pars.get("bUseZ", False))
    return [
        Position(
            StagePosition(
                fields.real(point, "dPosX") + x0,
                fields.real(point, "dPosY") + y0,
                fields.real(point, "dPosZ") if use_z else 0.0,
            ),
            pfsOffset=offset if (offset := fields.real(point, "dPFSOffset")) >= 0 else None,
            name=fields.text(point, "dPosName") or fields.text(point, "pPosName") or None,
        )
        for point in points
    ]


def _valid(points: list[Position], mask: object) -> list[Position]:
    """Return the points that a mask keeps; those behind its end are kept, because an unused mask is one byte long."""
    flags = fields.flags(mask)
    return [point for i, point in enumerate(points) if i >= len(flags) or flags[i]]


# --- z stacks ------------------------------------------------------------------------------------------------------


def _z_params(pars: fields.Tree, count: int) -> ZStackLoopParams:
    low, high, home = (fields.real(pars, key) for key in ("dZLow", "dZHigh", "dZHome"))
    step = fields.real(pars, "dZStep")
    if step == 0 and count > 1:
        step = abs(high - low) / (count - 1)
    kind = fields.integer(pars, "iType")
    inverted = bool(pars.get("bZInverted", False))
    name = pars.get("wsZDevice")
    return ZStackLoopParams(
        homeIndex=_home_index(kind, inverted, count, step, low, high, home),
        stepUm=step,
        bottomToTop=kind < _TOP_TO_BOTTOM,
        deviceName=name if isinstance(name, str) else None,
    )


def _home_index(
    kind: int, inverted: bool, count: int, step: float, low: float, high: float, home: float
) -> int:
    """Return the index of the plane at which the stack was defined; as Nikon's own reader computes it."""
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
