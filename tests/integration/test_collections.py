"""Files in a bucket as one virtual store per experiment: written on a cluster, extended, opened; trees of files."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from nd2.index import index_files
from tests.builder import Nd2Spec, build
from tests.references import OLD_PARQUET
from tests.servers import range_server, s3_bucket
from xarray_nd2 import ND2Parser, open_references, write_combined

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("distributed")
icechunk = pytest.importorskip("icechunk")
obstore = pytest.importorskip("obstore.store")
registries = pytest.importorskip("obspec_utils.registry")
virtualizarr = pytest.importorskip("virtualizarr")
pytest.importorskip("s3fs")
pytest.importorskip("moto")

pytestmark = [
    pytest.mark.filterwarnings(OLD_PARQUET),
    pytest.mark.filterwarnings("ignore:The data type .FixedLengthUTF32"),
    pytest.mark.filterwarnings("ignore:The 'future.infer_string' option"),
]

FIRST, ALL = 8, 10
SHAPES = {"a": {"height": 16, "width": 24}, "b": {"height": 8, "width": 8, "channels": 2}}


def spec(experiment: str, number: int) -> Nd2Spec:
    times = [1000.0 * number + 100 * step for step in range(3)]
    return Nd2Spec(loops=[("T", 3)], times=times, seed=number, **SHAPES[experiment])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Storage options for a bucket ``images`` with ten files of each of two experiments."""
    specs = {f"{name}-{i:02}": spec(name, i) for name in SHAPES for i in range(ALL)}
    with s3_bucket(specs, tmp_path_factory.mktemp("bucket")) as options:
        yield options


@pytest.fixture
def access(bucket: dict[str, Any]) -> dict[str, Any]:
    return {
        "region": "us-east-1",
        "endpoint_url": bucket["client_kwargs"]["endpoint_url"],
        "allow_http": True,
        "force_path_style": True,
    }


KEYS = {"access_key_id": "test-key", "secret_access_key": "test-secret"}


@pytest.fixture
def registry(access: dict[str, Any]) -> Any:
    store = obstore.S3Store(
        "images",
        endpoint=access["endpoint_url"],
        region="us-east-1",
        client_options={"allow_http": True},
        virtual_hosted_style_request=False,
        **KEYS,
    )
    return registries.ObjectStoreRegistry({"s3://images": store})


def repository(name: str, access: dict[str, Any], *, create: bool) -> Any:
    config = icechunk.RepositoryConfig.default()
    files = icechunk.s3_store(**access, s3_compatible=True)
    config.set_virtual_chunk_container(icechunk.VirtualChunkContainer("s3://images/", files))
    keys = icechunk.containers_credentials({"s3://images/": icechunk.s3_credentials(**KEYS)})
    storage = icechunk.s3_storage(bucket="images", prefix=f"stores/{name}", **access, **KEYS)
    make = icechunk.Repository.create if create else icechunk.Repository.open
    return make(storage, config=config, authorize_virtual_chunk_access=keys)


def experiments(bucket: dict[str, Any]) -> dict[str, list[str]]:
    """URLs of the files of each experiment, by the shape that the catalog gives."""
    rows = index_files(["s3://images"], storage_options=bucket)
    assert [row["error"] for row in rows] == [""] * (2 * ALL)
    found = defaultdict(list)
    for row in rows:
        found[f"{row['axes']}-{row['shape'][-1]}"].append(row["path"])
    return found


def open_virtual(urls: list[str], registry: Any, **options: Any) -> xr.Dataset:
    dataset: xr.Dataset = virtualizarr.open_virtual_mfdataset(
        urls, registry=registry, parser=ND2Parser(), combine="nested", concat_dim="T", **options
    )
    return dataset


def assert_experiment(dataset: xr.Dataset, name: str, count: int) -> None:
    specs = [spec(name, number) for number in range(count)]
    dims = ("T", *(dim for dim in "CYX" if dim in dataset.image.dims))
    expected = np.concatenate([item.array for item in specs])
    np.testing.assert_array_equal(dataset.image.transpose(*dims).values, expected)
    times = np.concatenate([item.times for item in specs if item.times is not None])
    np.testing.assert_allclose(dataset["time"].values, times / 1000)


