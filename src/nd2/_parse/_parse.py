"""Structures from trees of metadata, as nd2 0.12.0 makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nd2._core.chunks.events import decode as load_events
from nd2._core.chunks.experiment import decode as load_experiment
from nd2._core.chunks.experiment import home_index, z_stack_params
from nd2._core.structures import ZStackLoop

if TYPE_CHECKING:
    from nd2._core.chunks.fields import Tree

__all__ = ["load_events", "load_experiment"]


def _parse_z_stack_loop(tree: Tree) -> ZStackLoop:
    """Return a z stack from the tree of its parameters."""
    count = int(tree["uiCount"])
    return ZStackLoop(count=count, nestingLevel=0, parameters=z_stack_params(tree, count))


def _calc_zstack_home_index(
    inverted: bool, count: int, type_: int, home_um: float, low_um: float, high_um: float, step_um: float
) -> int:
    """Return the index of the plane that defines a stack."""
    return home_index(type_, inverted, count, step_um, low_um, high_um, home_um)
