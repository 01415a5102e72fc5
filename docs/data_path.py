"""The figure of the data path: from an ND2 file through its index to arrays and references."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch, Rectangle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRAME, MAP, INDEX, PLAN = "#6aa84f55", "#e0953855", "#e0b93855", "#4c8dc455"

# Chunks of a file, in file order: label, width, color.
CHUNKS = (
    ("frame 0", 0.9, FRAME),
    ("frame 1", 0.9, FRAME),
    ("…", 0.4, "none"),
    ("frame n", 0.9, FRAME),
    ("metadata", 1.0, "none"),
    ("map", 0.7, MAP),
)
ARRAYS = (("NumPy", "asarray"), ("dask", "to_dask"), ("xarray", 'engine="nd2"'))
REFERENCES = (("kerchunk", "JSON, Parquet"), ("VirtualiZarr", "Icechunk"), ("intake", "catalogs"))


def data_path() -> Figure:
    """Draw the file as a strip of chunks, the index below it, and the users of the index below that."""
    figure, axis = plt.subplots(figsize=(5, 5.2), layout="constrained")
    axis.set(xlim=(0, 5), ylim=(0, 5.2))
    axis.set_axis_off()
    edge = plt.rcParams["axes.edgecolor"]

    axis.text(0.1, 5.0, "ND2 file, on a disk, a web server or S3", fontsize=9, weight="bold")
    x = 0.1
    for label, width, color in CHUNKS:
        axis.add_patch(Rectangle((x, 4.4), width, 0.45, fc=color, ec=edge))
        axis.text(x + width / 2, 4.62, label, ha="center", va="center", fontsize=8.5)
        x += width

    _arrow(axis, (4.0, 4.4), (3.3, 3.95))
    axis.text(3.9, 4.13, "read once", fontsize=8, va="center")
    text = "location of each frame, pixel layout,\naxes, times, positions, channels"
    _box(axis, 1.0, 3.2, 3.0, 0.7, "index", INDEX, text)

    _arrow(axis, (1.8, 3.2), (1.2, 2.75))
    _arrow(axis, (3.2, 3.2), (3.8, 2.75))
    _box(axis, 0.1, 2.05, 2.25, 0.65, "read plan", PLAN, "only selected frames and rows")
    _box(axis, 2.65, 2.05, 2.25, 0.65, "references", PLAN, "file, offset, length per chunk")
    for left, rows in ((0.1, ARRAYS), (2.65, REFERENCES)):
        _arrow(axis, (left + 1.1, 2.05), (left + 1.1, 1.72))
        for i, (title, text) in enumerate(rows):
            y = 1.2 - 0.57 * i
            axis.add_patch(FancyBboxPatch((left, y), 2.25, 0.4, boxstyle="round,pad=0.03", fc="none", ec=edge, lw=0.8))
            axis.text(left + 0.1, y + 0.2, title, va="center", weight="bold", fontsize=8.5)
            axis.text(left + 2.15, y + 0.2, text, va="center", ha="right", fontsize=8)
    return figure


def _box(axis: Axes, x: float, y: float, width: float, height: float, title: str, color: str, text: str) -> None:
    edge = plt.rcParams["axes.edgecolor"]
    axis.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0.03", fc=color, ec=edge, lw=0.8))
    center = x + width / 2
    axis.text(center, y + height - 0.15, title, ha="center", va="center", weight="bold", fontsize=9)
    axis.text(center, y + (height - 0.25) / 2, text, ha="center", va="center", fontsize=8)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    color = plt.rcParams["axes.edgecolor"]
    axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "shrinkA": 0, "shrinkB": 0})
