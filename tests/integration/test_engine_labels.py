"""Binary layers as variables of the engine's datasets: with dask, from a coroutine, and in odd sizes."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import dask.base
import numpy as np
import pytest
import xarray as xr

import nd2
from nd2._core.readers.layer_chunks import fit

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SHAPE = (4, 3, 10, 12)


def masks(seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 5, SHAPE).astype(np.uint16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.nd2"
    sizes = dict(zip("TZYX", SHAPE, strict=True))
    with nd2.ND2Writer(path, sizes, np.uint16, labels={"cells": masks()}) as writer:
        for frame in range(12):
            writer.write_frame(frame, np.full(SHAPE[2:], frame, np.uint16))
    return path


def test_with_dask(path: Path) -> None:
    dataset = xr.open_dataset(path, engine="nd2", chunks={})
    layer = dataset.labels_cells
    assert layer.chunks is not None
    np.testing.assert_array_equal(layer.compute(), masks())
    np.testing.assert_array_equal(layer[1:3, 0, ::2].compute(), masks()[1:3, 0, ::2])
    np.testing.assert_array_equal((layer > 0).sum(("Y", "X")), (masks() > 0).sum((2, 3)))


def test_dask_knows_the_same_layer_again(path: Path, tmp_path: Path) -> None:
    def token(place: Path) -> Any:
        dataset = xr.open_dataset(place, engine="nd2", chunks={})
        return dask.base.tokenize(dataset.labels_cells)

    assert token(path) == token(path)
    other = tmp_path / "b.nd2"
    with nd2.ND2File(path) as file:
        file.write_nd2(other, T=slice(0, 2))
    assert token(path) != token(other)


def test_from_a_coroutine(path: Path) -> None:
    async def load() -> list[xr.Dataset]:
        datasets = [xr.open_dataset(path, engine="nd2").isel(T=t) for t in range(SHAPE[0])]
        return await asyncio.gather(*(dataset.load_async() for dataset in datasets))

    for dataset, expected in zip(asyncio.run(load()), masks(), strict=True):
        np.testing.assert_array_equal(dataset.labels_cells, expected)


def test_points_from_a_coroutine(path: Path) -> None:
    rows, columns = xr.DataArray([1, 5, 9], dims="point"), xr.DataArray([0, 2, 11], dims="point")

    async def load() -> xr.Dataset:
        dataset: xr.Dataset = xr.open_dataset(path, engine="nd2").isel(T=2, Z=1, Y=rows, X=columns)
        return await dataset.load_async()

    dataset = asyncio.run(load())
    np.testing.assert_array_equal(dataset.labels_cells, masks()[2, 1, [1, 5, 9], [0, 2, 11]])
    np.testing.assert_array_equal(dataset.image, [7, 7, 7])


def test_in_another_process(path: Path) -> None:
    copy = pickle.loads(pickle.dumps(xr.open_dataset(path, engine="nd2")))
    np.testing.assert_array_equal(copy.labels_cells, masks())


@pytest.mark.parametrize(("height", "width"), [(3, 9), (8, 2), (3, 2), (8, 9), (5, 6)])
def test_a_raster_of_another_size_is_cut_or_filled(height: int, width: int) -> None:
    mask = np.arange(1, height * width + 1).reshape(height, width)
    fitted = fit(mask, (5, 6))
    assert fitted.shape == (5, 6)
    h, w = min(height, 5), min(width, 6)
    np.testing.assert_array_equal(fitted[:h, :w], mask[:h, :w])
    assert not fitted[h:].any()
    assert not fitted[:, w:].any()
