"""Where frames go in an export."""

from __future__ import annotations

import numpy as np
import pytest

from nd2._core.frames.grid import Layout
from nd2._core.views.placement import Placement


def placed(*loops: tuple[str, int]) -> Placement:
    return Placement.from_layout(Layout(loops, 1, 4, 4, 1))


@pytest.mark.parametrize(
    ("loops", "nesting"),
    [
        ((), "TZ"),
        ((("T", 2), ("Z", 3)), "TZ"),
        ((("Z", 3), ("T", 2)), "ZT"),
        ((("Z", 3), ("P", 2), ("U", 2)), "ZT"),
        ((("Z", 1), ("T", 2)), "TZ"),
        ((("Z", 3), ("P", 2)), "TZ"),
    ],
)
def test_which_of_time_and_stack_is_the_outer_loop(loops: tuple[tuple[str, int], ...], nesting: str) -> None:
    assert placed(*loops).nesting == nesting


def test_nested_loops_of_a_kind_are_one_axis() -> None:
    found = placed(("T", 2), ("P", 2), ("T2", 3), ("U", 2))
    assert (found.images, found.times, found.planes) == (2, 12, 1)
    assert found.image.tolist() == ([0] * 6 + [1] * 6) * 2
    assert found.image_part(1).time.tolist() == list(range(12))
    assert found.image_part(1).index.tolist() == [*range(6, 12), *range(18, 24)]


def test_slots_run_as_they_are_asked_to() -> None:
    found = placed(("Z", 3), ("T", 2))
    assert found.slots("ZT").tolist() == [0, 1, 2, 3, 4, 5]
    assert found.slots("TZ").tolist() == [0, 3, 1, 4, 2, 5]
    assert np.array_equal(np.sort(found.slots("TZ")), np.arange(6))
