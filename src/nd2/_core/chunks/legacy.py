"""Metadata of legacy files: structures from trees whose names have no type prefix.

The stored counts of loops may be wrong; if they contradict the number of frames, those of the
description are tried. Unverified on real files.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nd2._core import structures as s
from nd2._core.chunks import fields

if TYPE_CHECKING:
    from collections.abc import Callable

_DIMENSIONS = re.compile(r"(?:Dimensions|Abmessungen):[ \t]*([^\r\n]*)")
_DIMENSION = re.compile(r"(?<!\w)(\w{1,64})'?\((\d{1,9})\)")
_STEP = re.compile(r"- Step:\s*([\d.,]{1,32})")
_MAX_DEPTH = 100
_MAX_COUNT = 1 << 31
"""A larger count of a loop is damage."""
_MAX_DIGITS = 10


def text_info(raw: dict[str, Any]) -> s.TextInfo:
    """Return the description: the text item that starts with ``Metadata:``."""
    for item in _as_list(raw.get("TextInfoItem", raw)):
        text = item.get("Text") if isinstance(item, dict) else item
        if isinstance(text, str) and text.startswith("Metadata:"):
            return {"description": text}
    return {}


def stated_counts(description: str) -> dict[str, int]:
    """Return the counts of T, P and Z by the line ``Dimensions: T(66) x XY(3) x λ(2)``."""
    line = _DIMENSIONS.search(description)
    counts = _DIMENSION.findall(line[1]) if line else []
    names = {"T": "T", "XY": "P", "Z": "Z"}
    return {names[name]: int(count) for name, count in counts if name in names}


def stated_step(description: str) -> float | None:
    """Return the distance of planes in micrometers by the description."""
    in_stack = False
    for line in description.splitlines():
        if "Z Stack Loop:" in line:
            in_stack = True
        elif in_stack and (match := _STEP.match(line)):
            try:
                return float(match[1].replace(",", "."))
            except ValueError:
                return None
        elif line and not line.startswith("-"):
            in_stack = False
    return None


def experiment(
    raw: dict[str, Any], description: str, frame_count: int, stage_position: Callable[[int], s.StagePosition]
) -> list[s.ExpLoop]:
    """Return the loops, outermost first.

    The stated counts are used if their product is the number of frames and that of the loops is
    not. Frames without either make a time loop.
    """
    stated = stated_counts(description)
    loops = [
        loop
        for level, node in enumerate(_levels(_unwrapped(raw)))
        if (loop := _loop(node, level, stated, frame_count)) is not None and loop.count > 0
    ]
    if not frame_count or math.prod(loop.count for loop in loops) == frame_count:
        return loops
    known = {s.LOOP_AXES[loop.type]: loop for loop in loops}
    if math.prod(stated.values()) != frame_count:
        stated = {} if loops else {"T": frame_count}
    order = known if set(known) == set(stated) else stated
    counts = [(letter, stated[letter]) for letter in order if letter in stated]
    rebuilt = []
    for level, (letter, count) in enumerate(counts):
        loop = known.get(letter) or _plain_loop(letter, level, stated_step(description))
        if isinstance(loop, s.XYPosLoop):
            stride = math.prod(n for _, n in counts[level + 1 :])
            loop = _with_points(loop, [i * stride for i in range(count)], stage_position)
        rebuilt.append(replace(loop, count=count))
    return rebuilt or loops


def _unwrapped(node: dict[str, Any]) -> dict[str, Any]:
    """Descend through levels that hold nothing but one level."""
    for _ in range(_MAX_DEPTH):
        rest = {key: value for key, value in node.items() if key != "UnknownData"}
        if len(rest) != 1:
            break
        (only,) = rest.values()
        only = fields.first(only)
        if not only:
            break
        node = only
    return node


def _levels(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes of the loops, outermost first, from numbered siblings or nested levels."""
    siblings = sorted(key for key in node if key.startswith("LoopNo"))
    if siblings:
        return [fields.first(node[key]) for key in siblings]
    levels: list[dict[str, Any]] = []
    while node and len(levels) < _MAX_DEPTH:
        levels.append(node)
        node = fields.first(node.get("NextLevelEx"))
        if "LoopPars" not in node:
            node = _unwrapped(node)
    return levels


