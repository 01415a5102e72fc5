"""What the public package nd2 0.12.0 says of the sample files, and ours beside it.

Where Nikon's SDK contradicts nd2, or nd2 fails, ours differs on purpose: those places are listed here, and in
docs/migrating.md.
"""

from __future__ import annotations

import runpy
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr

import nd2
from tests.samples import each_sample
from xarray_nd2 import to_kerchunk

if TYPE_CHECKING:
    from pathlib import Path

SECTIONS = [
    "is_supported_file",
    "is_legacy_fn",
    "version",
    "is_legacy",
    "is_rgb",
    "components_per_channel",
    "ndim",
    "shape",
    "size",
    "nbytes",
    "dtype",
    "sizes",
    "attributes",
    "metadata",
    "experiment",
    "text_info",
    "voxel_size",
    "loop_indices",
    "frames",
    "asarray",
    "array_protocol",
    "to_dask",
    "closed_inside",
    "closed_after",
    "path_is_file",
    "fileobj",
    "pickle",
    "imread",
    "xarray_values",
]

NESTED = {"loop_t_t", "nested_TT"}
"""Nested time loops: nd2 0.12.0 loses one of them, and cannot read the array."""
NESTED_SECTIONS = {
    "ndim",
    "shape",
    "size",
    "nbytes",
    "sizes",
    "loop_indices",
    "asarray",
    "array_protocol",
    "to_dask",
    "imread",
    "fileobj",
    "pickle",
    "xarray_values",
}


def run(monkeypatch: pytest.MonkeyPatch, tool: Path, *arguments: object) -> int:
    """Run a tool as the command it is, and return its exit status."""
    monkeypatch.setattr(sys, "argv", [str(tool), *map(str, arguments)])
    try:
        runpy.run_path(str(tool), run_name="__main__")
    except SystemExit as done:
        return int(done.code or 0)
    return 0


# The tools leave the files that they write and read to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@each_sample()
def test_equal_to_expected(
    sample: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = sample.parents[1] / "expected" / f"{sample.stem}.json"
    if not expected.exists():
        pytest.skip("nd2 0.12.0 cannot read this file")
    ours = tmp_path / "ours.json"
    monkeypatch.chdir(sample.parent)
    tools = sample.parents[2] / "tools"
    run(monkeypatch, tools / "api_dump.py", sample.name, "-o", ours)
    sections = set(SECTIONS) - (NESTED_SECTIONS if sample.stem in NESTED else set())
    status = run(monkeypatch, tools / "api_diff.py", expected, ours, "--only", ",".join(sections))
    assert status == 0, capsys.readouterr().out


@each_sample()
def test_the_engine_and_the_references_give_the_same_pixels(sample: Path) -> None:
    with nd2.ND2File(sample) as file:
        pixels = file.asarray()
    dataset = xr.open_dataset(sample, engine="nd2")
    image = dataset.image
    stored = image.isel(S=slice(None, None, -1)) if "S" in image.dims else image
    np.testing.assert_array_equal(stored.values.reshape(pixels.shape), pixels)
    if sample.stem in {"zip_ch3_w33", "zip_rgb8_w33"}:
        with pytest.raises(ValueError, match="padded by part of a pixel"):
            to_kerchunk(sample)
        return
    virtual = xr.open_dataset(to_kerchunk(sample), engine="kerchunk")  # type: ignore[arg-type]
    assert virtual.image.dtype == image.dtype
    again = virtual.image.transpose(*image.dims)
    if "S" in image.dims:
        again = again.sel(S=image.S.values)
    np.testing.assert_array_equal(again.values, image.values)
    for name, coordinate in dataset.coords.items():
        if name != "S":
            np.testing.assert_array_equal(virtual[name].values, coordinate.values)
            assert virtual[name].attrs == coordinate.attrs
