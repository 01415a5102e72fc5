"""Which axes a file has, from arbitrary trees of loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nd2._core.chunks import experiment
from nd2._core.format import clx_lite, clx_xml
from nd2._core.frames.layout import Layout
from nd2._core.readers.frame_metadata import stage_positions
from nd2.structures import Attributes, NETimeLoop, XYPosLoop

ATTRIBUTES = Attributes(16, 16, 2, 6, "unsigned", 1, 32, 8, channelCount=2)

counts = st.integers(0, 4)
masks = st.none() | st.binary(max_size=5).map(lambda data: bytes(byte & 1 for byte in data))


@st.composite
def parameters(draw: st.DrawFn, kind: int) -> dict[str, Any]:
    """Draw the parameters of a loop, as in real files and in possibly damaged ones."""
    count = draw(counts)
    if kind == 8:
        periods = [{"uiCount": draw(counts), "dPeriod": 5.0} for _ in range(count)]
        valid = draw(masks)
        pars: dict[str, Any] = {"uiCount": draw(counts), "pPeriod": periods}
        return pars if valid is None else {**pars, "pPeriodValid": valid}
    if kind == 2:
        points = [{"dPosX": float(i), "dPosY": 0.0, "dPosZ": 1.0} for i in range(count)]
        return {"uiCount": draw(counts), "Points": points, "bUseZ": draw(st.booleans())}
    if kind == 4:
        step = draw(st.sampled_from([0.0, 0.5, -1.0]))
        return {
            "uiCount": count,
            "iType": draw(st.integers(0, 8)),
            "dZStep": step,
            "dZLow": draw(st.sampled_from([0.0, 3.0])),
            "dZHigh": draw(st.sampled_from([0.0, 7.0])),
            "dZHome": draw(st.sampled_from([0.0, 3.0, 99.0])),
            "bZInverted": draw(st.booleans()),
        }
    return draw(st.sampled_from([{}, {"uiCount": count}]))


@st.composite
def trees(draw: st.DrawFn, depth: int = 0) -> dict[str, Any]:
    """Draw a tree of loops: nested, side by side, of all kinds and of unknown ones, with masks, empty."""
    kind = draw(st.integers(0, 11))
    node: dict[str, Any] = {"eType": kind, "uLoopPars": draw(parameters(kind))}
    if (mask := draw(masks)) is not None:
        node["pItemValid"] = mask
    if depth < 4:
        node["ppNextLevelEx"] = draw(st.lists(trees(depth + 1), max_size=2))
    return node


@given(trees(), st.booleans())
def test_any_tree_of_loops_gives_each_frame_its_indices(tree: dict[str, Any], xml: bool) -> None:
    if xml:
        loops = experiment.decode(clx_xml.decode(clx_xml.encode(tree)))
    else:
        loops = experiment.decode(clx_lite.decode(clx_lite.encode({"SLxExperiment": tree})))
    layout = Layout.from_experiment(loops, ATTRIBUTES)
    indices = layout.loop_indices
    assert len(indices) == layout.frame_count == math.prod(loop.count for loop in loops)
    assert len({tuple(one.values()) for one in indices}) == len(indices)
    assert [list(one) for one in indices[:1]] == [[name for name, _ in layout.loops]]
    assert len(layout.all_sizes) == len(layout.loops) + 3
    for frame in {0, len(indices) // 2, len(indices) - 1}:
        assert layout.grid.frame(list(indices[frame].values())) == frame
    for loop in loops:
        assert loop.count > 0
        if isinstance(loop, XYPosLoop):
            assert len(loop.parameters.points) == loop.count
        elif isinstance(loop, NETimeLoop):
            assert sum(period.count for period in loop.parameters.periods) == loop.count
    columns = list(layout.grid.all_indices().values())
    assert np.isfinite(stage_positions((0.0, 0.0, 0.0), loops, columns, layout.frame_count)).all()


@pytest.mark.parametrize(
    ("names", "expected"),
    [([1, 1], ["T", "T2"]), ([1, 8, 1], ["T", "T2", "T3"]), ([4, 2, 4, 7], ["Z", "P", "Z2", "U"])],
)
def test_loops_of_one_kind_are_numbered(names: list[int], expected: list[str]) -> None:
    made: dict[int, dict[str, Any]] = {
        1: {"uiCount": 2},
        2: {"Points": [{"dPosX": 0.0}, {"dPosX": 1.0}]},
        4: {"uiCount": 2},
        7: {"uiCount": 2},
        8: {"pPeriod": [{"uiCount": 2}]},
    }
    tree: dict[str, Any] | None = None
    for kind in reversed(names):
        below = {} if tree is None else {"ppNextLevelEx": [tree]}
        tree = {"eType": kind, "uLoopPars": made[kind], **below}
    assert tree is not None
    layout = Layout.from_experiment(experiment.decode(clx_lite.decode(clx_lite.encode(tree))), ATTRIBUTES)
    assert [name for name, _ in layout.loops] == expected


def test_a_file_without_loops_has_one_frame() -> None:
    layout = Layout.from_experiment([], ATTRIBUTES)
    assert layout.loop_indices == ({},)
    assert layout.grid.frame(()) == 0
    assert layout.sizes == {"C": 2, "Y": 6, "X": 8}
