"""Benchmarks of many small files: what each of them costs after the first."""

from __future__ import annotations

from functools import cache

from bench.files import CACHE
from bench.harness import Case
from tests.builder import build

_FILES = 2000
_TIMES = 100
_ROUNDS = 9


@cache
def folder() -> str:
    """Write 2000 files of five frames of two channels, and return their folder."""
    folder = CACHE / "many"
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(_FILES):
        path = folder / f"{i:04}.nd2"
        if not path.exists():
            part = path.with_suffix(".part")
            build(part, loops=[("T", 5)], channels=2, height=32, width=32, seed=i)
            part.rename(path)
    return str(folder)


# The same dataset from memory: what xarray itself needs to open it.
_MEMORY = """
import xarray
from xarray.backends import BackendEntrypoint
made = xarray.open_dataset(FILE, engine="nd2")
class Memory(BackendEntrypoint):
    open_dataset_parameters = ("filename_or_obj", "drop_variables")
    def open_dataset(self, filename_or_obj, *, drop_variables=None):
        coords = {name: variable.variable for name, variable in made.coords.items()}
        return xarray.Dataset({"image": made.image.variable}, coords, made.attrs)
xarray.open_dataset(FILE, engine=Memory)
"""
_ENGINE = "import xarray; xarray.open_dataset(FILE, engine='nd2', chunks={}).close()"
_KERCHUNK = "from xarray_nd2 import to_kerchunk; to_kerchunk(FILE)"
_CATALOG = "from nd2.index import index_file; index_file(FILE)"


def _each(title: str, run: str, setup: str, limit: float | None) -> Case:
    return Case(
        f"each file: {title}",
        f"for _ in range({_TIMES}): {run}",
        f"{folder()}/0000.nd2",
        setup,
        theirs="",
        per=_TIMES,
        cpu_limit=limit,
        rounds=_ROUNDS,
    )


CASES = [
    _each("open_dataset", "xarray.open_dataset(FILE, engine='nd2')", _ENGINE, 3e-3),
    _each("open_dataset of the same from memory", "xarray.open_dataset(FILE, engine=Memory)", _MEMORY, None),
    _each("open_dataset, chunks={}", "xarray.open_dataset(FILE, engine='nd2', chunks={})", _ENGINE, 5e-3),
    _each(
        "open_dataset of the same from memory, chunks={}",
        "xarray.open_dataset(FILE, engine=Memory, chunks={})",
        _MEMORY,
        None,
    ),
    _each("to_kerchunk, checked", "to_kerchunk(FILE)", _KERCHUNK, 3e-3),
    _each("row of a catalog", "index_file(FILE)", _CATALOG, 2e-3),
]
