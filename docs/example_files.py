"""The small synthetic files that the documentation's examples use, written by the package."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

import nd2
from nd2.structures import Position, StagePosition

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Cells:
    """Synthetic cells in one field: positions drift with time, shapes and textures are fixed."""

    height: int
    width: int
    radius: float
    """Mean radius of a nucleus in pixels."""
    count: int
    seed: int

    def channels(self, time: float = 0.0, defocus: float = 0.0) -> NDArray[np.uint16]:
        """Return the nuclei and the cytoplasm as a camera records them, shape (2, height, width).

        Parameters
        ----------
        time
            Cells drift by about an eighth of their radius per step; the cytoplasm gets brighter.
        defocus
            Distance from the focal plane, in steps of the stack. Light spreads, and is not lost.
        """
        sigma = 0.8 + 0.16 * self.radius * abs(defocus)
        noise = np.random.default_rng((self.seed, round(100 * time), round(100 * (defocus + 50))))
        photons = [
            _smooth(light, sigma, normalize=False) * bright + haze
            for light, bright, haze in zip(self._light(time), (420, 300), (9, 14), strict=True)
        ]
        y, x = np.linspace(-0.5, 0.5, self.height)[:, None], np.linspace(-0.5, 0.5, self.width)
        lamp = 1.05 - 0.25 * (y**2 + x**2)
        camera = 100 + 4 * noise.poisson(lamp * np.clip(photons, 0, None))
        return np.clip(camera + noise.normal(0, 5, camera.shape), 0, 65535).astype(np.uint16)

    @lru_cache(1)  # noqa: B019  # one field at a time, a few megabytes
    def _light(self, time: float) -> NDArray[np.float32]:
        """Return the light of nuclei and cytoplasm in focus, shape (2, height, width)."""
        rng = np.random.default_rng(self.seed)
        shape = (self.height, self.width)
        y, x = np.mgrid[: self.height, : self.width].astype(np.float32)
        fine = _smooth(rng.normal(size=shape), 1.2)
        coarse = _smooth(rng.normal(size=shape), self.radius / 3)
        fibers = np.exp(-((_smooth(rng.normal(size=shape), self.radius / 4) / 0.35) ** 2))
        nuclei, cytoplasm = np.zeros((2, *shape), np.float32)
        for row, column in self._centers(rng):
            a, b = self.radius * rng.uniform(0.85, 1.15), self.radius * rng.uniform(0.65, 0.9)
            angle, phases = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 3)
            stain, expression = rng.uniform(0.7, 1.2), rng.lognormal(-0.2, 0.5)
            drift = rng.normal(0, self.radius / 8, 2) * time
            dy, dx = y - row - drift[0], x - column - drift[1]
            u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
            nucleus = _inside(1 - np.hypot(u / a, v / b), 14)
            theta = np.arctan2(v, u)
            edge = 1 + 0.16 * np.cos(2 * theta + phases[0]) + 0.1 * np.cos(3 * theta + phases[1])
            edge += 0.05 * np.cos(7 * theta + phases[2])
            body = _inside(edge - np.hypot(u / (2.5 * a), v / (2.3 * b)), 12)
            for _ in range(2):  # nucleoli are dark
                ny, nx = rng.normal(0, 0.35, 2)
                spot = np.exp(-((u / a - nx) ** 2 + (v / b - ny) ** 2) / 0.02)
                nucleus = nucleus * (1 - 0.5 * spot)
            nuclei = np.maximum(nuclei, stain * nucleus)
            thick = 0.35 + 0.65 * np.exp(-((np.hypot(u, v) / (1.6 * a)) ** 2))
            light = expression * body * thick * (1 - 0.55 * nucleus) * (1 + 0.12 * time)
            cytoplasm = np.maximum(cytoplasm, light)
        nuclei *= 1 + 0.22 * fine + 0.15 * coarse
        cytoplasm *= 0.5 + 0.75 * fibers + 0.1 * fine
        return np.clip([nuclei, cytoplasm], 0, None)

    def _centers(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return (row, column) of cells that keep their distance, shape (count, 2)."""
        found = np.empty((0, 2))
        for _ in range(40 * self.count):
            center = rng.uniform(-0.02, 1.02, 2) * (self.height, self.width)
            if (np.hypot(*(found - center).T) > 3.1 * self.radius).all():
                found = np.vstack([found, center])
            if len(found) == self.count:
                break
        return found


