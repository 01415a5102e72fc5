"""File and references in a bucket: every open form, a cluster, and a commit that another process reads."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from tests.builder import Nd2Spec, build
from tests.references import OLD_PARQUET, V3_ZLIB, assert_same
from tests.servers import range_server, s3_bucket
from xarray_nd2 import ND2Parser, StaleReferencesWarning, open_references, to_kerchunk, write_kerchunk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

s3fs = pytest.importorskip("s3fs")
pytest.importorskip("moto")

pytestmark = [pytest.mark.filterwarnings(V3_ZLIB), pytest.mark.filterwarnings(OLD_PARQUET)]

SPECS = {
    "raw": Nd2Spec(loops=[("T", 4), ("Z", 3)], channels=2, height=16, width=24),
    "zlib": Nd2Spec(loops=[("T", 6)], channels=2, height=16, width=24, zlib=True),
    "color": Nd2Spec(loops=[("P", 2)], samples=3, dtype="u1", height=8, width=9),
}
each_file = pytest.mark.parametrize("name", SPECS)


@pytest.fixture(scope="module")
def server_options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Storage options for a bucket ``images`` that holds the files."""
    with s3_bucket(SPECS, tmp_path_factory.mktemp("bucket")) as options:
        yield options


@pytest.fixture
def bucket(server_options: dict[str, Any]) -> dict[str, Any]:
    """A copy: what is given to kerchunk as ``remote_options`` is changed by it."""
    return dict(server_options)


def engine(name: str, bucket: dict[str, Any]) -> xr.Dataset:
    return xr.open_dataset(f"s3://images/{name}.nd2", engine="nd2", storage_options=bucket)


@each_file
def test_kerchunk_references(bucket: dict[str, Any], name: str) -> None:
    dest = f"s3://images/{name}.json"
    write_kerchunk(f"s3://images/{name}.nd2", dest, storage_options=bucket, dest_options=bucket)
    assert "test-secret" not in s3fs.S3FileSystem(**bucket).cat_file(dest).decode()
    options = {"target_options": bucket, "remote_protocol": "s3", "remote_options": {**bucket}}
    virtual = xr.open_dataset(dest, engine="kerchunk", storage_options=options, chunks={})
    assert_same(virtual, engine(name, bucket))


@each_file
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_reference_file_system(bucket: dict[str, Any], name: str, zarr_format: Any) -> None:
    refs = to_kerchunk(f"s3://images/{name}.nd2", zarr_format=zarr_format, storage_options=bucket)
    options = {"fo": refs, "remote_protocol": "s3", "remote_options": {**bucket, "asynchronous": True}}
    virtual = xr.open_zarr("reference://", storage_options=options, consolidated=False)
    assert_same(virtual, engine(name, bucket))
    assert_same(open_references(refs, remote_options=bucket), engine(name, bucket))


def test_parquet_in_the_bucket(bucket: dict[str, Any]) -> None:
    dest = "s3://images/raw.parq"
    for _ in range(2):
        write_kerchunk(
            "s3://images/raw.nd2", dest, format="parquet", storage_options=bucket, dest_options=bucket, overwrite=True
        )
    options = {"target_options": bucket, "remote_protocol": "s3", "remote_options": {**bucket}}
    virtual = xr.open_dataset(dest, engine="kerchunk", storage_options=options, chunks={})
    assert_same(virtual, engine("raw", bucket))
    again = open_references(dest, storage_options=bucket, remote_options=bucket)
    assert_same(again, engine("raw", bucket))


def test_a_file_that_was_replaced_is_warned_of(bucket: dict[str, Any], tmp_path: Path) -> None:
    fs, url = s3fs.S3FileSystem(**bucket), "s3://images/replaced.nd2"
    refs: dict[str, Any] = {}
    for seed in (1, 2):  # as long as before, with other pixels: only the ETag tells
        build(tmp_path / "a.nd2", loops=[("T", 3)], seed=seed)
        fs.put_file(str(tmp_path / "a.nd2"), url)
        if seed == 1:
            refs = to_kerchunk(url, storage_options=bucket)
            open_references(refs, remote_options=bucket)
    fs.invalidate_cache()
    with pytest.warns(StaleReferencesWarning, match="changed"):
        open_references(refs, remote_options=bucket)


@pytest.fixture
def registry(bucket: dict[str, Any]) -> Any:
    obstore = pytest.importorskip("obstore.store")
    registry_of = pytest.importorskip("obspec_utils.registry").ObjectStoreRegistry
    store = obstore.S3Store(
        "images",
        access_key_id=bucket["key"],
        secret_access_key=bucket["secret"],
        endpoint=bucket["client_kwargs"]["endpoint_url"],
        region="us-east-1",
        client_options={"allow_http": True},
    )
    return registry_of({"s3://images": store})


@each_file
def test_a_manifest_store(bucket: dict[str, Any], registry: Any, name: str) -> None:
    store: Any = ND2Parser()(f"s3://images/{name}.nd2", registry)
    virtual = xr.open_zarr(store, consolidated=False, zarr_format=3)
    assert_same(virtual, engine(name, bucket))


def test_a_manifest_store_over_http(tmp_path: Path) -> None:
    obstore = pytest.importorskip("obstore.store")
    registry_of = pytest.importorskip("obspec_utils.registry").ObjectStoreRegistry
    spec = build(tmp_path / "a.nd2", SPECS["raw"])
    with range_server(tmp_path) as server:
        url = server.url("a.nd2")
        base = url.rpartition("/")[0]
        http = obstore.HTTPStore.from_url(base, client_options={"allow_http": True})
        store: Any = ND2Parser()(url, registry_of({base: http}))
        virtual = xr.open_zarr(store, consolidated=False, zarr_format=3)
        image = virtual.image.transpose("T", "Z", "C", "Y", "X")
        np.testing.assert_array_equal(image, spec.array)


