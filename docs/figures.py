"""The documentation's figures: views of the example files, and the speeds of the tables."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("agg")

import shutil
from typing import TYPE_CHECKING

import speeds
import xarray as xr
from data_path import data_path
from example_files import write_example_files
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, THEIRS = "#34648c", "#c9783a"


def build_figures(folder: Path) -> None:
    """Write all figures into a folder, and the files that they show into its sibling ``files``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = folder.parent / "files"
    shutil.rmtree(files, ignore_errors=True)  # left by an earlier build
    files.mkdir()
    write_example_files(files)
    (files / "dataset.txt").write_text(dataset_as_text(files), encoding="utf-8")
    for name, draw in FIGURES.items():
        figure = draw(files)
        figure.savefig(folder / name, dpi=150)
        plt.close(figure)


def dataset_as_text(files: Path) -> str:
    """Return the printed form of a dataset, without attributes."""
    with (
        xr.open_dataset(files / "experiment.nd2", engine="nd2") as dataset,
        xr.set_options(display_expand_attrs=False, display_max_rows=30),
    ):
        return f"{dataset}\n"


def z_stack(files: Path) -> Figure:
    """Draw the planes of a stack, labeled with their z, one row per channel."""
    with xr.open_dataset(files / "experiment.nd2", engine="nd2") as dataset:
        stack = dataset.image.isel(T=0).transpose("C", "Z", ...).load()
    figure, axes = plt.subplots(
        stack.sizes["C"], stack.sizes["Z"], figsize=(11, 3.9), layout="constrained"
    )
    for row, channel in zip(axes, stack, strict=True):
        low, high = float(channel.min()), float(channel.max())
        for axis, plane in zip(row, channel, strict=True):
            axis.imshow(plane, cmap="gray", vmin=low, vmax=high)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(str(channel.C.item()))
    for axis, z in zip(axes[0], stack.Z.values, strict=True):
        axis.set_title(f"Z = {z:g} µm", fontsize=10)
    return figure


def composite(files: Path) -> Figure:
    """Draw both channels and their composite, for the page on the engine."""
    with xr.open_dataset(files / "experiment.nd2", engine="nd2") as dataset:
        figure: Figure = dataset.nd2.plot(T=1, Z=2)
    return figure


def plate(files: Path) -> Figure:
    """Draw one tile per position, in the place of its well."""
    with xr.open_dataset(files / "plate.nd2", engine="nd2") as dataset:
        image = dataset.image.load()
    names = [str(name) for name in image.position_name.values]
    rows = sorted({name[0] for name in names})
    columns = sorted({name[1:] for name in names}, key=int)
    figure, axes = plt.subplots(
        len(rows), len(columns), figsize=(8, 5.6), layout="constrained", squeeze=False
    )
    low, high = float(image.min()), float(image.max())
    for name, well in zip(names, image, strict=True):
        axis = axes[rows.index(name[0]), columns.index(name[1:])]
        axis.imshow(well, cmap="gray", vmin=low, vmax=high)
        axis.set_title(name, fontsize=9)
        axis.set_axis_off()
    return figure


def speed(_: Path) -> Figure:
    """Draw how many times as fast as nd2 each piece of work is, from the tables of the page on performance."""
    found = [s for s in speeds.local_speeds() if s.ours and s.theirs]
    times = [speeds.seconds(s.theirs) / speeds.seconds(s.ours) for s in found]
    figure, axis = plt.subplots(figsize=(11, 1.3 + 0.3 * len(found)), layout="constrained")
    axis.barh(range(len(found)), [t - 1 for t in times], left=1, color=[_color(t) for t in times])
    axis.set_xscale("log")
    axis.set_xlim(min(0.5, *times) / 1.1, max(times) * 8)
    axis.axvline(1, color="black", linewidth=0.8)
    for i, (one, ratio) in enumerate(zip(found, times, strict=True)):
        text = f"  {ratio:.3g} x   ({one.ours}; nd2 {one.theirs})"
        axis.text(max(ratio, 1), i, text, va="center", fontsize=8)
    _work_names(axis, [s.work for s in found])
    axis.xaxis.set_major_formatter("{x:g} x")
    axis.set_xlabel("times as fast as nd2 0.12.0 (medians)")
    return figure


def remote(_: Path) -> Figure:
    """Draw requests, and seconds at 50 ms, of both readers, from the table of the page on the cloud."""
    found = speeds.remote_speeds()
    figure, panels = plt.subplots(
        1, 2, figsize=(11, 1.3 + 0.5 * len(found)), layout="constrained", sharey=True
    )
    titles = ("requests", "seconds, with 50 ms per response")
    for axis, title, pairs in zip(
        panels, titles, ([s.requests for s in found], [s.seconds for s in found]), strict=True
    ):
        for side, (label, color) in enumerate((("xarray-nd2", OURS), ("nd2 0.12.0", THEIRS))):
            known = [(i, cells[side]) for i, cells in enumerate(pairs) if cells[side] != "-"]
            places = [i + (side - 0.5) * 0.4 for i, _ in known]
            values = [float(cell) for _, cell in known]
            axis.barh(places, values, height=0.4, color=color, label=label)
            for y, value, (_, cell) in zip(places, values, known, strict=True):
                axis.text(value, y, f" {cell}", va="center", fontsize=8)
        axis.set_xscale("log")
        axis.margins(x=0.12)
        axis.set_title(title, fontsize=10)
    _work_names(panels[0], [s.work for s in found])
    panels[1].legend(loc="best", fontsize=8)
    return figure


def _color(times: float) -> str:
    return OURS if times >= 1 else THEIRS


def _work_names(axis: Axes, names: list[str]) -> None:
    axis.set_yticks(range(len(names)), [name.replace("`", "") for name in names], fontsize=9)
    axis.set_ylim(len(names) - 0.4, -0.6)


FIGURES: dict[str, Callable[[Path], Figure]] = {
    "data_path.svg": lambda _: data_path(),
    "z_stack.png": z_stack,
    "composite.png": composite,
    "plate.png": plate,
    "speed.svg": speed,
    "remote.svg": remote,
}
