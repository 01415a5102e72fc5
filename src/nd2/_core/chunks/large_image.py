"""The grid of fields that an image was stitched from: ``pLargeImage`` of the experiment."""

from __future__ import annotations

from nd2._core.chunks import fields
from nd2._core.format.clx_lite import I32
from nd2._core.values import record

_FIELDS = (
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


def decode(raw: fields.Tree) -> LargeImage | None:
    """Return the first grid of more than one field in the tree of the experiment."""
    nodes = [fields.root(raw, "SLxExperiment")]
    while nodes:
        node = nodes.pop(0)
        grid = LargeImage(**fields.read(fields.level(node, "pLargeImage"), _FIELDS))
        if grid.columns > 0 and grid.rows > 0 and grid.columns * grid.rows > 1:
            return grid
        nodes += fields.levels(node.get("ppNextLevelEx"))
    return None