def test_a_virtual_dataset_and_kerchunk_of_it(bucket: dict[str, Any], registry: Any) -> None:
    from virtualizarr import open_virtual_dataset

    url, spec = "s3://images/raw.nd2", SPECS["raw"]
    virtual = open_virtual_dataset(url, registry=registry, parser=ND2Parser(stored_order=True, inline_coords=False))
    assert type(virtual.image.data).__name__ == "ManifestArray"
    assert virtual.image.dims == ("T", "Z", "Y", "X", "C")
    refs = virtual.vz.to_kerchunk(format="dict")
    options = {"remote_protocol": "s3", "remote_options": {**bucket}}
    dataset = xr.open_dataset(refs, engine="kerchunk", storage_options=options, chunks={}, mask_and_scale=False)
    image = dataset.image.transpose("T", "Z", "C", "Y", "X")
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image.values, spec.array)


def test_files_are_joined(bucket: dict[str, Any], registry: Any, tmp_path: Path) -> None:
    fs = s3fs.S3FileSystem(**bucket)
    specs = []
    for i in range(2):
        specs.append(build(tmp_path / "a.nd2", loops=[("T", 3)], channels=2, seed=i))
        fs.put_file(str(tmp_path / "a.nd2"), f"images/part{i}.nd2")
    from virtualizarr import open_virtual_dataset

    urls = [f"s3://images/part{i}.nd2" for i in range(2)]
    parts = [open_virtual_dataset(url, registry=registry, parser=ND2Parser()) for url in urls]
    joined = xr.concat(parts, "T", coords="minimal", compat="override", join="override")
    assert joined.image.shape == (6, 6, 8, 2)
    store = joined.image.data.manifest.dict()
    assert {entry["path"] for entry in store.values()} == {f"s3://images/part{i}.nd2" for i in range(2)}


READER = """
import sys
import icechunk, numpy as np, xarray as xr

folder, endpoint, out = sys.argv[1:]
credentials = icechunk.containers_credentials({"s3://images/": icechunk.s3_static_credentials(
    access_key_id="test-key", secret_access_key="test-secret")})
repository = icechunk.Repository.open(
    icechunk.local_filesystem_storage(folder), authorize_virtual_chunk_access=credentials)
dataset = xr.open_zarr(repository.readonly_session("main").store, consolidated=False)
np.save(out, dataset.image.transpose("T", "Z", "C", "Y", "X", missing_dims="ignore").values)
assert dataset.T.attrs["units"] == "s" and dataset.C.values.tolist() == ["Channel 0", "Channel 1"]
"""


@pytest.mark.parametrize("name", ["raw", "zlib"])
def test_a_commit_to_icechunk_is_read_in_another_process(
    bucket: dict[str, Any], registry: Any, tmp_path: Path, name: str
) -> None:
    icechunk = pytest.importorskip("icechunk")
    from virtualizarr import open_virtual_dataset

    endpoint = bucket["client_kwargs"]["endpoint_url"]
    config = icechunk.RepositoryConfig.default()
    config.set_virtual_chunk_container(
        icechunk.VirtualChunkContainer(
            "s3://images/",
            icechunk.s3_store(
                region="us-east-1", endpoint_url=endpoint, allow_http=True, s3_compatible=True, force_path_style=True
            ),
        )
    )
    credentials = icechunk.containers_credentials(
        {
            "s3://images/": icechunk.s3_static_credentials(
                access_key_id=bucket["key"], secret_access_key=bucket["secret"]
            )
        }
    )
    repository = icechunk.Repository.create(
        icechunk.local_filesystem_storage(str(tmp_path / "repository")),
        config=config,
        authorize_virtual_chunk_access=credentials,
    )
    repository.save_config()
    session = repository.writable_session("main")
    url = f"s3://images/{name}.nd2"
    virtual = open_virtual_dataset(url, registry=registry, parser=ND2Parser())
    virtual.vz.to_icechunk(session.store)
    session.commit("an ND2 file, where it is")
    here = xr.open_zarr(repository.readonly_session("main").store, consolidated=False)
    image = here.image.transpose("T", "Z", "C", "Y", "X", missing_dims="ignore")
    np.testing.assert_array_equal(image, SPECS[name].array)
    out = tmp_path / "there.npy"
    arguments = [str(tmp_path / "repository"), endpoint, str(out)]
    done = subprocess.run([sys.executable, "-c", READER, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(out), SPECS[name].array)


def test_a_catalog_leads_into_the_bucket(bucket: dict[str, Any], tmp_path: Path) -> None:
    intake = pytest.importorskip("intake")
    from intake.readers.entry import Catalog

    from xarray_nd2.intake import ND2, ND2Reader, ND2References, ND2ReferencesReader

    url = "s3://images/raw.nd2"
    write_kerchunk(url, f"{url}.json", storage_options=bucket, dest_options=bucket)
    catalog = Catalog()
    catalog["exp"] = ND2Reader(ND2(url, storage_options=bucket))
    catalog["virtual"] = ND2ReferencesReader(
        ND2References(f"{url}.json", storage_options=bucket), remote_options=bucket
    )
    catalog.to_yaml_file(str(tmp_path / "catalog.yml"))
    again = intake.open_catalog(str(tmp_path / "catalog.yml"))
    for entry in (again.exp, again.virtual):
        assert_same(entry.read(), engine("raw", bucket))
