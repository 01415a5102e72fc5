"""Layouts of references: what each position is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr

from tests.builder import build
from tests.references import assert_same
from xarray_nd2 import open_references, to_kerchunk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("loops", [[("T", 3), ("P", 2)], [("P", 2), ("T", 3), ("Z", 2)]])
@pytest.mark.parametrize("missing", [(), (1,)])
def test_a_position_is_that_of_the_datatree(
    loops: list[tuple[str, int]], missing: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "a.nd2"
    count = int(np.prod([n for _, n in loops]))
    times = np.arange(count) * 100.0
    build(path, loops=loops, missing=missing, times=times)
    tree = xr.open_datatree(path, engine="nd2")
    refs = to_kerchunk(path, layout="positions", zarr_format=3)
    first = [0, 1] if loops[0][0] == "T" else [0, count // 2]
    for i in range(2):
        dataset = xr.open_dataset(path, engine="nd2", position=i).load()
        assert dataset["T"].values[0] * 1000 == pytest.approx(times[first[i]])
        part = tree[f"/P{i}"].to_dataset()
        xr.testing.assert_identical(part.drop_attrs(), dataset.drop_attrs())
        virtual = open_references(refs, group=f"P{i}")
        assert_same(virtual.drop_attrs(deep=False), part.drop_attrs(deep=False))
