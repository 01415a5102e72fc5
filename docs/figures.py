"""The documentation's figures: views of the example files, and the speeds of the tables.

Each figure is drawn twice, for light and for dark pages: ``NAME`` and ``NAME-dark``. They are about as wide as a
phone's screen, so that text of 9 points stays legible there.

``python docs/figures.py`` writes the picture of the README.
"""

from __future__ import annotations

import matplotlib as mpl

mpl.use("agg")

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import speeds
import xarray as xr
from data_path import data_path
from example_files import write_example_files
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, THEIRS = "#4c8dc4", "#c9783a"
WIDTH = 5.0
README_PICTURE = Path(__file__).parent / "images" / "cells.png"
# Colors of text and lines, by theme.
INK = {"light": "#222222", "dark": "#d8dbde"}
# Rows of the performance table that the figure shows.
SHOWN = (
    "first use: sizes, metadata",
    "open to first frame, 100,000 frames",
    "engine: open, 2 GB raw",
    "engine: open, load everything, 2 GB raw",
    "asarray, 2 GB raw",
    "asarray, 100,000 x 64x64",
    "asarray, 300 zlib frames",
    "random frame, raw",
    "random frame, zlib",
    "to_dask().compute(), 2 GB raw",
    "256 x 256 crop of a 20,000 x 20,000 frame",
    "open, metadata, experiment, events (list), 100,000 frames",
    "write_tiff, OME",
    "write_ome_zarr, tensorstore",
)


def build_figures(folder: Path) -> None:
    """Write all figures and ``dataset.txt``, a printed dataset, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        files = Path(temporary)
        write_example_files(files)
        (folder / "dataset.txt").write_text(dataset_as_text(files), encoding="utf-8")
        for theme in INK:
            for name, draw in FIGURES.items():
                with plt.rc_context(style(theme)):
                    figure = draw(files)
                    figure.savefig(folder / themed(name, theme), dpi=200, transparent=True)
                    plt.close(figure)


def themed(name: str, theme: str) -> str:
    """Return the file name of a figure for a theme."""
    return name if theme == "light" else name.replace(".", f"-{theme}.")


def style(theme: str) -> dict[str, object]:
    """Return Matplotlib's settings for a theme."""
    names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    return {
        **dict.fromkeys(names, INK[theme]),
        "axes.facecolor": "none",
        "axes.spines.right": False,
        "axes.spines.top": False,
        "font.size": 9,
        "legend.framealpha": 0,
    }


def dataset_as_text(files: Path) -> str:
    """Return the printed form of a dataset, without attributes."""
    with (
        xr.open_dataset(files / "experiment.nd2", engine="nd2") as dataset,
        xr.set_options(display_expand_attrs=False, display_max_rows=30, display_width=78),
    ):
        return f"{dataset}\n"


def z_stack(files: Path) -> Figure:
    """Draw planes of a stack, labeled with their z, one row per channel."""
    dataset = xr.open_dataset(files / "experiment.nd2", engine="nd2")
    stack = dataset.image.isel(T=0).sel(Z=[-4, 0, 4]).transpose("C", "Z", "Y", "X")
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 2.7), layout="constrained")
    for row, channel in zip(axes, stack, strict=True):
        low, high = float(channel.min()), float(channel.max())
        for axis, plane in zip(row, channel, strict=True):
            axis.imshow(plane, cmap="gray", vmin=low, vmax=high)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(str(channel.C.item()))
    for axis, z in zip(axes[0], stack.Z.values, strict=True):
        axis.set_title(f"Z = {z:g} µm", fontsize=9)
    return figure


def composite(files: Path) -> Figure:
    """Draw each channel and the composite."""
    dataset = xr.open_dataset(files / "experiment.nd2", engine="nd2")
    figure: Figure = dataset.nd2.plot(T=1, Z=2)
    figure.set_size_inches(1.25 * WIDTH, 1.85)
    return figure


def projection(files: Path) -> Figure:
    """Draw a maximum projection next to the plane in focus."""
    dataset = xr.open_dataset(files / "experiment.nd2", engine="nd2")
    stack = dataset.image.isel(T=0).sel(C="GFP")
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.1), layout="constrained")
    stack.sel(Z=0).plot.imshow(ax=axes[0], cmap="gray", robust=True, add_colorbar=False, yincrease=False)
    stack.max("Z").plot.imshow(ax=axes[1], cmap="gray", robust=True, add_colorbar=False, yincrease=False)
    for axis, title in zip(axes, ("Z = 0 µm", 'max("Z")'), strict=True):
        axis.set(title=title, xlabel="", ylabel="", xticks=[], yticks=[])
    return figure


def intensity(files: Path) -> Figure:
    """Draw the mean intensity of each channel over time."""
    dataset = xr.open_dataset(files / "experiment.nd2", engine="nd2")
    means = dataset.image.sel(Z=0).mean(["Y", "X"])
    figure, axis = plt.subplots(figsize=(WIDTH, 2.2), layout="constrained")
    for name in means.C.values:
        axis.plot(means["T"], means.sel(C=name), marker="o", label=name)
    axis.set(xlabel="time [s]", ylabel="mean intensity")
    axis.legend()
    return figure


def side_view(files: Path) -> Figure:
    """Draw a section along X and Z, with the axes in micrometers."""
    dataset = xr.open_dataset(files / "experiment.nd2", engine="nd2")
    section = dataset.image.isel(T=0, Y=slice(100, 110)).sel(C="DAPI").mean("Y")
    figure, axis = plt.subplots(figsize=(WIDTH, 1.6), layout="constrained")
    axis.pcolormesh(section.X, section.Z, section, cmap="gray", shading="nearest")
    axis.set(xlabel="X [µm]", ylabel="Z [µm]", aspect="equal")
    return figure


