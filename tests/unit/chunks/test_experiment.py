"""Acquisition loops: trees as files hold them, and the axes that they give."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nd2._core.chunks import experiment, fields
from nd2._core.format import clx_lite, clx_xml
from nd2.structures import (
    CustomLoop,
    ExpLoop,
    NETimeLoop,
    NETimeLoopParams,
    Period,
    PeriodDiff,
    Position,
    StagePosition,
    TimeLoop,
    TimeLoopParams,
    XYPosLoop,
    XYPosLoopParams,
    ZStackLoop,
    ZStackLoopParams,
)

TIME, XY, Z, SPECTRAL, CUSTOM, NETIME = 1, 2, 4, 6, 7, 8


def node(kind: int, pars: dict[str, Any], *children: dict[str, Any], **more: Any) -> dict[str, Any]:
    below = {"ppNextLevelEx": list(children), "uiNextLevelCount": len(children)} if children else {}
    return {"eType": kind, "uLoopPars": pars, **below, **more}


def time(count: int, *children: dict[str, Any], **pars: Any) -> dict[str, Any]:
    return node(TIME, {"uiCount": count, "dPeriod": 250.0, **pars}, *children)


def stack(count: int, *children: dict[str, Any], **pars: Any) -> dict[str, Any]:
    return node(Z, {"uiCount": count, "dZStep": 1.0, **pars}, *children)


def spectral(count: int, *children: dict[str, Any]) -> dict[str, Any]:
    return node(SPECTRAL, {"pPlanes": {"uiCount": count}}, *children)


def points(count: int, *children: dict[str, Any], **more: Any) -> dict[str, Any]:
    listed = [{"dPosX": 10.0 * i, "dPosY": -1.0 * i, "dPosZ": 5.0 + i, "dPosName": f"#{i}"} for i in range(count)]
    return node(XY, {"uiCount": count, "Points": listed, **more.pop("pars", {})}, *children, **more)


def parse(tree: dict[str, Any]) -> list[Any]:
    """Parse a tree through the binary form, and see that the XML form gives the same."""
    binary = experiment.decode(clx_lite.decode(clx_lite.encode({"SLxExperiment": tree})))
    # Version 2 files wrap the parameters of a loop in a list of one.
    wrapped = _wrap(tree)
    xml = experiment.decode(clx_xml.decode(clx_xml.encode(clx_lite.Items([("", wrapped)]))))
    assert xml == binary
    return binary


def _wrap(tree: dict[str, Any]) -> dict[str, Any]:
    children = [_wrap(child) for child in tree.get("ppNextLevelEx", [])]
    below = {"ppNextLevelEx": children} if children else {}
    return {**tree, "uLoopPars": [tree["uLoopPars"]], **below}


def shape(tree: dict[str, Any]) -> list[tuple[str, int, int]]:
    return [(loop.type, loop.count, loop.nestingLevel) for loop in parse(tree)]


def test_time() -> None:
    tree = time(53, dStart=1.0, dDuration=60000.0, dAvgPeriodDiff=500.5, dMaxPeriodDiff=501.0, dMinPeriodDiff=499.0)
    diff = PeriodDiff(avg=500.5, max=501.0, min=499.0)
    assert parse(tree) == [TimeLoop(53, 0, TimeLoopParams(1.0, 250.0, 60000.0, diff))]


def test_loops_are_listed_from_the_outermost() -> None:
    assert shape(time(2, points(3, stack(4)))) == [("TimeLoop", 2, 0), ("XYPosLoop", 3, 1), ("ZStackLoop", 4, 2)]
    assert shape(stack(4, time(2))) == [("ZStackLoop", 4, 0), ("TimeLoop", 2, 1)]


def test_loops_of_one_kind_nest() -> None:
    assert shape(time(2, time(3))) == [("TimeLoop", 2, 0), ("TimeLoop", 3, 1)]


def test_channels_are_not_an_axis() -> None:
    assert shape(time(2, spectral(3, stack(4)))) == [("TimeLoop", 2, 0), ("ZStackLoop", 4, 1)]
    assert shape(spectral(3)) == []


def test_the_longest_of_the_stacks_of_several_channels_counts() -> None:
    assert shape(time(2, spectral(3, stack(4), stack(7), stack(5)))) == [("TimeLoop", 2, 0), ("ZStackLoop", 7, 1)]


def test_a_loop_without_items_gives_its_place_to_its_children() -> None:
    assert shape(time(0, stack(4))) == [("ZStackLoop", 4, 0)]
    assert shape(node(99, {}, stack(4))) == [("ZStackLoop", 4, 0)]
    assert shape(time(0)) == []


def test_loops_of_rare_kinds() -> None:
    assert parse(node(CUSTOM, {"uiCount": 6})) == [CustomLoop(6, 0)]
    assert shape(node(9, {"uiCount": 6})) == [("TimeLoop", 6, 0)]
    assert shape(node(10, {"uiCount": 6})) == [("ZStackLoop", 6, 0)]


def test_phases_that_were_used() -> None:
    phases = [{"uiCount": n, "dPeriod": 10.0 * n} for n in (3, 4, 0, 5)]
    pars = {"uiCount": 99, "uiPeriodCount": 4, "pPeriod": phases}
    (loop,) = parse(node(NETIME, {**pars, "pPeriodValid": [True, False, True, True]}))
    assert isinstance(loop, NETimeLoop)
    assert loop.count == 8
    assert [(period.count, period.periodMs) for period in loop.parameters.periods] == [(3, 30.0), (5, 50.0)]
    assert shape(node(NETIME, pars)) == [("NETimeLoop", 12, 0)]
    assert shape(node(NETIME, {**pars, "pPeriodValid": []})) == []
    # The mask of the binary form is a byte array.
    raw = clx_lite.decode(clx_lite.encode(node(NETIME, {**pars, "pPeriodValid": b"\1\0\1\1"})))
    assert experiment.decode(raw) == [loop]


def test_phases_of_version_2() -> None:
    pars = {"pPeriod": {"_00": {"uiCount": 3}, "_01": {"uiCount": 4}}, "pPeriodValid": {"_00": False, "_01": True}}
    assert shape(node(NETIME, pars)) == [("NETimeLoop", 4, 0)]


def test_experiments_of_phases() -> None:
    sub = {"uiNextLevelCount": 1, "ppNextLevelEx": [{"SLxExperiment": stack(4)}]}
    pars = {"pPeriod": [{"uiCount": 2}, {"uiCount": 3}], "pSubLoops": [sub, sub]}
    assert shape(node(NETIME, pars)) == [("NETimeLoop", 5, 0), ("ZStackLoop", 4, 1)]
    assert shape(node(NETIME, pars, stack(6))) == [("NETimeLoop", 5, 0), ("ZStackLoop", 6, 1)]


def test_points() -> None:
    (loop,) = parse(points(2, pars={"bUseZ": True}))
    assert isinstance(loop, XYPosLoop)
    assert loop.parameters.isSettingZ
    assert [point.stagePositionUm for point in loop.parameters.points] == [(0.0, 0.0, 5.0), (10.0, -1.0, 6.0)]
    assert [point.name for point in loop.parameters.points] == ["#0", "#1"]
    (loop,) = parse(points(1))
    assert loop.parameters.points[0].stagePositionUm == StagePosition(0.0, 0.0, 0.0)


def test_points_relative_to_a_reference() -> None:
    pars = {"bRelativeXY": True, "dReferenceX": 100.0, "dReferenceY": 200.0}
    (loop,) = parse(points(2, pars=pars))
    assert loop.parameters.points[1].stagePositionUm == (110.0, 199.0, 0.0)
    (loop,) = parse(points(2, pars={**pars, "bRelativeXY": False}))
    assert loop.parameters.points[1].stagePositionUm == (10.0, -1.0, 0.0)


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        ([True, False, True], ["#0", "#2"]),
        ([True], ["#0", "#1", "#2"]),
        ([], ["#0", "#1", "#2"]),
        ({"_00": False, "_01": True, "_02": True}, ["#1", "#2"]),
    ],
)
def test_points_that_were_used(mask: Any, names: list[str]) -> None:
    (loop,) = parse(points(3, pItemValid=mask))
    assert [point.name for point in loop.parameters.points] == names
    assert loop.count == len(names)


def test_points_of_version_2() -> None:
    pars = {
        "uiCount": 2,
        "bUseZ": True,
        "dPosX": {"_00": 1.0, "_01": 2.0},
        "dPosY": {"_00": 3.0, "_01": 4.0},
        "dPosZ": {"_00": 5.0},
        "dPFSOffset": {"_00": -1.0, "_01": 7.0},
        "pPosName": {"_00": "", "_01": "B2"},
    }
    (loop,) = parse(node(XY, pars))
    first, second = loop.parameters.points
    assert (first.stagePositionUm, first.pfsOffset, first.name) == ((1.0, 3.0, 5.0), None, None)
    assert (second.stagePositionUm, second.pfsOffset, second.name) == ((2.0, 4.0, 0.0), 7.0, "B2")


def home(**pars: Any) -> int:
    (loop,) = parse(stack(**{"count": 11, "dZLow": 0.0, "dZHigh": 10.0, "dZHome": 3.0, **pars}))
    assert isinstance(loop, ZStackLoop)
    return loop.parameters.homeIndex


@pytest.mark.parametrize(
    ("kind", "inverted", "expected"),
    [(0, False, 5), (1, True, 5), (2, False, 3), (3, True, 7), (4, False, 5), (6, False, 7), (7, True, 3)],
)
def test_home_of_each_kind_of_stack(kind: int, inverted: bool, expected: int) -> None:
    assert home(iType=kind, bZInverted=inverted) == expected


def test_home_stays_within_the_stack() -> None:
    assert home(iType=2, dZHome=1e300) == 10
    assert home(iType=2, dZHome=1e9, dZStep=5e-324) == 10
    assert home(iType=2, dZHome=-20.0, dZStep=-1.0) == 10
    assert home(iType=2, dZHome=0.0) == 0
    assert home(iType=2, dZStep=0.0, dZLow=5.0, dZHigh=5.0, dZHome=5.0) == 0
    assert home(iType=2, count=1) == 0


def test_the_last_plane_may_fall_short_by_a_twentieth_of_a_step() -> None:
    assert home(iType=2, dZStep=1.0, dZHome=3.04) == 3
    assert home(iType=2, dZStep=1.0, dZHome=3.06) == 4


def test_stacks() -> None:
    (loop,) = parse(stack(3, dZLow=10.0, dZHigh=6.0, dZStep=0.0, iType=4, wsZDevice="Ti2 ZDrive"))
    assert loop.parameters == ZStackLoopParams(1, 2.0, False, "Ti2 ZDrive")
    (loop,) = parse(stack(1, dZStep=0.0))
    assert loop.parameters == ZStackLoopParams(0, 0.0, True, None)


KEYS = st.sampled_from(
    [
        "eType",
        "uLoopPars",
        "ppNextLevelEx",
        "SLxExperiment",
        "uiCount",
        "pPeriod",
        "pPeriodValid",
        "pItemValid",
        "Points",
        "dPosX",
        "dZStep",
        "dZLow",
        "iType",
        "pSubLoops",
        "pPlanes",
        "i0000000000",
        "i9999999999",
    ]
)

JUNK = st.recursive(
    st.none() | st.integers(-1, 12) | st.floats() | st.text(max_size=3) | st.booleans() | st.lists(st.integers(0, 1)),
    lambda inner: st.dictionaries(KEYS, inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=40,
)


@given(st.dictionaries(KEYS, JUNK))
def test_any_tree_parses_to_loops_that_have_items(tree: dict[str, Any]) -> None:
    for loop in experiment.decode(tree):
        assert loop.count > 0
        assert dataclasses.is_dataclass(loop)


numbers = st.floats(-1e6, 1e6)
positive = st.floats(1e-3, 1e3)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
diffs = st.builds(PeriodDiff, numbers, numbers, numbers)
times = st.builds(TimeLoopParams, numbers, numbers, numbers, diffs)
periods = st.builds(Period, numbers, numbers, numbers, diffs, count=st.integers(1, 5))
stage_points = st.builds(
    Position,
    st.builds(StagePosition, numbers, numbers, numbers),
    st.none() | st.floats(0, 1e5),
    st.none() | names.filter(bool),
)


@st.composite
def loops(draw: st.DrawFn) -> list[ExpLoop]:
    made: list[ExpLoop] = []
    for nesting, kind in enumerate(draw(st.lists(st.sampled_from("TNPZU"), max_size=5))):
        count = draw(st.integers(1, 30))
        if kind == "T":
            made.append(TimeLoop(count, nesting, draw(times)))
        elif kind == "N":
            phases = draw(st.lists(periods, min_size=1, max_size=4))
            total = sum(phase.count for phase in phases)
            made.append(NETimeLoop(total, nesting, NETimeLoopParams(phases)))
        elif kind == "P":
            listed = draw(st.lists(stage_points, min_size=1, max_size=5))
            sets_z = draw(st.booleans())
            if not sets_z:
                listed = [Position(p.stagePositionUm._replace(z=0.0), p.pfsOffset, p.name) for p in listed]
            made.append(XYPosLoop(len(listed), nesting, XYPosLoopParams(sets_z, listed)))
        elif kind == "Z":
            step = draw(positive | positive.map(lambda x: -x) | st.just(0.0))
            home = draw(st.integers(0, count - 1)) if step else 0
            device = draw(st.none() | names)
            made.append(ZStackLoop(count, nesting, ZStackLoopParams(home, step, draw(st.booleans()), device)))
        else:
            made.append(CustomLoop(count, nesting))
    return made


ROUNDED = ZStackLoop(8, 0, ZStackLoopParams(7, -167.8797694720814, False))


@pytest.mark.parametrize("version", [(3, 0), (2, 1)])
@settings(max_examples=100)
@example(made=[ROUNDED])
@given(made=loops())
def test_what_is_encoded_is_parsed(version: tuple[int, int], made: list[ExpLoop]) -> None:
    tree = experiment.encode(made)
    if tree is None:
        assert made == []
        return
    data = fields.encode(tree, version)
    decoded = clx_lite.decode(data) if version == (3, 0) else clx_xml.decode(data)
    assert experiment.decode(decoded) == made