@pytest.mark.usefixtures("client")
def test_a_store_per_experiment_is_extended(bucket: dict[str, Any], access: dict[str, Any], registry: Any) -> None:
    groups = experiments(bucket)
    assert {name: len(urls) for name, urls in groups.items()} == {"TYX-24": ALL, "TCYX-8": ALL}
    for name, urls in groups.items():
        store = repository(name, access, create=True)
        for part, options in ((urls[:FIRST], {}), (urls[FIRST:], {"append_dim": "T"})):
            virtual = open_virtual(part, registry, parallel="dask")
            assert type(virtual.image.data).__name__ == "ManifestArray"
            session = store.writable_session("main")
            virtual.vz.to_icechunk(session.store, **options)
            session.commit(f"{len(part)} files")
    for name, experiment in (("TYX-24", "a"), ("TCYX-8", "b")):
        store = repository(name, access, create=False)
        history = list(store.ancestry(branch="main"))
        assert len(history) == 3  # two commits, and the empty repository
        session = store.readonly_session("main")
        assert_experiment(xr.open_zarr(session.store, consolidated=False), experiment, ALL)
        session = store.readonly_session(snapshot_id=history[1].id)
        assert_experiment(xr.open_zarr(session.store, consolidated=False), experiment, FIRST)


def test_requests_of_a_virtual_dataset(bucket: dict[str, Any], registry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is opened by its two ends; nothing else is requested."""
    from nd2._core.io.ranges import range_header
    from xarray_nd2.references.virtualizarr import _ObstoreTransport

    ranges: list[str] = []
    original = _ObstoreTransport._request

    def counted(self: Any, start: int, stop: int) -> Any:
        ranges.append(range_header(start, stop).partition("-")[0])
        return original(self, start, stop)

    monkeypatch.setattr(_ObstoreTransport, "_request", counted)
    open_virtual(experiments(bucket)["TYX-24"][:4], registry)
    assert sorted(ranges) == ["bytes="] * 4 + ["bytes=0"] * 4


def test_requests_over_http(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 3)])
    with range_server(tmp_path) as server:
        address = server.url("")
        store = obstore.HTTPStore(address, client_options={"allow_http": True})
        registry = registries.ObjectStoreRegistry({address: store})
        dataset = open_virtual([server.url("a.nd2")], registry)
        assert [seen.method for seen in server.seen] == ["GET", "GET"]
        assert dataset.attrs["nd2_source_size"] == (tmp_path / "a.nd2").stat().st_size
        server.suffixes = False
        assert open_virtual([server.url("a.nd2")], registry).sizes["T"] == 3


def test_files_of_unlike_shape_are_a_tree(bucket: dict[str, Any], access: dict[str, Any], registry: Any) -> None:
    groups = experiments(bucket)
    store = repository("tree", access, create=True)
    session = store.writable_session("main")
    for name, urls in groups.items():
        open_virtual(urls, registry).vz.to_icechunk(session.store, group=name)
    session.commit("all files")
    session = store.readonly_session("main")
    with xr.open_datatree(session.store, engine="zarr", consolidated=False) as tree:
        assert set(tree.children) == {"TYX-24", "TCYX-8"}
        assert_experiment(tree["TYX-24"].to_dataset(), "a", ALL)
        assert_experiment(tree["TCYX-8"].to_dataset(), "b", ALL)


def test_references_in_the_bucket(bucket: dict[str, Any], client: Any) -> None:
    write_combined(
        "s3://images/a-*.nd2",
        "s3://images/references/a.parq",
        storage_options=bucket,
        dest_options=bucket,
        client=client,
    )
    dataset = open_references("s3://images/references/a.parq", storage_options=bucket, remote_options=bucket)
    assert_experiment(dataset, "a", ALL)
