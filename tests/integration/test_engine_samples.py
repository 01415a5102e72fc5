"""The engine on files that NIS-Elements wrote: times as recorded, heights as in Nikon's SDK; and on all samples."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import nd2
from tests.samples import SAMPLES, each_sample

if TYPE_CHECKING:
    from pathlib import Path


def sdk(sample: Path) -> dict[str, Any]:
    path = SAMPLES / "expected_sdk" / f"{sample.stem}.json"
    said: dict[str, Any] = json.loads(path.read_text())
    return said


@each_sample(["real/timelapse_t53", "real/cluster_t3z10c2", "real/zstack_z11"])
def test_times_are_those_that_were_recorded(sample: Path) -> None:
    dataset = xr.open_dataset(sample, engine="nd2")
    frames = sdk(sample)["frame_metadata"]
    recorded = [frame["channels"][0]["time"]["relativeTimeMs"] / 1000 for frame in frames]
    np.testing.assert_array_equal(dataset.time.values.reshape(-1), recorded)
    if "T" in dataset.dims:
        step = len(recorded) // dataset.sizes["T"]
        np.testing.assert_array_equal(dataset["T"], recorded[::step])
        assert dataset["T"].attrs["source"] == "recorded"


@each_sample(["real/cluster_t3z10c2", "real/zstack_z11"])
def test_heights_are_those_of_the_stage_over_home(sample: Path) -> None:
    dataset = xr.open_dataset(sample, engine="nd2")
    said = sdk(sample)
    heights = [frame["channels"][0]["position"]["stagePositionUm"][2] for frame in said["frame_metadata"]]
    with nd2.ND2File(sample) as file:
        loop: Any = next(loop for loop in file.experiment if loop.type == "ZStackLoop")
    stack = np.array(heights[: dataset.sizes["Z"]])
    np.testing.assert_allclose(dataset.Z, stack - stack[loop.parameters.homeIndex], atol=1e-9)
    assert dataset.Z.values[loop.parameters.homeIndex] == 0


@each_sample(["real/zstack_z11"])
def test_the_height_that_was_recorded(sample: Path) -> None:
    dataset = xr.open_dataset(sample, engine="nd2")
    assert dataset.stage_z.attrs["source"] == "recorded"
    np.testing.assert_allclose(np.diff(dataset.stage_z), np.diff(dataset.Z))


@each_sample()
def test_every_sample_opens_and_holds_what_nd2_reads(sample: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*flat_frames")
        dataset = xr.open_dataset(sample, engine="nd2").load()
        with nd2.ND2File(sample) as file:
            pixels = file.asarray()
    image = dataset.image
    if "S" in image.dims:
        image = image.sel(S=["B", "G", "R"])
    np.testing.assert_array_equal(image.values.squeeze(), pixels.squeeze())


@each_sample(["real/cluster_t3z10c2", "real/confocal_c3", "real/rgb_64", "made/binary_T3", "made/TPZ"])
@pytest.mark.parametrize("form", ["netcdf", "zarr"])
def test_samples_are_written_and_read_back(sample: Path, tmp_path: Path, form: str) -> None:
    dataset = xr.open_dataset(sample, engine="nd2").load()
    if form == "netcdf":
        dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
        copy = xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf")
    else:
        dataset.to_zarr(tmp_path / "a.zarr", consolidated=False)
        copy = xr.open_zarr(tmp_path / "a.zarr", consolidated=False)
    with copy:
        xr.testing.assert_identical(copy.load(), dataset)
