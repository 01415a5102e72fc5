"""Benchmarks of the engine: opening, one plane, everything; against nd2 0.12.0's labeled dask array."""

from __future__ import annotations

from bench.files import FILES
from bench.harness import Case

# Both sides open and close a first file before timing starts, so that its imports are not counted. xarray imports dask
# when the first values are read.
OURS = """import xarray
with xarray.open_dataset(FILE, engine='nd2') as first:
    first.image.isel(T=0).values
"""
THEIRS = "import nd2; first = nd2.imread(FILE, xarray=True, dask=True)"

_OPENINGS = 50
"""Number of openings in a row: a single one is too short to measure on a busy machine."""


def _open(title: str, name: str) -> Case:
    return Case(
        f"engine: open, {title}",
        f"for _ in range({_OPENINGS}): d = xarray.open_dataset(FILE, engine='nd2')",
        name,
        OURS,
        theirs=f"for _ in range({_OPENINGS}): d = nd2.imread(FILE, xarray=True, dask=True)",
        theirs_setup=THEIRS,
        per=_OPENINGS,
        time_goal=0.5,
    )


def _plane(title: str, name: str) -> Case:
    frame = FILES[name].frames // 2
    return Case(
        f"engine: open, one plane, {title}",
        f"a = xarray.open_dataset(FILE, engine='nd2').image.isel(T={frame}).values",
        name,
        OURS,
        theirs=f"a = nd2.imread(FILE, xarray=True, dask=True).isel(T={frame}).values",
        theirs_setup=THEIRS,
        time_goal=0.5,
        rounds=9,
    )


def _load(title: str, name: str, how: str = "load everything", options: str = "", read: str = "image.load()") -> Case:
    return Case(
        f"engine: open, {how}, {title}",
        f"a = xarray.open_dataset(FILE, engine='nd2'{options}).{read}",
        name,
        OURS,
        theirs="a = nd2.imread(FILE, xarray=True, dask=True).load()",
        theirs_setup=THEIRS,
        array_bytes=FILES[name].array_bytes,
        time_goal=0.5,
        memory_goal=1.15,
        rounds=3,
    )


_FILES = {"raw": "2 GB raw", "small": "100,000 x 64x64", "zlib": "300 zlib frames"}

CASES = [
    *(make(title, name) for make in (_open, _plane, _load) for name, title in _FILES.items()),
    _load("2 GB raw", "raw", "chunks={}, compute()", ", chunks={}", "compute()"),
]
