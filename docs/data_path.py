"""The figure of the data path: from an ND2 file through its index to arrays and references."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch, Rectangle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EDGE, FILL, FRAME, MAP, INDEX = "#34648c", "#e8f0f8", "#cfe3c8", "#f4d9b0", "#fdf3dc"

# Chunks of a file, in file order: label, width, color.
CHUNKS = (
    ("header", 0.8, "white"),
    ("frame 0", 1.3, FRAME),
    ("frame 1", 1.3, FRAME),
    ("frame 2", 1.3, FRAME),
    ("…", 0.5, "white"),
    ("frame n", 1.3, FRAME),
    ("metadata", 1.6, "white"),
    ("chunk map", 1.7, MAP),
    ("tail", 0.7, "white"),
)
ARRAYS = (
    ("NumPy", "imread, asarray"),
    ("dask", "to_dask: one block\nper frame"),
    ("xarray", 'engine="nd2": labels,\nlazy selection'),
)
REFERENCES = (
    ("kerchunk", "JSON or Parquet"),
    ("VirtualiZarr", "and Icechunk"),
    ("intake", "a catalog entry"),
)


def data_path() -> Figure:
    """Draw the file as a strip of chunks, the index below it, and the users of the index below that."""
    figure, axis = plt.subplots(figsize=(12, 6.6), layout="constrained")
    axis.set(xlim=(0, 12), ylim=(0, 6.6))
    axis.set_axis_off()

    axis.text(0.3, 6.35, "an ND2 file, on a disk, a web server or S3", fontsize=11)
    x = 0.3
    for label, width, color in CHUNKS:
        axis.add_patch(Rectangle((x, 5.5), width, 0.65, fc=color, ec=EDGE))
        axis.text(x + width / 2, 5.82, label, ha="center", va="center", fontsize=10)
        x += width

    _arrow(axis, (9.2, 5.5), (8.2, 4.75))
    _note(axis, 9.0, 5.1, "the map and the metadata,\nread once")
    _box(axis, 3.2, 3.6, 5.6, 1.1, "index", INDEX, 11)
    axis.text(
        6.0,
        3.95,
        "frames: offset, length    pixels: shape, strides, codec\nlabels: axes, times, z, channels, positions",
        ha="center",
        va="center",
        fontsize=9,
    )

    _arrow(axis, (4.6, 3.57), (4.0, 2.99))
    _arrow(axis, (7.4, 3.57), (8.0, 2.99))
    _box(
        axis,
        1.3,
        2.15,
        3.8,
        0.8,
        "read plan",
        FILL,
        10,
        "only the selected frames and rows",
    )
    _box(
        axis,
        6.9,
        2.15,
        3.8,
        0.8,
        "references",
        FILL,
        10,
        "file, offset and length of every Zarr chunk",
    )

    _arrow(axis, (1.75, 5.5), (1.75, 2.99))
    _note(axis, 1.85, 4.2, "exact byte\nranges, in\nparallel")
    _arrow(axis, (10.8, 5.82), (11.8, 1.25), "angle,angleA=180,angleB=90")
    _note(axis, 10.15, 3.9, "the same byte\nranges, for any\nZarr reader, without\nthis package")

    for i, (title, text) in enumerate(ARRAYS):
        _arrow(axis, (3.2, 2.12), (1.2 + 2.0 * i, 1.14))
        _box(axis, 0.3 + 2.0 * i, 0.2, 1.75, 0.9, title, "white", 10, text)
    for i, (title, text) in enumerate(REFERENCES):
        _arrow(axis, (8.8, 2.12), (7.25 + 1.9 * i, 1.14))
        _box(axis, 6.4 + 1.9 * i, 0.2, 1.7, 0.9, title, "white", 10, text)
    return figure


def _box(
    axis: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    title: str,
    color: str,
    size: int,
    text: str = "",
) -> None:
    axis.add_patch(
        FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0.03", fc=color, ec=EDGE)
    )
    axis.text(
        x + width / 2,
        y + height - 0.22,
        title,
        ha="center",
        va="center",
        weight="bold",
        fontsize=size,
    )
    axis.text(x + width / 2, y + (height - 0.3) / 2, text, ha="center", va="center", fontsize=8)


def _note(axis: Axes, x: float, y: float, text: str) -> None:
    axis.text(x, y, text, fontsize=8.5, va="center", color=EDGE)


def _arrow(
    axis: Axes, start: tuple[float, float], end: tuple[float, float], path: str = "arc3"
) -> None:
    style = {
        "arrowstyle": "-|>",
        "color": EDGE,
        "connectionstyle": path,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axis.annotate("", end, start, arrowprops=style)
