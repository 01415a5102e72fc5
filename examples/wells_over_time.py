"""Write the mean intensity of every well over time as CSV: a row per well and time point, a column per channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import nd2

OUT = Path("demo-output")
WELLS = ["A1", "A2", "A3", "B1", "B2", "B3"]


def acquire(path: Path) -> None:
    """Write a time-lapse of six wells in two channels; the reporter rises faster in each next well."""
    sizes = {"T": 10, "P": len(WELLS), "C": 2, "Y": 64, "X": 64}
    rng = np.random.default_rng(2)
    with nd2.ND2Writer(
        path, sizes, np.uint16, channels=["RFP", "GFP"], voxel_size=(0.65, 0.65), positions=WELLS
    ) as writer:
        for t, p in np.ndindex(sizes["T"], sizes["P"]):
            levels = np.array([400.0, 200.0 + 20.0 * p * t])[:, None, None]
            frame = rng.poisson(levels, (2, 64, 64)).astype(np.uint16)
            writer.write_frame({"T": t, "P": p}, frame, time=600_000.0 * t + 5_000.0 * p)


def intensities(source: Path) -> pd.DataFrame:
    """Return a row for each well and time point; `hours` is the time of that frame."""
    with xr.open_dataset(source, engine="nd2", chunks={}) as dataset:
        means = dataset.image.mean(["Y", "X"]).compute()
        table = pd.DataFrame({str(name): means.sel(C=name).to_series() for name in dataset.C.values})
        table["hours"] = (dataset.time / 3600).to_series()
        table["well"] = dataset.position_name.values[table.index.get_level_values("P")]
    return table.set_index("well").sort_values(["well", "hours"])


def main() -> None:
    """Write the file, measure it, save the table."""
    OUT.mkdir(exist_ok=True)
    source, dest = OUT / "wells.nd2", OUT / "wells.csv"
    if not source.exists():
        acquire(source)
    table = intensities(source)
    table.to_csv(dest, float_format="%.3f")
    print(table.groupby("well").agg({"RFP": "mean", "GFP": ["first", "last"]}).round(1))
    print(f"wrote {dest}")


if __name__ == "__main__":
    main()
