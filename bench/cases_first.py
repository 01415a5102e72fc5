"""Benchmarks of the first use: CPU time of a new process up to its first result, without importing NumPy.

CPU seconds of all cores count, because wall-clock time depends on other work on the machine.
"""

from __future__ import annotations

from bench.harness import Case

_ROUNDS = 9
_OPEN = "import nd2; file = nd2.ND2File(FILE); "


def _first(title: str, run: str) -> Case:
    return Case(f"first use: {title}", run, "tiny", "import numpy", cpu_goal=0.8, rounds=_ROUNDS)


def _command(arguments: str) -> Case:
    words = ", ".join(word if word == "FILE" else repr(word) for word in arguments.split())
    run = f"run([sys.executable, '-m', 'nd2', {words}], stdout=DEVNULL, check=True)"
    setup = "import sys; from subprocess import DEVNULL, run"
    return Case(f"nd2 {arguments}", run, "tiny", setup, theirs="", cpu_limit=0.16, rounds=_ROUNDS)


_XARRAY = "import numpy, pandas, xarray"
# xarray loads every entry point before it opens the first file; that of kerchunk imports zarr.
_ENGINES = "xarray.backends.list_engines()"

CASES = [
    _first("sizes", f"{_OPEN}file.sizes"),
    _first("sizes, metadata", f"{_OPEN}file.sizes, file.metadata"),
    _first("asarray, small file", f"{_OPEN}file.asarray()"),
    _command("--help"),
    _command("info FILE"),
    Case(
        "first use: engine, open, beyond xarray and its engines",
        "xarray.open_dataset(FILE, engine='nd2')",
        "tiny",
        f"{_XARRAY}; {_ENGINES}",
        theirs="import nd2; nd2.imread(FILE, xarray=True, dask=True)",
        theirs_setup="import numpy, pandas, xarray",
        rounds=_ROUNDS,
    ),
    Case("xarray: look for engines", _ENGINES, None, _XARRAY, theirs="", rounds=_ROUNDS),
    Case(
        "xarray: look for engines, zarr imported before", _ENGINES, None, f"{_XARRAY}, zarr", theirs="", rounds=_ROUNDS
    ),
]
