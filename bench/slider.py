"""Time of a step of a slider in napari, apart from drawing: a local time-lapse of 2 channels of 2048 x 2048 pixels.

``python -m bench.slider`` needs napari, but no display: the viewer has no window. ``make napari`` makes the
environment: ``.venv-napari/bin/python -m bench.slider``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from napari.components import ViewerModel

import nd2
from xarray_nd2.napari import add_layers

SHAPE = (2, 2048, 2048)


def write(path: Path, steps: int) -> None:
    """Write the file."""
    frame = np.random.default_rng(0).integers(100, 4000, SHAPE).astype(np.uint16)
    sizes = dict(zip("TCYX", (steps, *SHAPE), strict=True))
    with nd2.ND2Writer(path, sizes, "uint16", channels=["DAPI", "GFP"]) as writer:
        for step in range(steps):
            writer.write_frame(step, frame + np.uint16(step))


def measure(viewer: ViewerModel, steps: int, path: Path) -> dict[str, list[float]]:
    """Return for each step of the slider its seconds, its CPU seconds, and the seconds of only reading the frame."""
    times: dict[str, list[float]] = {"step": [], "processor": [], "reading": []}
    with nd2.ND2File(path) as file:
        for step in range(steps):
            start, busy = time.perf_counter(), time.process_time()
            viewer.dims.set_current_step(0, step)
            times["step"].append(time.perf_counter() - start)
            times["processor"].append(time.process_time() - busy)
            start = time.perf_counter()
            frame = file.read_frame(step)
            times["reading"].append(time.perf_counter() - start)
            # what the viewer would draw
            shown = [np.asarray(layer._slice.image.raw) for layer in viewer.layers]  # noqa: SLF001
            np.testing.assert_array_equal(np.stack(shown), frame)
    return times


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nd2"
        write(path, steps)
        viewer = ViewerModel()
        start = time.perf_counter()
        add_layers(viewer, path)
        print(f"load {os.getloadavg()[0]:.1f}; open and show: {time.perf_counter() - start:.3f} s")
        # The cache is limited to 256 MiB, 16 frames, so the second round reads all frames again.
        for name in ("first round", "second round"):
            print(f"{name}, milliseconds: minimum, median, maximum")
            for what, seconds in measure(viewer, steps, path).items():
                values = (min(seconds), statistics.median(seconds), max(seconds))
                print(f"  {what:10}", *(f"{1000 * value:7.1f}" for value in values))


if __name__ == "__main__":
    main()
