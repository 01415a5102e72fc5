"""Segment nuclei, and write image and labels, as a binary layer, to an ND2 file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from scipy import ndimage

import nd2

OUT = Path("demo-output")


def acquire(path: Path) -> None:
    """Write three time points of ten drifting nuclei."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:160, :200]
    rows, columns = np.divmod(np.arange(10), 5)
    centers = np.stack([45 + 65 * rows, 25 + 36 * columns], -1) + rng.uniform(-6, 6, (10, 2))
    frames = []
    for t in range(3):
        squared = (y[..., None] - centers[:, 0] - 2 * t) ** 2
        squared = squared + (x[..., None] - centers[:, 1] - 3 * t) ** 2
        frames.append(rng.poisson(100 + 1500 * np.exp(-squared / 50).sum(-1)).astype(np.uint16))
    nd2.imwrite(path, np.stack(frames), axes="TYX", channels=["DAPI"], voxel_size=(0.325, 0.325))


def segment(plane: np.ndarray) -> np.ndarray:
    """Return the number of the nucleus at each pixel, 0 for background."""
    smooth = ndimage.gaussian_filter(plane.astype(np.float32), 2)
    labels, _ = ndimage.label(smooth > (smooth.min() + smooth.max()) / 3)
    return np.asarray(labels, np.uint32)


def main() -> None:
    """Write a file, segment it frame by frame, write image and labels, and measure the nuclei."""
    OUT.mkdir(exist_ok=True)
    source, dest = OUT / "nuclei.nd2", OUT / "nuclei-segmented.nd2"
    if not source.exists():
        acquire(source)

    with xr.open_dataset(source, engine="nd2") as dataset:
        labels = xr.apply_ufunc(
            segment, dataset.image, input_core_dims=[["Y", "X"]], output_core_dims=[["Y", "X"]], vectorize=True
        )
        # a variable named labels_... becomes a binary layer of that name
        nd2.imwrite(dest, dataset[["image"]].assign(labels_nuclei=labels), overwrite=True)

    with xr.open_dataset(dest, engine="nd2") as segmented:
        pixel = float(segmented.X[1] - segmented.X[0])
        for image, mask in zip(segmented.image, segmented.labels_nuclei, strict=True):
            numbers, areas = np.unique(mask.values[mask.values > 0], return_counts=True)
            means = ndimage.mean(image.values, mask.values, numbers)
            print(f"{len(numbers)} nuclei of {areas.mean() * pixel**2:.0f} µm², mean {np.mean(means):.0f}")
        assert np.array_equal(segmented.labels_nuclei.values, labels.values)
    print(f"wrote {dest}")


if __name__ == "__main__":
    main()
