"""Find files in a folder by their content: index the folder, filter the table, open the matches."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import nd2
from nd2.index import index_files

FOLDER = Path("demo-output") / "archive"


def acquire(folder: Path) -> None:
    """Write an archive: time-lapses, a stack, and a file whose copy was interrupted."""
    folder.mkdir(parents=True, exist_ok=True)
    for day, (name, sizes) in enumerate(
        {
            "overview": {"Y": 64, "X": 64},
            "stack": {"Z": 9, "Y": 64, "X": 64},
            "timelapse_a": {"T": 5, "C": 2, "Y": 64, "X": 64},
            "timelapse_b": {"T": 20, "C": 2, "Y": 64, "X": 64},
        }.items()
    ):
        nd2.imwrite(
            folder / f"{name}.nd2",
            np.zeros(tuple(sizes.values()), np.uint16),
            axes="".join(sizes),
            start=datetime(2026, 5, 4 + day, tzinfo=UTC),
        )
    whole = (folder / "stack.nd2").read_bytes()
    (folder / "broken.nd2").write_bytes(whole[: len(whole) // 2])


def main() -> None:
    """Write the archive, index it, and open the long time-lapses in two channels."""
    if not FOLDER.exists():
        acquire(FOLDER)
    table = pd.DataFrame(index_files([FOLDER]))
    print(table[["name", "axes", "shape", "acquired", "kb"]].to_string(), "\n")

    # a file that cannot be read also has a row
    for name, error in table.loc[table.error != "", ["name", "error"]].itertuples(index=False):
        print(f"{name}: {error}\n")

    # the same in a shell: nd2 index archive -F "axes == 'TCYX' and acquired > '2026-05-06'"
    wanted = table.query("axes == 'TCYX' and acquired > '2026-05-06'")
    for path in wanted.path:
        with xr.open_dataset(path, engine="nd2") as dataset:
            print(Path(path).name, dict(dataset.image.sizes))


if __name__ == "__main__":
    main()
