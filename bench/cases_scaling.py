"""Benchmarks over 1,000 to 10,000,000 frames, which must take time in proportion, and over 1 to 2,000 files."""

from __future__ import annotations

from bench.cases_many import folder
from bench.cases_write import FOLDER, WRITE
from bench.harness import Case

FRAMES = tuple(10**k for k in range(3, 8))
FILES = (1, 10, 100, 1000, 2000)

_ENGINE = "import xarray; xarray.open_dataset(FIRST, engine='nd2').close()"
_REFERENCES = "import fastparquet, kerchunk.df; from xarray_nd2 import write_kerchunk"
WORK = {
    "open_dataset": ("d = xarray.open_dataset(FILE, engine='nd2')", _ENGINE),
    "references (Parquet)": (
        "write_kerchunk(FILE, out, format='parquet', check=False)",
        f"{_REFERENCES}; {FOLDER}; write_kerchunk(FIRST, out + '1', format='parquet', check=False)",
    ),
    "save_index": ("nd2.save_index(FILE, out)", f"import nd2; {FOLDER}; nd2.save_index(FIRST, out + '1')"),
    "row of a catalog": ("index_file(FILE)", "from nd2.index import index_file; index_file(FIRST)"),
    "events": (
        "with nd2.ND2File(FILE) as file: file.events(orient='list')",
        "import nd2\nwith nd2.ND2File(FIRST) as file: file.events(orient='list')",
    ),
}
"""Work on one file by its name in the tables and plots: the code, and what comes before."""


def scaled(work: str, count: int, unit: str) -> str:
    """Return the name of a row."""
    return f"{work}, {count:,} {unit if count > 1 else unit[:-1]}"


CASES = [
    *(
        Case(
            scaled(work, count, "frames"),
            run,
            f"listed{count}",
            f"FIRST = {folder()!r} + '/0000.nd2'\n{setup}",
            theirs="",
            rounds=3,
        )
        for work, (run, setup) in WORK.items()
        for count in FRAMES
    ),
    *(
        Case(
            scaled("write", count, "frames"),
            WRITE.format(sizes={"T": count, "Y": 8, "X": 8}, compression=None, n=count),
            None,
            f"import nd2, numpy as np; nd2.ND2Writer; {FOLDER}; frame = np.zeros((8, 8), 'u2')",
            theirs="",
            rounds=3,
        )
        for count in FRAMES[:-1]
    ),
    *(
        Case(
            scaled("open_mfdataset", count, "files"),
            "d = xarray.open_mfdataset(files, engine='nd2', combine='nested', concat_dim='file')",
            f"{folder()}/0000.nd2",
            "FIRST = FILE\n"
            f"{_ENGINE}; from pathlib import Path; files = sorted(Path(FILE).parent.glob('*.nd2'))[:{count}]",
            theirs="",
            cpu_limit=8.0 if count == 1000 else None,
            rounds=3,
        )
        for count in FILES
    ),
]
