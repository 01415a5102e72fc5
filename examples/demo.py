"""The main job on a file that the demo writes itself: open with the engine, refer to the bytes, look at the picture."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
mpl.use("agg")

from matplotlib import pyplot as plt

import nd2
from tests.builder import Nd2Spec, build
from xarray_nd2 import write_kerchunk

OUT = Path("demo-output")


class Cells(Nd2Spec):
    """Blobs that move in time and go in and out of focus, in two channels."""

    @property
    def frames(self) -> np.ndarray:
        """Pixels of all frames, shape (n, C, Y, X, S)."""
        _times, heights = (count for _, count in self.loops)
        rng = np.random.default_rng(7)
        y, x = np.mgrid[: self.height, : self.width]
        out = np.empty((self.frame_count, *self.layout.shape), self.dtype)
        centres = rng.uniform(0.1, 0.9, (14, 2)) * (self.height, self.width)
        drift = rng.normal(0, 6, (14, 2))
        for index in range(self.frame_count):
            t, z = divmod(index, heights)
            blur = 1 + abs(z - (heights - 1) / 2)
            for channel, size in enumerate((9.0, 4.0)):
                where = centres + drift * t
                distance = (y[..., None] - where[:, 0]) ** 2 + (x[..., None] - where[:, 1]) ** 2
                light = np.exp(-distance / (2 * (size * blur) ** 2)).sum(-1) / blur
                out[index, channel, :, :, 0] = rng.poisson(100 + 3000 * light)
        return out


def main() -> None:
    """Write a file, open it in every way, compare, and save a picture."""
    OUT.mkdir(exist_ok=True)
    path = OUT / "cells.nd2"
    spec = Cells(
        loops=(("T", 4), ("Z", 5)),
        channels=2,
        height=160,
        width=200,
        channel_names=("DAPI", "GFP"),
        times=[1000.0 * t + 120.0 * z for t in range(4) for z in range(5)],
    )
    build(path, spec)
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)\n")

    dataset = xr.open_dataset(path, engine="nd2")
    print(dataset, "\n")

    references = OUT / "cells.json"
    write_kerchunk(path, references)
    virtual = xr.open_dataset(str(references), engine="kerchunk")
    print(
        f"wrote {references} ({references.stat().st_size / 1e3:.0f} kB), opened with zarr: {dict(virtual.sizes)}"
    )

    pixels = nd2.imread(path)
    assert np.array_equal(dataset.image.values, pixels)
    assert np.array_equal(virtual.image.transpose(*dataset.image.dims).values, pixels)
    print("pixels: nd2.imread == engine == references\n")

    picture = OUT / "cells.png"
    montage(dataset, picture)
    print(f"wrote {picture}")


def montage(dataset: xr.Dataset, path: Path) -> None:
    """Channels side by side at the focus, with a scale bar."""
    plane = dataset.image.isel(T=0).sel(Z=0)
    figure, axes = plt.subplots(1, plane.sizes["C"], figsize=(9, 4), layout="constrained")
    for axis, name, colour in zip(axes, plane.C.values, ("Blues_r", "Greens_r"), strict=True):
        axis.imshow(
            plane.sel(C=name),
            cmap=colour,
            extent=(float(plane.X[0]), float(plane.X[-1]), float(plane.Y[-1]), float(plane.Y[0])),
        )
        axis.set_title(str(name))
        axis.set_axis_off()
        right, bottom = float(plane.X[-1]), float(plane.Y[-1])
        axis.plot([right - 14, right - 4], [bottom - 4] * 2, color="white", linewidth=4)
        axis.text(right - 9, bottom - 6, "10 µm", color="white", ha="center", va="bottom")
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