def _loop(node: dict[str, Any], level: int, stated: dict[str, int], frame_count: int) -> s.ExpLoop | None:
    """Return the loop of a node; None for channels and unknown kinds."""
    pars, kind = fields.first(node.get("LoopPars")), node.get("Type")
    if not pars:
        return None
    if kind in (s.LoopType.TimeLoop, s.LoopType.NETimeLoop, s.LoopType.ManTimeLoop):
        return _time_loop(pars, level, stated.get("T"))
    if kind == s.LoopType.XYPosLoop:
        return _position_loop(pars, level, frame_count)
    if kind in (s.LoopType.ZStackLoop, s.LoopType.ZStackLoopAccurate):
        return _z_loop(pars, level)
    if kind == s.LoopType.CustomLoop:
        return s.CustomLoop(_count(pars), level)
    return None


def _time_loop(pars: dict[str, Any], level: int, stated: int | None) -> s.TimeLoop:
    """Return a time loop, from the period with the stated count or else the first one."""
    value = pars.get("Period")
    periods = [value] if isinstance(value, dict) and "Count" in value else fields.levels(value)
    period = next((p for p in periods if p.get("Count") == stated), (periods or [pars])[0])
    # An interval that was not measured is None, as in nd2: coordinates then use the period.
    measured: list[Any] = [period.get(f"{kind}PeriodDiff") for kind in ("Avg", "Max", "Min")]
    parameters = s.TimeLoopParams(
        fields.real(period, "Start"),
        fields.real(period, "Period"),
        fields.real(period, "Duration"),
        s.PeriodDiff(*measured),
    )
    return s.TimeLoop(_count(period), level, parameters)


def _z_loop(pars: dict[str, Any], level: int) -> s.ZStackLoop:
    count = _count(pars)
    low, high, home = (fields.real(pars, key) for key in ("ZLow", "ZHigh", "ZHome"))
    step = abs(fields.real(pars, "ZStep"))
    if not step and count > 1:
        step = abs(high - low) / (count - 1)
    if low != high and min(low, high) <= home <= max(low, high):
        index = round((home - low) / (high - low) * (count - 1))
    else:
        index = max(count - 1, 0) // 2
    parameters = s.ZStackLoopParams(index, step, low < high, pars.get("ZDevice") or None)
    return s.ZStackLoop(count, level, parameters)


def _position_loop(pars: dict[str, Any], level: int, frame_count: int) -> s.XYPosLoop:
    """Return the loop over positions, which are stored in reverse under keys of five digits."""
    columns = [_column(pars.get(key)) for key in ("PosX", "PosY", "PosZ", "PFSOffset")]
    n = _count(pars)
    # A count beyond all stored points and frames is damage, and must not fill the memory.
    keys = [f"{n - 1 - i:05}" for i in range(min(n, max(frame_count, *map(len, columns))))]
    points = [
        s.Position(
            s.StagePosition(*(fields.real(column, key) for column in columns[:3])),
            fields.real(columns[3], key) if key in columns[3] else None,
        )
        for key in keys
    ]
    return s.XYPosLoop(len(points), level, s.XYPosLoopParams(bool(pars.get("UseZ")), points))


def _column(value: Any) -> dict[str, Any]:
    """Return one coordinate of all points by its key."""
    if isinstance(value, list):
        return {f"{i:05}": item for i, item in enumerate(value)}
    return value if isinstance(value, dict) else {}


def _plain_loop(letter: str, level: int, step: float | None) -> s.ExpLoop:
    """Return a loop of which only the kind is known."""
    if letter == "T":
        return s.TimeLoop(0, level, s.TimeLoopParams(0.0, 0.0, 0.0, s.PeriodDiff()))
    if letter == "Z":
        return s.ZStackLoop(0, level, s.ZStackLoopParams(0, 1.0 if step is None else step, True))
    return s.XYPosLoop(0, level, s.XYPosLoopParams(False, []))


