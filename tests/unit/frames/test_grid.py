"""Axes from loops; loop indices and frame numbers, against NumPy's own raveling."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nd2._core.chunks import experiment
from nd2._core.format import clx_lite, clx_xml
from nd2._core.frames.grid import FrameGrid, Layout
from nd2._core.frames.selection import as_index, compose, normalize, select
from nd2._core.readers.modern import compute_stage_positions as stage_positions
from nd2.structures import Attributes, NETimeLoop, XYPosLoop


def counts(smallest: int = 0) -> st.SearchStrategy[list[tuple[str, int]]]:
    sizes = st.lists(st.integers(smallest, 5), max_size=4)
    return sizes.map(lambda found: list(zip("TPZU", found, strict=False)))


def keys(size: int) -> st.SearchStrategy[Any]:
    kinds: list[st.SearchStrategy[Any]] = [st.slices(size)]
    if size:
        positions = st.integers(-size, size - 1)
        kinds += [positions, st.lists(positions, max_size=4).map(lambda p: np.array(p, np.intp))]
        kinds += [st.lists(st.booleans(), min_size=size, max_size=size).map(np.array)]
    return st.one_of(kinds)


def narrowed(data: st.DataObject, grid: FrameGrid) -> tuple[FrameGrid, tuple[slice, ...]]:
    key = tuple(data.draw(st.slices(n)) for n in grid.counts)
    picks = zip(grid.names, grid.counts, key, strict=True)
    return grid.narrow({name: range(n)[item] for name, n, item in picks}), key


@given(counts())
def test_frames_are_numbered_in_the_order_of_the_loops(loops: list[tuple[str, int]]) -> None:
    grid = FrameGrid.from_counts(loops)
    shape = tuple(count for _, count in loops)
    assert grid.shape == grid.counts == shape
    assert grid.size == math.prod(shape)
    np.testing.assert_array_equal(grid.frames(), np.arange(grid.size).reshape(shape))
    for name, index in grid.all_indices().items():
        np.testing.assert_array_equal(index, np.indices(shape)[grid.names.index(name)].reshape(-1))


@given(st.data())
def test_outer_keys_select_frames_as_numpy_does(data: st.DataObject) -> None:
    grid = FrameGrid.from_counts(data.draw(counts()))
    key = tuple(data.draw(keys(size)) for size in grid.shape)
    expected = np.arange(grid.size).reshape(grid.shape)
    for axis in reversed(range(len(key))):
        expected = expected[(slice(None),) * axis + (key[axis],)]
    selection = select(key, grid.dims, grid.shape)
    found = grid.frames(selection.picks)
    np.testing.assert_array_equal(found.reshape(selection.shape), expected)
    single = grid.single_frame(selection.picks)
    assert single == (found.item() if found.size == 1 else None)


@given(st.data())
def test_indices_of_any_part_of_a_grid_lead_back_to_its_frames(data: st.DataObject) -> None:
    grid = FrameGrid.from_counts(data.draw(counts(1)))
    part, _ = narrowed(data, grid)
    if part.names and part.size and data.draw(st.booleans()):
        name = data.draw(st.sampled_from(part.names))
        part = part.fix(name, data.draw(st.integers(0, part.counts[part.names.index(name)] - 1)))
    frames = part.frames().reshape(-1)
    assert len(frames) == len(set(frames.tolist())) == part.size
    indices = part.indices(frames)
    for name, index in part.all_indices().items():
        np.testing.assert_array_equal(indices[name], index)
    for place in range(0, part.size, max(part.size // 3, 1)):
        assert part.frame([int(indices[name][place]) for name in part.names]) == frames[place]


@given(st.data())
def test_narrowing_is_indexing(data: st.DataObject) -> None:
    grid = FrameGrid.from_counts(data.draw(counts()))
    part, key = narrowed(data, grid)
    np.testing.assert_array_equal(part.frames(), grid.frames()[key])


def test_a_fixed_position_keeps_its_axis_until_it_is_dropped() -> None:
    grid = FrameGrid.from_counts([("T", 2), ("P", 3), ("Z", 4)])
    part = grid.fix("P", 1)
    assert (part.dims, part.shape, part.size) == (("T", "P", "Z"), (2, 1, 4), 8)
    flat = part.with_dims([dim for dim in part.dims if dim != "P"])
    assert (flat.dims, flat.shape) == (("T", "Z"), (2, 4))
    np.testing.assert_array_equal(flat.frames(), [[4, 5, 6, 7], [16, 17, 18, 19]])
    assert flat.steps("T").tolist() == [4, 16]
    assert flat.indices(flat.frames())["P"].max() == 0
    assert grid.indices(flat.frames())["P"].tolist() == [[1] * 4] * 2
    assert pickle.loads(pickle.dumps(flat)) == flat


def test_a_frame_has_an_index_on_each_loop() -> None:
    grid = FrameGrid.from_counts([("T", 2), ("Z", 3)])
    assert grid.frame((1, 2)) == 5
    with pytest.raises(IndexError, match="one index is needed for each of 2 loops: T, Z"):
        grid.frame((1,))
    with pytest.raises(IndexError, match="3 is out of range for loop 'Z' of size 3"):
        grid.frame((1, 3))
    assert FrameGrid.from_counts([]).frame(()) == 0


@given(st.data())
def test_a_part_of_a_part_is_what_numpy_takes(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 9))
    window = range(size)[data.draw(st.slices(size))]
    key = data.draw(keys(len(window)))
    axis = np.arange(size)
    pick = compose(window, normalize(key, len(window)))
    np.testing.assert_array_equal(axis[as_index(pick)], np.atleast_1d(axis[as_index(window)][key]))


def test_loops_of_damaged_files_may_claim_any_number_of_frames() -> None:
    grid = FrameGrid.from_counts([("T", 2**31), ("P", 2**31), ("Z", 2**31), ("U", 3)])
    indices = grid.indices(np.arange(5))
    assert [index.tolist() for index in indices.values()] == [[0] * 5, [0] * 5, [0, 0, 0, 1, 1], [0, 1, 2, 0, 1]]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_the_index_on_one_loop_is_that_among_all(counts: list[int], data: st.DataObject) -> None:
    grid = FrameGrid.from_counts([(str(i), count) for i, count in enumerate(counts)])
    frame = data.draw(st.integers(0, grid.size - 1))
    expected = {name: int(index) for name, index in grid.indices(np.array(frame)).items()}
    assert {name: grid.loop_index(name, frame) for name in grid.names} == expected


ATTRIBUTES = Attributes(16, 16, 2, 6, "unsigned", 1, 32, 8, channelCount=2)

loop_counts = st.integers(0, 4)
masks = st.none() | st.binary(max_size=5).map(lambda data: bytes(byte & 1 for byte in data))


@st.composite
def parameters(draw: st.DrawFn, kind: int) -> dict[str, Any]:
    """Draw the parameters of a loop, as in real files and in possibly damaged ones."""
    count = draw(loop_counts)
    if kind == 8:
        periods = [{"uiCount": draw(loop_counts), "dPeriod": 5.0} for _ in range(count)]
        valid = draw(masks)
        pars: dict[str, Any] = {"uiCount": draw(loop_counts), "pPeriod": periods}
        return pars if valid is None else {**pars, "pPeriodValid": valid}
    if kind == 2:
        points = [{"dPosX": float(i), "dPosY": 0.0, "dPosZ": 1.0} for i in range(count)]
        return {"uiCount": draw(loop_counts), "Points": points, "bUseZ": draw(st.booleans())}
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
