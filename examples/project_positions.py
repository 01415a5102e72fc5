"""Project the stacks of all positions, and write one OME-TIFF with a series for each position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

import nd2

OUT = Path("demo-output")


def acquire(path: Path) -> None:
    """Write three positions with a stack of seven planes each, in two channels."""
    sizes = {"P": 3, "Z": 7, "C": 2, "Y": 96, "X": 128}
    rng = np.random.default_rng(1)
    y, x = np.mgrid[: sizes["Y"], : sizes["X"]]
    with nd2.ND2Writer(
        path,
        sizes,
        np.uint16,
        channels=["DAPI", "GFP"],
        voxel_size=(0.325, 0.325, 1.5),
        positions=["control", "drug 1 nM", "drug 10 nM"],
    ) as writer:
        for p in range(sizes["P"]):
            centers = rng.uniform(10, 86, (8, 2))
            for z in range(sizes["Z"]):
                width = 4 + abs(z - 3)
                squared = (y[..., None] - centers[:, 0]) ** 2 + (x[..., None] - centers[:, 1]) ** 2
                light = np.exp(-squared / (2 * width**2)).sum(-1)
                frame = rng.poisson([100 + 900 * light, 100 + 300 * (p + 1) * light])
                writer.write_frame({"P": p, "Z": z}, frame.astype(np.uint16), time=50.0 * z)


def project(source: Path, dest: Path) -> None:
    """Write the maximum along Z of every position and channel as OME-TIFF."""
    with xr.open_dataset(source, engine="nd2", chunks={}) as dataset:
        # The labels include the names of positions and channels, and the pixel size.
        dataset.image.max("Z").nd2.write_tiff(dest, overwrite=True)


def main() -> None:
    """Write the file, project it, and print the result."""
    import tifffile

    OUT.mkdir(exist_ok=True)
    source, dest = OUT / "positions.nd2", OUT / "projections.ome.tif"
    if not source.exists():
        acquire(source)
    project(source, dest)
    with tifffile.TiffFile(dest) as tiff:
        for series in tiff.series:
            print(series.name, series.axes, series.shape, series.asarray().mean((-2, -1)).round())
    print(f"wrote {dest}")


if __name__ == "__main__":
    main()