def _with_points(loop: s.XYPosLoop, frames: list[int], stage_position: Callable[[int], s.StagePosition]) -> s.XYPosLoop:
    """Return a loop with one point per first frame; missing points come from the stage position."""
    points = loop.parameters.points[: len(frames)]
    points = points + [s.Position(stage_position(frame)) for frame in frames[len(points) :]]
    return replace(loop, parameters=replace(loop.parameters, points=points))


def planes(picture: dict[str, Any]) -> dict[str, Any]:
    """Return the counts of the picture planes, and under ``Plane`` each plane by its number."""
    level = fields.first(picture.get("PicturePlanes"))
    single = level.get("PlaneNew") or level.get("Plane")
    items = single if isinstance(single, dict) else dict(enumerate(_as_list(single)))
    by_number = {str(key): plane for key, plane in items.items() if isinstance(plane, dict)}
    return {"Count": level.get("Count"), "CompCount": level.get("CompCount"), "Plane": by_number}


def metadata(picture: dict[str, Any], attributes: s.Attributes, loops: list[s.ExpLoop]) -> s.Metadata:
    """Return the channels, from picture metadata and calibration of the first frame."""
    types = [loop.type for loop in loops]
    places = {kind: types.index(kind) for kind in dict.fromkeys(types)}
    radius = fields.positive(picture, "PinholeRadius")
    microscope = s.Microscope(
        objectiveMagnification=fields.positive(picture, "ObjectiveMag"),
        objectiveName=picture.get("ObjectiveName") or picture.get("Objective") or None,
        objectiveNumericalAperture=fields.positive(picture, "ObjectiveNA"),
        immersionRefractiveIndex=fields.positive(picture, "RefractIndex1"),
        projectiveMagnification=fields.positive(picture, "ProjectiveMag"),
        pinholeDiameterUm=None if radius is None else 2 * radius,
    )
    stack = next((loop for loop in loops if isinstance(loop, s.ZStackLoop)), None)
    step = stack.parameters.stepUm if stack else 0.0
    pixel = fields.positive(picture, "Calibration")
    calibrated = pixel is not None and picture.get("Calibrated") is not False
    channel_count = attributes.channelCount or 1
    volume = s.Volume(
        axesCalibrated=(calibrated, calibrated, step > 0),
        axesCalibration=(pixel or 1.0, pixel or 1.0, step or 1.0),
        axesInterpretation=("distance", "distance", "distance"),
        bitsPerComponentInMemory=attributes.bitsPerComponentInMemory,
        bitsPerComponentSignificant=attributes.bitsPerComponentSignificant,
        cameraTransformationMatrix=(-1, 0, 0, -1),
        componentCount=attributes.componentCount // channel_count,
        componentDataType="unsigned",
        voxelCount=(attributes.widthPx or 0, attributes.heightPx, stack.count if stack else 1),
    )
    channels = [
        s.Channel(_channel(key, plane), s.LoopIndices(**places) if loops else None, microscope, volume)
        for key, plane in list(planes(picture)["Plane"].items())[:channel_count]
    ]
    return s.Metadata(s.Contents(channel_count, attributes.sequenceCount), channels)


def _channel(key: str, plane: dict[str, Any]) -> s.ChannelMeta:
    color = plane.get("Color")
    name = plane.get("OpticalConfigName") or plane.get("Description") or ""
    return s.ChannelMeta(
        name=str(name),
        index=int(key) if key.isdecimal() and len(key) < _MAX_DIGITS else 0,
        color=s.Color.from_abgr_u4(color if isinstance(color, int) else 0xFFFFFF),
    )


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _count(level: fields.Tree) -> int:
    value = level.get("Count")
    return value if isinstance(value, int) and 0 < value < _MAX_COUNT else 0
