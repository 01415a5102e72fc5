"""A cluster of dask.distributed reads local files, files in a bucket, and references to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import xarray as xr

import nd2
from tests.builder import Nd2Spec, build
from tests.clusters import local_cluster
from tests.references import V3_ZLIB
from tests.servers import s3_bucket
from xarray_nd2 import open_references, to_kerchunk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("distributed")
pytest.importorskip("s3fs")
pytest.importorskip("moto")
pytestmark = pytest.mark.filterwarnings(V3_ZLIB)

SPEC = Nd2Spec(loops=[("T", 3), ("Z", 2)], channels=2, height=16, width=24)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of two processes with two threads each."""
    with local_cluster(threads=2) as client:
        yield client


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Storage options for a bucket ``images`` that holds the file."""
    with s3_bucket({"a": SPEC}, tmp_path_factory.mktemp("bucket")) as options:
        yield options


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cluster") / "a.nd2"
    build(path, SPEC)
    return path


def test_a_dask_array_of_a_file(path: Path, client: Any) -> None:
    with nd2.ND2File(path) as file:
        array: Any = file.to_dask()
    np.testing.assert_array_equal(array.compute(), SPEC.array)
    np.testing.assert_array_equal(array[1, :, 0, 3:7].compute(), SPEC.array[1, :, 0, 3:7])
    total = array.astype("u8").sum(axis=(1, 3, 4))
    expected = SPEC.array.astype("u8").sum(axis=(1, 3, 4))
    np.testing.assert_array_equal(client.compute(total).result(), expected)
    np.testing.assert_array_equal(array.persist().max(axis=0).compute(), SPEC.array.max(axis=0))


def test_arrays_in_the_memory_of_workers_are_written(path: Path, client: Any, tmp_path: Path) -> None:
    image = xr.open_dataset(path, engine="nd2", chunks={}).image.max("Z")
    kept = client.persist(image)
    expected = SPEC.array.max(axis=1)
    kept.nd2.write_nd2(tmp_path / "a.nd2")
    np.testing.assert_array_equal(nd2.imread(tmp_path / "a.nd2"), expected)
    kept.nd2.write_tiff(tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), expected)


@pytest.mark.usefixtures("client")
def test_a_dataset_of_the_engine(path: Path) -> None:
    dataset = xr.open_dataset(path, engine="nd2", chunks={})
    np.testing.assert_array_equal(dataset.image.compute(), SPEC.array)
    np.testing.assert_array_equal(dataset.image.sum("T").compute(), SPEC.array.sum(axis=0))


def test_a_dataset_in_a_bucket(bucket: dict[str, Any], client: Any) -> None:
    url = "s3://images/a.nd2"
    dataset = xr.open_dataset(url, engine="nd2", storage_options=bucket, chunks={"T": 2})
    image = dataset.image.data
    np.testing.assert_array_equal(client.compute(image).result(), SPEC.array)
    mean = client.compute(image.mean(axis=0)).result()
    np.testing.assert_allclose(mean, SPEC.array.mean(axis=0))


@pytest.mark.usefixtures("client")
def test_references_to_a_file_in_a_bucket(bucket: dict[str, Any]) -> None:
    url = "s3://images/a.nd2"
    refs = to_kerchunk(url, storage_options=bucket)
    refs_3 = to_kerchunk(url, zarr_format=3, storage_options=bucket)
    # a copy: kerchunk changes what it is given as ``remote_options``
    options = {"remote_protocol": "s3", "remote_options": {**bucket}}
    for dataset in (
        xr.open_dataset(refs, engine="kerchunk", storage_options=options, chunks={}),  # type: ignore[arg-type]
        open_references(refs_3, remote_options={**bucket}),
    ):
        image = dataset.image.transpose("T", "Z", "C", "Y", "X")
        np.testing.assert_array_equal(image.compute().values, SPEC.array)
        means = image.astype("f8").mean(["Y", "X"]).compute()
        np.testing.assert_allclose(means.values, SPEC.array.mean(axis=(-2, -1)))
