"""Write a file, open it with the engine and as virtual Zarr, crop it, and save a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

import nd2
from xarray_nd2 import write_kerchunk

OUT = Path("demo-output")


def cells() -> xr.DataArray:
    """Return moving cells in and out of focus: nuclei and cytoplasm, with coordinates."""
    times, heights, height, width, pixel = 4, 5, 160, 200, 0.325
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width]
    image = np.empty((times, heights, 2, height, width), np.uint16)
    centers = rng.uniform(0.05, 0.95, (12, 2)) * (height, width)
    drift = rng.normal(0, 3, (12, 2))
    shapes = rng.uniform(0.8, 1.3, (12, 2)) * 9.0
    brightness = rng.uniform(0.5, 1.2, 12)
    for t, z in np.ndindex(times, heights):
        sharp = 12 / (1 + abs(z - (heights - 1) / 2))
        place = centers + drift * t
        v, u = ((y[..., None] - place[:, 0]) / shapes[:, 0], (x[..., None] - place[:, 1]) / shapes[:, 1])
        radius = np.hypot(u, v)
        nucleus = 1 / (1 + np.exp(np.clip(sharp * (radius - 1), -50, 50)))
        body = 1 / (1 + np.exp(np.clip(sharp * (radius / 2.3 - 1), -50, 50)))
        cytoplasm = body * (1 - 0.8 * nucleus) / (0.7 + radius)
        for channel, light in enumerate((nucleus, cytoplasm)):
            image[t, z, channel] = rng.poisson(100 + 900 * (brightness * light).max(-1))
    return xr.DataArray(
        image,
        dims=("T", "Z", "C", "Y", "X"),
        coords={
            "T": ("T", np.arange(4.0), {"units": "s"}),
            "Z": ("Z", 2.0 * np.arange(-2, 3), {"units": "micrometer"}),
            "C": ["DAPI", "GFP"],
            "Y": ("Y", pixel * np.arange(height), {"units": "micrometer"}),
            "X": ("X", pixel * np.arange(width), {"units": "micrometer"}),
            "temperature": ("T", [36.9, 37.0, 37.1, 37.0], {"units": "degree_Celsius"}),
        },
    )


def main() -> None:
    """Write a file, open it in every way, compare, and save a picture."""
    OUT.mkdir(exist_ok=True)
    path = OUT / "cells.nd2"
    image = cells()
    nd2.imwrite(path, image, compression="zlib", text_info={"description": "made by the demo"}, overwrite=True)
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)\n")

    dataset = xr.open_dataset(path, engine="nd2")
    print(dataset, "\n")

    references = OUT / "cells.json"
    write_kerchunk(path, references, overwrite=True)
    virtual = xr.open_dataset(str(references), engine="kerchunk")
    print(f"wrote {references} ({references.stat().st_size / 1e3:.0f} kB), opened with zarr: {dict(virtual.sizes)}")

    part = OUT / "cells-focus.nd2"
    with nd2.ND2File(path) as file:
        file.write_nd2(part, T=slice(1, 3), Z=2, overwrite=True)
    print(f"wrote {part}, the focus of two time points: {nd2.imread(part).shape}\n")

    pixels = nd2.imread(path)
    assert np.array_equal(pixels, image)
    assert np.array_equal(dataset.image.values, pixels)
    assert np.array_equal(virtual.image.transpose(*dataset.image.dims).values, pixels)
    print("pixels: nd2.imread == engine == references\n")

    picture = OUT / "cells.png"
    dataset.nd2.plot(T=0, Z=2).savefig(picture, dpi=110)
    print(f"wrote {picture}")


if __name__ == "__main__":
    main()
