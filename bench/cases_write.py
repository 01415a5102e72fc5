"""Benchmarks of writing: against the same bytes by NumPy's ``tofile``; nd2 0.12.0 writes no files."""

from __future__ import annotations

from bench.harness import Case

# The folder goes with the process.
FOLDER = "import tempfile; folder = tempfile.TemporaryDirectory(); out = folder.name + '/out'"
NUMPY = f"import numpy as np; {FOLDER}"
FRAME = "frame = np.random.default_rng(0).poisson(200, {shape}).astype('u2')"
OURS = f"import nd2; nd2.ND2Writer; {NUMPY}"
WRITE = """
with nd2.ND2Writer(out, {sizes}, 'u2', compression={compression!r}) as writer:
    for i in range({n}):
        writer.write_frame(i, frame, time=10.0 * i)
"""
TOFILE = "with open(out, 'wb') as file:\n    for _ in range({n}): frame.tofile(file)"


def _frames(
    title: str,
    n: int,
    shape: tuple[int, ...],
    *,
    compression: str | None = None,
    numpy_goal: float | None = None,
    rounds: int | None = None,
) -> Case:
    sizes = dict(zip("TCYX" if len(shape) == 3 else "TYX", (n, *shape), strict=True))
    frame = FRAME.format(shape=shape)
    return Case(
        title,
        WRITE.format(sizes=sizes, compression=compression, n=n),
        setup=f"{OURS}; {frame}",
        theirs="",
        numpy="" if compression else TOFILE.format(n=n),
        numpy_setup=f"{NUMPY}; {frame}",
        numpy_goal=numpy_goal,
        rounds=rounds,
    )


CASES = [
    _frames("write 2 GB raw", 1000, (1024, 1024), numpy_goal=1.3, rounds=7),
    _frames("write 0.6 GB raw, 3 channels", 100, (3, 1024, 1024)),
    _frames("write 0.4 GB, zlib", 200, (1024, 1024), compression="zlib"),
    Case(
        "the same, by zlib on one core",
        "with open(out, 'wb') as file:\n    for _ in range(200): file.write(zlib.compress(frame, 1))",
        setup=f"{NUMPY}; import zlib; {FRAME.format(shape=(1024, 1024))}",
        theirs="",
    ),
    _frames("write 100,000 frames of 64x64", 100_000, (64, 64)),
    _frames("write 1,000,000 frames of 64x64", 1_000_000, (64, 64), rounds=1),
]
