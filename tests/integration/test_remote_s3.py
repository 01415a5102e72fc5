"""A bucket is as good as a folder: threads, processes and a cluster read from S3, bit for bit."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pytest
import xarray as xr
from dask.base import compute

import nd2
from tests.builder import Nd2Spec, build
from tests.servers import range_server, s3_bucket
from tests.sparse import build_sparse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import RangeServer

s3fs = pytest.importorskip("s3fs")
pytest.importorskip("moto")

SPECS = {
    "raw": Nd2Spec(loops=[("T", 60), ("Z", 3)], channels=2, height=32, width=64),
    "zlib": Nd2Spec(loops=[("T", 60)], height=64, width=64, zlib=True),
}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Storage options for a bucket ``images`` that holds the files."""
    with s3_bucket(SPECS, tmp_path_factory.mktemp("bucket")) as options:
        yield options


@pytest.mark.parametrize("name", SPECS)
def test_s3_gives_what_a_local_file_gives(bucket: dict[str, Any], name: str, tmp_path: Path) -> None:
    url, spec = f"s3://images/{name}.nd2", SPECS[name]
    np.testing.assert_array_equal(nd2.imread(url, storage_options=bucket), spec.array)
    build(tmp_path / "local.nd2", spec)
    local = xr.open_dataset(tmp_path / "local.nd2", engine="nd2")
    remote = xr.open_dataset(url, engine="nd2", storage_options=bucket)
    xr.testing.assert_equal(remote, local)
    with nd2.ND2File(url, storage_options=bucket) as file:
        assert file.path == url
        assert nd2.is_supported_file(url, storage_options=bucket)
        assert not nd2.is_legacy(url, storage_options=bucket)


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
@pytest.mark.parametrize("name", SPECS)
def test_dask_reads_from_s3(bucket: dict[str, Any], name: str, scheduler: str) -> None:
    url, spec = f"s3://images/{name}.nd2", SPECS[name]
    dataset = xr.open_dataset(url, engine="nd2", storage_options=bucket, chunks={"T": 10})
    array = nd2.imread(url, dask=True, storage_options=bucket)
    with dask.config.set(scheduler=scheduler, num_workers=2):
        image, pixels = compute(dataset.image.data, array + 0)  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(image, spec.array)
    np.testing.assert_array_equal(pixels, spec.array)


def test_what_workers_get_is_small(bucket: dict[str, Any]) -> None:
    for name, spec in SPECS.items():
        url = f"s3://images/{name}.nd2"
        dataset = xr.open_dataset(url, engine="nd2", storage_options=bucket, chunks={})
        array = nd2.imread(url, dask=True, storage_options=bucket)
        for pixels in (dataset.image.data, array):
            for task in dict(pixels.dask).values():
                assert len(pickle.dumps(task)) < (64 << 10) + 16 * spec.frame_count


def test_credentials_that_the_user_did_not_give_are_in_no_pickle(
    bucket: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDFROMENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRETFROMENV")
    options = {"client_kwargs": bucket["client_kwargs"], "skip_instance_cache": True}
    with nd2.ND2File("s3://images/raw.nd2", storage_options=options) as file:
        np.testing.assert_array_equal(file.read_frame(50), SPECS["raw"].frames[50].squeeze())
        pickled = pickle.dumps(file.to_dask())
    assert b"FROMENV" not in pickled
    given = pickle.dumps(nd2.imread("s3://images/raw.nd2", dask=True, storage_options=bucket))
    assert b"test-secret" in given


def test_a_private_bucket_without_credentials_is_named(
    bucket: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    options = {"client_kwargs": bucket["client_kwargs"], "skip_instance_cache": True}
    with pytest.raises(PermissionError, match=r"s3://images/raw\.nd2.*storage_options"):
        nd2.ND2File("s3://images/raw.nd2", storage_options=options)


def test_a_cached_bucket(bucket: dict[str, Any], tmp_path: Path) -> None:
    options = {"s3": bucket, "simplecache": {"cache_storage": str(tmp_path)}}
    array = nd2.imread("simplecache::s3://images/zlib.nd2", storage_options=options)
    np.testing.assert_array_equal(array, SPECS["zlib"].array)
    assert [path.stat().st_size for path in tmp_path.iterdir()]


def test_an_index_in_the_bucket(bucket: dict[str, Any]) -> None:
    url = "s3://images/raw.nd2"
    assert nd2.save_index(url, storage_options=bucket) == "s3://images/raw.nd2.index"
    with nd2.ND2File(url, storage_options=bucket, index=True) as file:
        np.testing.assert_array_equal(file.asarray(), SPECS["raw"].array)


SCATTERED = range(100, 700, 8)
"""Frames too far from each other to be read by one request."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[RangeServer, dict[str, Any]]]:
    """A server that knows no more of S3 than to send ranges of objects, and the options to reach it."""
    (tmp_path / "images").mkdir()
    build_sparse(tmp_path / "images" / "a.nd2", count=800, height=32, width=256)
    with range_server(tmp_path) as server:
        yield server, {"anon": True, "client_kwargs": {"endpoint_url": server.url("")[:-1]}}


def most_in_flight(server: RangeServer, options: dict[str, Any], gather: int) -> int:
    dataset = xr.open_dataset("s3://images/a.nd2", engine="nd2", storage_options=options)
    server.reset()
    server.gather = gather
    dataset.image[list(SCATTERED)].load()
    assert server.requests == len(SCATTERED)
    return server.most_in_flight


def test_the_pool_of_connections_is_as_large_as_what_is_in_flight(store: tuple[RangeServer, dict[str, Any]]) -> None:
    server, options = store
    assert most_in_flight(server, options, len(SCATTERED)) == len(SCATTERED)


def test_a_pool_that_the_user_sized_stays(store: tuple[RangeServer, dict[str, Any]]) -> None:
    server, options = store
    assert most_in_flight(server, {**options, "config_kwargs": {"max_pool_connections": 7}}, 7) == 7
