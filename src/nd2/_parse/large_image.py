"""The grid of fields that an image was stitched from, as the experiment has it."""

from __future__ import annotations

from dataclasses import dataclass

from nd2._parse import _tree


@dataclass(frozen=True, slots=True)
class LargeImage:
    """How a large image was taken in fields.

    Attributes
    ----------
    columns, rows : int
        Number of fields.
    overlap : float
        Overlap of neighbouring fields, as stored.
    width_mm, height_mm : float
        Size of the whole in millimeters; 0 where it is not known.
    stitched : bool
        Whether the fields were joined to one image.
    pattern, camera : str
        Order of the fields, and camera, as stored; may be empty.
    """

    columns: int
    rows: int
    overlap: float
    width_mm: float
    height_mm: float
    stitched: bool
    pattern: str
    camera: str


def parse(raw: _tree.Tree) -> LargeImage | None:
    """Return the grid of the first loop that has one of more than one field; None if none has.

    Parameters
    ----------
    raw : mapping
        The decoded experiment.

    Notes
    -----
    Names of the values as seen in decoded metadata; unverified on the bytes of real files.
    """
    nodes = [_tree.root(raw, "SLxExperiment")]
    while nodes:
        node = nodes.pop(0)
        grid = _tree.level(node, "pLargeImage")
        columns, rows = _tree.integer(grid, "iXFields"), _tree.integer(grid, "iYFields")
        if columns > 0 and rows > 0 and columns * rows > 1:
            return LargeImage(
                columns,
                rows,
                _tree.real(grid, "dOverlap"),
                _tree.real(grid, "dXmm"),
                _tree.real(grid, "dYmm"),
                bool(grid.get("bStitch")),
                _tree.text(grid, "sPattern"),
                _tree.text(grid, "sCamera"),
            )
        nodes += _tree.levels(node.get("ppNextLevelEx"))
    return None
