"""The documentation's figures: the data path, and looks at the example files through the package itself."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("agg")

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from example_files import write_example_files
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch

if TYPE_CHECKING:
    from pathlib import Path

STAGES = (
    ("bytes", "a local file, HTTP, S3:\nexact ranges, many at once"),
    ("chunk map", "where every chunk starts,\nread once, into arrays"),
    ("frame table", "offset and length of each\nframe; pickles to 16 bytes each"),
    ("read plan", "frames in file order, ranges\nmerged, rows of a crop only"),
    ("one array", "inflated and de-interleaved\nstraight into its place"),
)


def build_figures(folder: Path) -> None:
    """Write all figures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = folder.parent / "files"
    files.mkdir(exist_ok=True)
    write_example_files(files)
    data_path(folder / "data_path.png")
    z_stack(files / "experiment.nd2", folder / "z_stack.png")
    composite(files / "experiment.nd2", folder / "composite.png")
    plate(files / "plate.nd2", folder / "plate.png")


def data_path(path: Path) -> None:
    """From a byte to an array, in five boxes."""
    figure, axis = plt.subplots(figsize=(11, 2.2), layout="constrained")
    for i, (title, text) in enumerate(STAGES):
        axis.add_patch(
            FancyBboxPatch(
                (i * 2.2, 0), 1.8, 1, boxstyle="round,pad=0.08", fc="#e8f0f8", ec="#34648c"
            )
        )
        axis.text(i * 2.2 + 0.9, 0.8, title, ha="center", va="center", weight="bold")
        axis.text(i * 2.2 + 0.9, 0.33, text, ha="center", va="center", fontsize=8)
        if i:
            axis.annotate(
                "", (i * 2.2 - 0.1, 0.5), (i * 2.2 - 0.3, 0.5), arrowprops={"arrowstyle": "->"}
            )
    axis.set_xlim(-0.2, len(STAGES) * 2.2 - 0.2)
    axis.set_ylim(-0.2, 1.2)
    axis.set_axis_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def z_stack(file: Path, path: Path) -> None:
    """Show the planes of a stack, labelled with their heights."""
    stack = xr.open_dataset(file, engine="nd2").image.isel(T=0, C=0)
    figure, axes = plt.subplots(1, stack.sizes["Z"], figsize=(11, 2.4), layout="constrained")
    top = float(stack.max())
    for axis, plane in zip(axes, stack, strict=True):
        axis.imshow(plane, cmap="gray", vmax=top)
        axis.set_title(f"Z = {float(plane.Z):+g} µm", fontsize=9)
        axis.set_axis_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def composite(file: Path, path: Path) -> None:
    """Both channels in their colours."""
    planes = xr.open_dataset(file, engine="nd2").image.isel(T=0).sel(Z=0)
    figure, axis = plt.subplots(figsize=(5, 4), layout="constrained")
    rgb = np.zeros((*planes.shape[1:], 3))
    for plane, colour in zip(planes, ((0.2, 0.4, 1.0), (0.1, 1.0, 0.2)), strict=True):
        rgb += (plane.values / float(plane.max()))[..., None] * colour
    axis.imshow(rgb.clip(0, 1))
    axis.set_axis_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plate(file: Path, path: Path) -> None:
    """One tile a position, in the place of its well."""
    dataset = xr.open_dataset(file, engine="nd2")
    names = [str(name) for name in dataset.position_name.values]
    rows, columns = sorted({n[0] for n in names}), sorted({n[1:] for n in names})
    figure, axes = plt.subplots(
        len(rows), len(columns), figsize=(6, 4.2), layout="constrained", squeeze=False
    )
    for name, image in zip(names, dataset.image, strict=True):
        axis = axes[rows.index(name[0]), columns.index(name[1:])]
        axis.imshow(image, cmap="gray")
        axis.set_title(name, fontsize=9)
        axis.set_axis_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)
