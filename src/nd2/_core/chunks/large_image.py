"""The grid of fields that an image was stitched from, as the experiment has it."""

from __future__ import annotations

from dataclasses import dataclass

from nd2._core.chunks import fields


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


def parse(raw: fields.Tree) -> LargeImage | None:
    """Return the grid of the first loop that has one of more than one field; None if none has.

    Parameters
    ----------
    raw : mapping
        The decoded experiment.

    Notes
    -----
    Names of the values as seen in decoded metadata; unverified on the bytes of real files.
    """
    nodes = [fields.root(raw, "SLxExperiment")]
    while nodes:
        node = nodes.pop(0)
        grid = fields.level(node, "pLargeImage")
        columns, rows = fields.integer(grid, "iXFields"), fields.integer(grid, "iYFields")
        if columns > 0 and rows > 0 and columns * rows > 1:
            return LargeImage(
                columns,
                rows,
                fields.real(grid, "dOverlap"),
                fields.real(grid, "dXmm"),
                fields.real(grid, "dYmm"),
                bool(grid.get("bStitch")),
                fields.text(grid, "sPattern"),
                fields.text(grid, "sCamera"),
            )
        nodes += fields.levels(node.get("ppNextLevelEx"))
    return None