def plate(files: Path) -> Figure:
    """Draw one tile per position, in the place of its well."""
    dataset = xr.open_dataset(files / "plate.nd2", engine="nd2")
    figure: Figure = dataset.nd2.plate()
    figure.set_size_inches(WIDTH, 3.6)
    return figure


def mosaic(files: Path) -> Figure:
    """Draw overlapping fields as one image, each at its stage position."""
    dataset = xr.open_dataset(files / "fields.nd2", engine="nd2")
    figure, axis = plt.subplots(figsize=(WIDTH, 2.9), layout="constrained")
    picture = dataset.nd2.mosaic().nd2.rgb()
    picture.plot.imshow(ax=axis, yincrease=False)
    axis.set(xlabel="X [µm]", ylabel="Y [µm]", title="", aspect="equal")
    return figure


def speed(_: Path) -> Figure:
    """Draw how many times as fast as nd2 common tasks are, from the tables of the page on performance."""
    found = {s.work: s for s in speeds.local_speeds() if s.ours and s.theirs}
    shown = [found[work] for work in SHOWN if work in found]
    times = [speeds.seconds(s.theirs) / speeds.seconds(s.ours) for s in shown]
    figure, axis = plt.subplots(figsize=(WIDTH, 0.5 + 0.42 * len(shown)), layout="constrained")
    colors = [OURS if ratio >= 1 else THEIRS for ratio in times]
    axis.barh(range(len(shown)), [t - 1 for t in times], left=1, height=0.35, color=colors)
    axis.set_xscale("log")
    axis.set_xlim(min(0.5, *times) / 1.2, max(times) * 1.2)
    axis.axvline(1, color=plt.rcParams["axes.edgecolor"], linewidth=0.8)
    for i, (one, ratio) in enumerate(zip(shown, times, strict=True)):
        axis.text(1.04, i - 0.24, one.work, va="bottom", fontsize=8)
        axis.text(max(ratio, 1) * 1.06, i, f"{float(f'{ratio:.2g}'):g}×", va="center", fontsize=8)
    axis.set(yticks=[], ylim=(len(shown) - 0.6, -0.8), xlabel="times as fast as nd2 0.12.0")
    axis.spines.left.set_visible(False)
    axis.set_xlim(right=max(times) * 2)
    axis.xaxis.set_major_formatter("{x:g}×")
    return figure


def remote(_: Path) -> Figure:
    """Draw requests, and seconds at 50 ms, of both readers, from the table of the page on the cloud."""
    found = speeds.remote_speeds()
    figure, panels = plt.subplots(2, 1, figsize=(WIDTH, 1 + 0.9 * len(found)), layout="constrained")
    titles = ("requests", "seconds, with 50 ms per response")
    for axis, title, pairs in zip(
        panels, titles, ([s.requests for s in found], [s.seconds for s in found]), strict=True
    ):
        for side, (label, color) in enumerate((("xarray-nd2", OURS), ("nd2 0.12.0", THEIRS))):
            known = [(i, cells[side]) for i, cells in enumerate(pairs) if cells[side] != "-"]
            places = [i + side * 0.28 for i, _ in known]
            values = [float(cell) for _, cell in known]
            axis.barh(places, values, height=0.26, color=color, label=label)
            for y, value, (_, cell) in zip(places, values, known, strict=True):
                axis.text(value, y, f" {cell}", va="center", fontsize=7.5)
        axis.set_xscale("log")
        left = axis.get_xlim()[0]
        for i, s in enumerate(found):
            axis.text(left, i - 0.17, " " + s.work.replace("`", ""), va="bottom", fontsize=8)
        axis.margins(x=0.12)
        axis.set_xlim(left=left)
        axis.set(yticks=[], ylim=(len(found) - 0.4, -0.7))
        axis.set_title(title, fontsize=9)
    _legend(panels[0])
    return figure


def scaling(_: Path) -> Figure:
    """Draw CPU seconds over the number of frames and of files, from the table of the page on benchmarks."""
    found = speeds.scaling()
    units = [unit for unit in ("frames", "files") if any(counted == unit for _, counted in found)]
    figure, panels = plt.subplots(len(units), 1, figsize=(WIDTH, 2.6 * len(units)), layout="constrained", squeeze=False)
    for axis, unit in zip(panels[:, 0], units, strict=True):
        for (work, counted), points in found.items():
            if counted == unit:
                axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=work)
        axis.set(xscale="log", yscale="log", xlabel=unit, ylabel="CPU seconds")
        axis.legend(fontsize=8, frameon=False)
    return figure


def _legend(axis: Axes) -> None:
    axis.legend(loc="lower right", fontsize=8)


FIGURES: dict[str, Callable[[Path], Figure]] = {
    "scaling.svg": scaling,
    "data_path.svg": lambda _: data_path(),
    "z_stack.png": z_stack,
    "composite.png": composite,
    "projection.png": projection,
    "intensity.svg": intensity,
    "side_view.png": side_view,
    "plate.png": plate,
    "mosaic.png": mosaic,
    "speed.svg": speed,
    "remote.svg": remote,
}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        write_example_files(Path(name))
        figure = composite(Path(name))
        figure.set_size_inches(9, 2.6)
        figure.savefig(README_PICTURE, dpi=100)
