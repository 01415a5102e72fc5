"""Pictures of the page about napari: synthetic files that look like cells, shown by the plugin.

``make napari-pictures`` writes them into ``docs/images``, on a virtual display if there is no other.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from PIL import Image
from qtpy.QtWidgets import QApplication
from scipy.ndimage import gaussian_filter

import nd2
from nd2.structures import ChannelMeta, Color, Microscope, Position, StagePosition
from xarray_nd2.napari import add_layers

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGES = Path(__file__).parent / "images"
SIDE = 384


class Cells:
    """Cells in a field: a nucleus and a body each, at random places that keep a distance.

    Attributes
    ----------
    nuclei, bodies : ndarray of int, shape (SIDE, SIDE)
        Number of the cell at each pixel, 0 for background.
    """

    def __init__(self, seed: int, count: int = 40, radius: float = 17.0) -> None:
        self.rng = np.random.default_rng(seed)
        y, x = np.mgrid[:SIDE, :SIDE]
        self.nuclei = np.zeros((SIDE, SIDE), np.uint16)
        self.bodies = np.zeros((SIDE, SIDE), np.uint16)
        nearest = np.full((SIDE, SIDE), np.inf)
        places: list[NDArray[Any]] = []
        for _ in range(40 * count):
            place = self.rng.uniform(0, SIDE, 2)
            if len(places) < count and all(np.hypot(*(place - p)) > 2.1 * radius for p in places):
                places.append(place)
        for number, (cy, cx) in enumerate(places, start=1):
            angle, long = self.rng.uniform(0, np.pi), self.rng.uniform(1.0, 1.35)
            dy, dx = y - cy, x - cx
            along = (dx * np.cos(angle) + dy * np.sin(angle)) / long
            across = (dy * np.cos(angle) - dx * np.sin(angle)) * long**0.5
            distance = np.hypot(along, across)
            wobble = 1 + 0.12 * np.sin(3 * np.arctan2(across, along) + number)
            self.nuclei[distance < 0.62 * radius * wobble] = number
            body = (distance < 1.75 * radius * wobble) & (distance < nearest)
            self.bodies[body] = number
            nearest = np.minimum(nearest, distance)

    def noise(self, scale: float) -> NDArray[Any]:
        """Return smooth noise around 1."""
        field = gaussian_filter(self.rng.standard_normal((SIDE, SIDE)), scale)
        return np.clip(1 + 0.35 * field / field.std(), 0, None)

    def dapi(self, blur: float = 1.0) -> NDArray[Any]:
        """Return nuclei with a texture."""
        return gaussian_filter((self.nuclei > 0) * self.noise(2.5) * 2600, blur)

    def actin(self, blur: float = 1.0) -> NDArray[Any]:
        """Return the borders of the cells, and fibers in them."""
        edge = sum(np.abs(np.gradient(self.bodies.astype(float), axis=axis)) > 0 for axis in (0, 1))
        fibers = gaussian_filter(self.rng.standard_normal((SIDE, SIDE)), (0.8, 7))
        inside = (self.bodies > 0) * np.clip(fibers / fibers.std(), 0, None)
        return gaussian_filter(edge * 2600.0 + inside * 500, blur)

    def mitochondria(self, blur: float = 1.0) -> NDArray[Any]:
        """Return spots around the nuclei."""
        spots = gaussian_filter(self.rng.standard_normal((SIDE, SIDE)), 1.2)
        here = (self.bodies > 0) & (self.nuclei == 0) & (spots > 1.2 * spots.std())
        near = gaussian_filter((self.nuclei > 0).astype(float), 11)
        return gaussian_filter(here * near * 9000, blur)

    def transmitted(self) -> NDArray[Any]:
        """Return the field in bright field."""
        relief = gaussian_filter((self.bodies > 0) + 0.6 * (self.nuclei > 0), 1.5)
        return 9000 * (1 + 1.1 * np.gradient(relief, axis=1)) * (1 + 0.02 * (self.noise(1) - 1))

    def stained(self) -> NDArray[np.uint8]:
        """Return the field as a pathologist sees it, in color."""
        pink, purple, light = (np.array(c, float) for c in ((222, 140, 176), (92, 62, 138), (244, 238, 242)))
        body = gaussian_filter((self.bodies > 0).astype(float), 2)[..., None] * self.noise(4)[..., None]
        nucleus = gaussian_filter((self.nuclei > 0).astype(float), 1)[..., None]
        nucleus = nucleus * np.clip(self.noise(2)[..., None], 0.6, 1.1)
        image = light + np.clip(body, 0, 1.2) * (pink - light) * 0.85
        image = image + np.clip(nucleus, 0, 1) * (purple - image) * 0.9
        return np.clip(image + self.rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)

    def camera(self, light: NDArray[Any]) -> NDArray[np.uint16]:
        """Return light as a camera counts it."""
        return self.rng.poisson(110 + np.clip(light, 0, None)).astype(np.uint16)


def write_stack(path: Path) -> None:
    """Write a stack of nine planes at three times, of three channels and bright field."""
    names = {"BF": (255, 255, 255), "DAPI": (60, 90, 255), "Actin": (255, 60, 60), "Mito": (80, 255, 80)}
    channels = [ChannelMeta(name, i, Color(*rgb)) for i, (name, rgb) in enumerate(names.items())]
    kinds = ["brightfield", "fluorescence", "fluorescence", "fluorescence"]
    with nd2.ND2Writer(
        path,
        {"T": 3, "Z": 9, "C": 4, "Y": SIDE, "X": SIDE},
        "uint16",
        channels=channels,
        microscope=[Microscope(modalityFlags=[kind]) for kind in kinds],  # type: ignore[list-item]
        voxel_size=(0.22, 0.22, 1.0),
    ) as writer:
        for t in range(3):
            for z in range(9):
                cells, blur = Cells(3), 1.0 + abs(z - 4) * 0.8
                light = [cells.transmitted(), *(f(blur) for f in (cells.dapi, cells.actin, cells.mitochondria))]
                frame = np.stack([cells.camera(one) for one in light])
                writer.write_frame({"T": t, "Z": z}, frame, time=60_000.0 * t + 400.0 * z)


def write_slide(path: Path) -> None:
    """Write an image in color."""
    image = Cells(11, count=60, radius=13).stained()
    nd2.imwrite(path, image, axes="YXS", voxel_size=(0.5, 0.5))


def write_plate(path: Path, columns: int = 4, rows: int = 3, step: float = 1.06) -> None:
    """Write a field in each of some wells, with the nuclei as a binary layer."""
    wells = [(row, column) for row in range(rows) for column in range(columns)]
    fields = [Cells(20 + i, count=12 + 4 * i) for i in range(len(wells))]
    masks = np.stack([field.nuclei for field in fields])
    pixel = 0.65
    with nd2.ND2Writer(
        path,
        {"P": len(wells), "C": 2, "Y": SIDE, "X": SIDE},
        "uint16",
        channels=[ChannelMeta("DAPI", 0, Color(60, 90, 255)), ChannelMeta("Actin", 1, Color(255, 170, 60))],
        positions=[
            Position(
                StagePosition(column * SIDE * pixel * step, row * SIDE * pixel * step, 0.0),
                name=f"{'ABC'[row]}{column + 1}",
            )
            for row, column in wells
        ],
        voxel_size=(pixel, pixel),
        labels={"nuclei": masks},
    ) as writer:
        for index, field in enumerate(fields):
            light = [field.camera(one) for one in (field.dapi(), field.actin())]
            writer.write_frame(index, np.stack(light))


def shot(viewer: Any, name: str) -> None:
    """Save a picture of the window."""
    viewer.canvas.overlays.scale_bar.visible = True
    viewer.reset_view()
    for _ in range(50):
        QApplication.processEvents()
    window = Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)).convert("RGB")
    window.quantize(192, dither=Image.Dither.NONE).save(IMAGES / f"{name}.png", optimize=True)


def main() -> None:
    """Write the files and their pictures."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1180, 760)
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (
            ("napari-stack", write_stack),
            ("napari-color", write_slide),
            ("napari-plate", write_plate),
        ):
            path = Path(folder) / f"{name}.nd2"
            write(path)
            viewer.layers.clear()
            add_layers(viewer, path)
            shot(viewer, name)
        viewer.layers.clear()
        add_layers(viewer, path, positions="layers")
        shot(viewer, "napari-positions")
    viewer.close()


if __name__ == "__main__":
    main()