def _smooth(image: NDArray[Any], sigma: float, normalize: bool = True) -> NDArray[np.float32]:
    """Convolve an image with a Gaussian; ``normalize`` gives noise a standard deviation of 1."""
    rows = np.fft.fftfreq(image.shape[0])[:, None]
    columns = np.fft.rfftfreq(image.shape[1])
    gauss = np.exp(-2 * (np.pi * sigma) ** 2 * (rows**2 + columns**2))
    smooth = np.fft.irfft2(np.fft.rfft2(image) * gauss, image.shape)
    return (smooth / smooth.std() if normalize else smooth).astype(np.float32)


def _inside(distance: NDArray[Any], steepness: float) -> NDArray[Any]:
    """Return 1 inside of an outline, 0 outside, with a soft edge."""
    return 1 / (1 + np.exp(np.clip(-steepness * distance, -50, 50)))


def write_example_files(folder: Path) -> None:
    """Write the example files.

    ``experiment.nd2`` (time, stack, two channels), copies of it, ``broken.nd2``, ``plate.nd2``, ``fields.nd2``,
    ``color.nd2``.
    """
    experiment(folder / "experiment.nd2")
    whole = (folder / "experiment.nd2").read_bytes()
    (folder / "broken.nd2").write_bytes(whole[: len(whole) * 3 // 4])
    for day in ("monday", "tuesday"):
        shutil.copy(folder / "experiment.nd2", folder / f"{day}.nd2")
    plate(folder / "plate.nd2")
    fields(folder / "fields.nd2")
    color(folder / "color.nd2")


def experiment(path: Path) -> None:
    """Write four time points of a stack of five planes, in two channels."""
    cells = Cells(240, 320, radius=15.0, count=13, seed=5)
    with nd2.ND2Writer(
        path,
        {"T": 4, "Z": 5, "C": 2, "Y": 240, "X": 320},
        np.uint16,
        channels=["DAPI", "GFP"],
        voxel_size=(0.325, 0.325, 2.0),
    ) as writer:
        for t in range(4):
            for z in range(5):
                frame = cells.channels(time=t, defocus=z - 2)
                writer.write_frame({"T": t, "Z": z}, frame, time=1000.0 * t + 120.0 * z)


def plate(path: Path) -> None:
    """Write one frame in each of 24 wells, with more cells in wells further to the right."""
    wells = [(row, column) for row in range(4) for column in range(6)]
    positions = [
        Position(StagePosition(19300.0 * column, 19300.0 * row, 0.0), name=f"{'ABCD'[row]}{column + 1}")
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
            _, cytoplasm = Cells(120, 120, radius=6.0, count=3 + 5 * column, seed=i).channels()
            writer.write_frame({"P": i}, cytoplasm)


def fields(path: Path) -> None:
    """Write six overlapping fields of one sheet of cells, with their stage positions."""
    sheet = Cells(310, 560, radius=12.0, count=60, seed=11).channels()
    places = [(110 * row, 180 * column) for row in range(2) for column in range(3)]
    pixel = 0.65
    positions = [
        Position(StagePosition(pixel * column, pixel * row, 0.0), name=f"field {i + 1}")
        for i, (row, column) in enumerate(places)
    ]
    with nd2.ND2Writer(
        path,
        {"P": len(places), "C": 2, "Y": 200, "X": 200},
        np.uint16,
        channels=["DAPI", "GFP"],
        voxel_size=(pixel, pixel, 1.0),
        positions=positions,
    ) as writer:
        for i, (row, column) in enumerate(places):
            writer.write_frame({"P": i}, sheet[:, row : row + 200, column : column + 200])


def color(path: Path) -> None:
    """Write one color image: a red, a green and a blue disk."""
    y, x = np.mgrid[:96, :128]
    image = np.full((96, 128, 3), 235, np.uint8)
    for k, center in enumerate(((40, 40), (40, 88), (62, 64))):
        inside = (y - center[0]) ** 2 + (x - center[1]) ** 2 < 26**2
        image[inside] = np.eye(3, dtype=np.uint8)[k] * 200
    nd2.imwrite(path, image, axes="YXS")
