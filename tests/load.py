"""Open and read many files in one process with few descriptors, and say what is left at the end.

``python tests/load.py FILES LIMIT`` copies a small file FILES times, and reads all copies with at
most LIMIT descriptors: as arrays, as datasets that stay open, and through pickled dask tasks.
Prints JSON: descriptors, threads and resident memory (MiB) after the first tenth of the files, and
at the end.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import resource
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np


def usage() -> dict[str, float]:
    """Return the descriptors, threads and memory of the process."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return {
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,
        "threads": threading.active_count(),
        "mebibytes": round(int(kilobytes) / 1024, 1),
    }


def files(folder: Path, count: int) -> list[Path]:
    """Make small files, each with its own pixels."""
    import nd2

    first = folder / "0.nd2"
    pixels = np.arange(2 * 3 * 32, dtype=np.uint16).reshape(2, 3, 32)
    nd2.imwrite(first, pixels, axes="TYX")
    with nd2.ND2File(first) as file:
        offset, _ = file._reader.frames.table.location(0)
    paths = [first]
    for number in range(1, count):
        path = folder / f"{number}.nd2"
        shutil.copyfile(first, path)
        with path.open("r+b") as handle:
            handle.seek(offset)
            handle.write(np.uint16(number).tobytes())
        paths.append(path)
    return paths


def read_files(paths: list[Path]) -> None:
    """Open each file as an array, a dataset and a dask array, and keep a part of them open."""
    import xarray as xr

    import nd2

    kept: list[Any] = []
    for number, path in enumerate(paths):
        with nd2.ND2File(path) as file:
            assert file.read_frame(0)[0, 0] == number
            lazy = file.to_dask()
        dataset = xr.open_dataset(path, engine="nd2")
        assert int(dataset.image[0, 0, 0]) == number
        kept += [(number, dataset), (number, lazy)]
        if len(kept) > 1000:
            check(kept)
            kept.clear()
    check(kept)


def check(kept: list[Any]) -> None:
    """Read again from what was opened long ago."""
    for number, one in kept:
        pixels = one.image if hasattr(one, "image") and hasattr(one, "attrs") else one
        assert int(pixels[0, 0, 0]) == number


def run_tasks(paths: list[Path], count: int) -> None:
    """Run dask tasks as workers do: each from its own pickle."""
    import dask.local

    import nd2

    lazy = [nd2.imread(path, dask=True) for path in paths[: min(len(paths), 200)]]
    graphs = [pickle.dumps(dict(array.__dask_graph__())) for array in lazy]
    keys: list[Any] = [(array.name, *(0,) * array.ndim) for array in lazy]
    for task in range(count):
        number = task % len(lazy)
        graph = pickle.loads(graphs[number])
        block = dask.local.get_sync(graph, keys[number])
        assert block.reshape(-1)[0] == number


def main(count: int, limit: int, tasks: int) -> None:
    """Print descriptors, threads and memory before and after."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with tempfile.TemporaryDirectory() as folder:
        paths = files(Path(folder), count)
        some = max(count // 10, 1)
        read_files(paths[:some])
        found = {"files, first tenth": usage()}
        read_files(paths)
        found["files, all"] = usage()
        run_tasks(paths, max(tasks // 10, 1))
        found["tasks, first tenth"] = usage()
        run_tasks(paths, tasks)
        found["tasks, all"] = usage()
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
