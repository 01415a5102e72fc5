"""Stage positions of frames, from the loops and the picture metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nd2._core.chunks import experiment, stage
from nd2._core.frames.grid import FrameGrid

if TYPE_CHECKING:
    from nd2._core.structures import ExpLoop


def loop(kind: int, parameters: dict[str, Any], *children: dict[str, Any]) -> dict[str, Any]:
    node: dict[str, Any] = {"eType": kind, "uLoopPars": parameters}
    if children:
        node["ppNextLevelEx"] = {f"i{i:010d}": child for i, child in enumerate(children)}
    return node


STACK = {"uiCount": 3, "iType": 2, "dZStep": 2.0, "dZLow": 0.0, "dZHigh": 4.0, "dZHome": 2.0}

POINTS = {f"i{i:010d}": {"dPosX": i, "dPosY": -i, "dPosZ": 50.0 + i} for i in range(2)}

PICTURE = {"dXPos": 7.0, "dYPos": 8.0, "dZPos": 100.0}


def stage_at(picture: dict[str, Any] | None, loops: list[ExpLoop], count: int) -> Any:
    grid = FrameGrid.from_counts((str(i), one.count) for i, one in enumerate(loops))
    return stage.stage_positions(picture, loops, list(grid.all_indices().values()), count)


@pytest.mark.parametrize(("use_z", "base"), [(False, [100, 100]), (True, [50, 51])])
def test_each_plane_has_its_own_height(use_z: bool, base: list[float]) -> None:
    points = {"uiCount": 2, "Points": POINTS, "bUseZ": use_z}
    loops = experiment.parse(loop(2, points, loop(4, STACK)))
    found = stage_at(PICTURE, loops, 8)
    heights = [z + d for z in base for d in (-2, 0, 2)]
    expected = [[p, -p, z] for p, z in zip([0, 0, 0, 1, 1, 1], heights, strict=True)]
    np.testing.assert_array_equal(found[:6], expected)
    np.testing.assert_array_equal(found[6:], [[7, 8, 100]] * 2)


def test_a_stack_that_is_outside_of_the_positions() -> None:
    loops = experiment.parse(loop(4, STACK, loop(2, {"uiCount": 2, "Points": POINTS})))
    found = stage_at(PICTURE, loops, 6)
    assert found[:, 0].tolist() == [0, 1, 0, 1, 0, 1]
    assert found[:, 2].tolist() == [98, 98, 100, 100, 102, 102]


def test_without_loops_or_metadata() -> None:
    assert stage_at(None, [], 2).tolist() == [[0, 0, 0]] * 2
