"""Benchmarks of reading local files: opening, frames, whole arrays, dask, crops."""

from __future__ import annotations

from bench.files import FILES
from bench.harness import Case

OPEN = "import nd2; f = nd2.ND2File(FILE); f.sizes"
# The first computation loads parts of dask (all of distributed, where that is installed), and the first array what it
# needs of nd2: before the clock starts.
DASK = f"{OPEN}; import dask.array; dask.array.zeros(1).compute(); f.to_dask()"
PICKS = "import random; random.seed(0); picks = [random.randrange({n}) for _ in range({k})]; f.read_frame(0)"
# The result is an independent array. Ours is; nd2's is a view of a memory map, read when it is copied.
READ = "for i in picks: f.read_frame(i)"
READ_COPY = "for i in picks: f.read_frame(i).copy()"


def _numpy(name: str) -> str:
    return f"np.fromfile(FILE, '<u2', count={FILES[name].array_bytes // 2})"


def _random(name: str, k: int, goal: float | None = None) -> Case:
    picks = PICKS.format(n=FILES[name].frames, k=k)
    return Case(f"random frame, {name}", READ, name, f"{OPEN}; {picks}", theirs=READ_COPY, per=k, time_goal=goal)


def _asarray(title: str, name: str, goal: float, memory: float, numpy_goal: float | None) -> Case:
    return Case(
        f"asarray, {title}",
        "a = f.asarray()",
        name,
        OPEN,
        numpy=_numpy(name),
        array_bytes=FILES[name].array_bytes,
        time_goal=goal,
        memory_goal=memory,
        numpy_goal=numpy_goal,
    )


CASES = [
    Case("import nd2", "import nd2", time_goal=1.0, rounds=15),
    Case("import nd2, open a file, its sizes", OPEN, "zlib", rounds=15),
    Case(
        "open to first frame, 100,000 frames",
        "f = nd2.ND2File(FILE); f.read_frame(50_000)",
        "small",
        "import nd2; nd2.ND2File",
        theirs="f = nd2.ND2File(FILE); f.read_frame(50_000).copy()",
        time_goal=0.5,
        rounds=9,
    ),
    _asarray("2 GB raw", "raw", 1.1, 1.1, 1.25),
    _asarray("3 channels interleaved", "channels3", 1.5, 1.1, None),
    _asarray("4 channels interleaved", "channels4", 1.5, 1.1, None),
    Case(
        "asarray + mean of each channel, 3 channels",
        "a = f.asarray(); [a[:, c].mean() for c in range(3)]",
        "channels3",
        OPEN,
        array_bytes=FILES["channels3"].array_bytes,
        time_goal=0.7,
    ),
    _asarray("100,000 x 64x64", "small", 0.35, 1.1, None),
    _asarray("300 zlib frames", "zlib", 0.3, 1.15, None),
    _random("raw", 500, 0.8),
    _random("small", 2000),
    _random("zlib", 60, 0.5),
    Case(
        "to_dask().compute(), 2 GB raw",
        "a = f.to_dask().compute(scheduler='threads')",
        "raw",
        DASK,
        array_bytes=FILES["raw"].array_bytes,
        time_goal=0.35,
        memory_goal=1.3,
    ),
    Case(
        "dask.compute(f.to_dask()), 2 GB raw",
        "a = dask.compute(f.to_dask(), scheduler='threads')",
        "raw",
        DASK,
        array_bytes=FILES["raw"].array_bytes,
        memory_goal=1.3,
    ),
    Case(
        "to_dask().max(axis=0).compute(), 2 GB raw",
        "a = f.to_dask().max(axis=0).compute(scheduler='threads')",
        "raw",
        DASK,
        array_bytes=FILES["raw"].array_bytes,
    ),
    Case(
        "to_dask(chunks='auto').compute(), 100,000 small frames",
        "a = f.to_dask(chunks='auto').compute()",
        "small",
        DASK,
        theirs="a = f.to_dask().compute()",
        array_bytes=FILES["small"].array_bytes,
        time_goal=0.05,
        rounds=3,
    ),
    Case("to_dask(), 100,000 small frames, graph only", "a = f.to_dask()", "small", DASK),
    Case(
        "256 x 256 crop of a 20,000 x 20,000 frame",
        "a = f.to_dask()[9000:9256, 9000:9256].compute()",
        "large",
        DASK,
        time_goal=0.05,
    ),
]
