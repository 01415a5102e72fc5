"""Blocks of dask: whatever ``chunks=`` is, those of all variables agree."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr.errors

import nd2
from tests.builder import build
from tests.references import OLD_PARQUET, V3_ZLIB
from tests.samples import each_sample
from xarray_nd2 import open_references, to_kerchunk, write_kerchunk

if TYPE_CHECKING:
    from pathlib import Path

CHUNKS: list[Any] = [{}, "auto", -1, 4, {"T": 1}, {"Z": 5}, {"Y": 64}, {"T": -1, "Y": 3}]
pytestmark = pytest.mark.filterwarnings("ignore:The specified chunks separate the stored chunks")
each_chunks = pytest.mark.parametrize("chunks", CHUNKS, ids=str)


@pytest.fixture(autouse=True)
def _small_blocks() -> Any:
    """Make "auto" cut also small images."""
    with dask.config.set({"array.chunk-size": "2 kiB"}):
        yield


def assert_consistent(dataset: xr.Dataset) -> None:
    """Try what fails where blocks differ."""
    assert dict(dataset.chunks) == dict(dataset.chunksizes)
    names = [name for name, variable in dataset.variables.items() if variable.chunks]
    assert set(names) == {name for name in dataset.data_vars if "Y" in dataset[name].dims}
    assert dataset.unify_chunks().chunks == dataset.chunks
    if "image" in dataset:
        assert set(dataset.image.chunksizes) == set(dataset.image.dims)
        mapped = dataset.image.map_blocks(lambda part: part + 1, template=dataset.image)
        xr.testing.assert_equal(mapped.compute(), dataset.image.compute() + 1)


def files(folder: Path) -> dict[str, Path]:
    """Files with frame coordinates, positions, color, missing frames, labels."""
    paths = {name: folder / f"{name}.nd2" for name in ("TPZ", "missing", "color", "labels")}
    build(paths["TPZ"], loops=[("T", 2), ("P", 2), ("Z", 6)], channels=2)
    build(paths["missing"], loops=[("T", 5)], missing=frozenset({0, 3}))
    build(paths["color"], loops=[("T", 3)], samples=3, dtype="u1", width=9)
    masks = np.arange(2 * 6 * 30 * 12, dtype=np.uint8).reshape(2, 6, 30, 12) % 5
    sizes = dict(zip("TZYX", masks.shape, strict=True))
    labels = {"cells": masks, "nuclei": masks[::-1]}
    with nd2.ND2Writer(paths["labels"], sizes, np.uint16, labels=labels) as writer:
        for frame in range(12):
            writer.write_frame(frame, np.full((30, 12), frame, np.uint16))
    return paths


@each_chunks
def test_blocks_of_a_dataset_agree(chunks: Any, tmp_path: Path) -> None:
    for path in files(tmp_path).values():
        whole = xr.open_dataset(path, engine="nd2").load()
        dataset = xr.open_dataset(path, engine="nd2", chunks=chunks)
        assert_consistent(dataset)
        xr.testing.assert_identical(dataset.compute(), whole)
        mapped = xr.map_blocks(lambda part: part, dataset, template=dataset.chunk(dataset.chunksizes))
        xr.testing.assert_equal(mapped.compute(), whole)


@each_chunks
def test_blocks_of_a_tree_agree(chunks: Any, tmp_path: Path) -> None:
    for path in files(tmp_path).values():
        tree = xr.open_datatree(path, engine="nd2", chunks=chunks)
        assert set(tree.chunksizes) == set(tree.groups)
        for node in tree.subtree:
            assert_consistent(node.to_dataset(inherit=False))


@each_chunks
@pytest.mark.filterwarnings(OLD_PARQUET)
def test_blocks_of_references_agree(chunks: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 2), ("P", 2), ("Z", 6)], channels=2)
    whole = open_references(to_kerchunk(path)).load()
    for zarr_format in (2, 3):
        refs = to_kerchunk(path, zarr_format=zarr_format)
        dataset = open_references(refs, chunks=chunks)
        assert_consistent(dataset)
        xr.testing.assert_equal(dataset.transpose(*whole.dims).compute(), whole)
    write_kerchunk(path, tmp_path / "refs", format="parquet")
    assert_consistent(open_references(tmp_path / "refs", chunks=chunks))


@each_chunks
def test_a_store_of_every_choice_of_blocks(chunks: Any, tmp_path: Path) -> None:
    for name, path in files(tmp_path).items():
        dataset = xr.open_dataset(path, engine="nd2", chunks=chunks)
        store = tmp_path / f"{name}.zarr"
        dataset.to_zarr(store, zarr_format=2, consolidated=False)
        again = xr.open_zarr(store, consolidated=False)
        np.testing.assert_array_equal(again.image, dataset.image)


@each_sample()
@pytest.mark.filterwarnings(V3_ZLIB, OLD_PARQUET)
def test_blocks_of_samples_agree(sample: Path) -> None:
    whole = xr.open_dataset(sample, engine="nd2").load()
    try:
        refs = to_kerchunk(sample)
    except (ValueError, NotImplementedError):  # padded rows
        refs = None
    choices: list[Any] = [{}, "auto", -1, {"T": 1}, {"Z": 5}, {"Y": 64}]
    for chunks in choices:
        if isinstance(chunks, dict) and not set(chunks) <= set(whole.dims):
            continue
        with dask.config.set({"array.chunk-size": "256 kiB"}):
            dataset = xr.open_dataset(sample, engine="nd2", chunks=chunks)
            tree = xr.open_datatree(sample, engine="nd2", chunks=chunks)
            virtual = None if refs is None else open_references(refs, chunks=chunks)
        for one in (dataset, *([] if virtual is None else [virtual])):
            assert dict(one.chunks) == dict(one.chunksizes)
            assert one.unify_chunks().chunks == one.chunks
        assert set(tree.chunksizes) == set(tree.groups)
        template = dataset.chunk(dataset.chunksizes)
        mapped = xr.map_blocks(lambda part: part, dataset, template=template)
        assert mapped.chunks == dataset.chunks
        dataset.to_zarr({}, compute=False, zarr_format=2, consolidated=False)
        if chunks == "auto":
            xr.testing.assert_equal(mapped.compute(), whole)
            xr.testing.assert_identical(dataset.compute(), whole)


def test_frame_coordinates_cost_opening_nothing(tmp_path: Path) -> None:
    """A coordinate in dask would be read by tasks, one for each block."""
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 4)])
    dataset = xr.open_dataset(path, engine="nd2", chunks={})
    assert not any(dataset[name].chunks for name in dataset.coords)
    assert "values with dtype" in repr(dataset["time"].variable)  # not read yet
    assert dataset.time.chunk(T=2).chunks == ((2, 2),)  # chunk() is what it always was
    np.testing.assert_array_equal(dataset.time.chunk(T=2), dataset.time)


@pytest.mark.parametrize("chunks", [None, {}])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_second_file_is_appended_to_a_store(tmp_path: Path, chunks: Any, zarr_format: Any) -> None:
    """Texts, which do not have the axis, must have the type of those in the store."""
    parts = []
    for i, names in enumerate((["DAPI", "GFP"], ["DAPI", "GFP"])):
        path = tmp_path / f"{i}.nd2"
        build(path, loops=[("T", 3)], channels=2, channel_names=names, seed=i)
        parts.append(xr.open_dataset(path, engine="nd2", chunks=chunks))
    store = tmp_path / "all.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("error", zarr.errors.UnstableSpecificationWarning)
        parts[0].to_zarr(store, zarr_format=zarr_format, consolidated=False)
        parts[1].to_zarr(store, append_dim="T", zarr_format=zarr_format, consolidated=False)
    both = xr.open_zarr(store, consolidated=False)
    expected = np.concatenate([part.image.values for part in parts])
    np.testing.assert_array_equal(both.image, expected)
    assert both.C.values.tolist() == ["DAPI", "GFP"]
    assert both.channel_color.values.tolist() == parts[0].channel_color.values.tolist()
