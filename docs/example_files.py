"""The small synthetic files that the documentation's examples use, written by the package."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

import nd2
from nd2.structures import Position, StagePosition

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def cells(
    height: int, width: int, size: float, seed: int, drift: float = 0.0, count: int = 14
) -> NDArray[Any]:
    """Return blobs on a dark background, shape (height, width), uint16."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    centers = rng.uniform(0.1, 0.9, (count, 2)) * (height, width) + drift
    distance = (y[..., None] - centers[:, 0]) ** 2 + (x[..., None] - centers[:, 1]) ** 2
    light = np.exp(-distance / (2 * size**2)).sum(-1) * 9 / size
    return rng.poisson(100 + 1500 * light).astype(np.uint16)


def write_example_files(folder: Path) -> None:
    """Write ``experiment.nd2`` (time, stack, two channels), ``broken.nd2``, ``plate.nd2``, ``color.nd2``."""
    experiment(folder / "experiment.nd2")
    whole = (folder / "experiment.nd2").read_bytes()
    (folder / "broken.nd2").write_bytes(whole[: len(whole) * 3 // 4])
    for day in ("monday", "tuesday"):
        shutil.copy(folder / "experiment.nd2", folder / f"{day}.nd2")
    plate(folder / "plate.nd2")
    color(folder / "color.nd2")


def experiment(path: Path) -> None:
    """Write four time points of a stack of five planes, in two channels."""
    with nd2.ND2Writer(
        path,
        {"T": 4, "Z": 5, "C": 2, "Y": 160, "X": 200},
        np.uint16,
        channels=["DAPI", "GFP"],
        voxel_size=(0.325, 0.325, 2.0),
    ) as writer:
        for t in range(4):
            for z in range(5):
                blur = 1 + abs(z - 2) / 2
                frame = [cells(160, 200, size * blur, 7, 3.0 * t) for size in (9.0, 4.0)]
                writer.write_frame({"T": t, "Z": z}, np.stack(frame), time=1000.0 * t + 120.0 * z)


def plate(path: Path) -> None:
    """Write one frame in each of 24 wells, with more cells in wells further to the right."""
    wells = [(row, column) for row in range(4) for column in range(6)]
    positions = [
        Position(
            StagePosition(19300.0 * column, 19300.0 * row, 0.0), name=f"{'ABCD'[row]}{column + 1}"
        )
        for row, column in wells
    ]
    with nd2.ND2Writer(
        path,
        {"P": len(wells), "Y": 120, "X": 120},
        np.uint16,
        channels=["GFP"],
        voxel_size=(0.65, 0.65, 1.0),
        positions=positions,
    ) as writer:
        for i, (_, column) in enumerate(wells):
            writer.write_frame({"P": i}, cells(120, 120, 5.0, i, count=3 + 5 * column))


def color(path: Path) -> None:
    """Write one color image: a red, a green and a blue disk."""
    y, x = np.mgrid[:96, :128]
    image = np.full((96, 128, 3), 235, np.uint8)
    for k, center in enumerate(((40, 40), (40, 88), (62, 64))):
        inside = (y - center[0]) ** 2 + (x - center[1]) ** 2 < 26**2
        image[inside] = np.eye(3, dtype=np.uint8)[k] * 200
    nd2.imwrite(path, image, axes="YXS")
