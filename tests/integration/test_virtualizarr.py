"""VirtualiZarr as its documentation shows it for any parser: datasets, many files, trees, and writers."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from tests.builder import build
from tests.references import OLD_PARQUET
from xarray_nd2 import ND2Parser

if TYPE_CHECKING:
    from pathlib import Path

virtualizarr = pytest.importorskip("virtualizarr")
obstore = pytest.importorskip("obstore.store")
registries = pytest.importorskip("obspec_utils.registry")

pytestmark = [
    pytest.mark.filterwarnings(OLD_PARQUET),
    # zarr-python's warnings about loaded texts depend on its version.
    pytest.mark.filterwarnings("ignore:The data type .FixedLengthUTF32"),
    pytest.mark.filterwarnings("ignore:The 'future.infer_string' option"),
]


@pytest.fixture
def registry() -> Any:
    return registries.ObjectStoreRegistry({"file://": obstore.LocalStore()})


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files that follow each other, with several channels."""
    paths = [tmp_path / f"part{i}.nd2" for i in range(2)]
    for i, path in enumerate(paths):
        build(
            path,
            loops=[("T", 3), ("Z", 2)],
            channels=2,
            channel_names=["DAPI", "a longer name"],
            times=[1000 * i + 100 * frame for frame in range(6)],
            seed=i,
        )
    return paths


def engine(path: Path) -> xr.Dataset:
    return xr.open_dataset(path, engine="nd2").load()


def joined(files: list[Path]) -> xr.Dataset:
    parts = [engine(path) for path in files]
    return xr.concat(parts, "T", data_vars="minimal", coords="minimal", compat="override", join="override")


def assert_same(dataset: xr.Dataset, expected: xr.Dataset) -> None:
    assert set(dataset.coords) == set(expected.coords)
    image = dataset.image.transpose(*expected.image.dims)
    assert image.dtype == expected.image.dtype
    np.testing.assert_array_equal(image, expected.image)
    for name, coord in expected.coords.items():
        np.testing.assert_equal(dataset[name].values.tolist(), coord.values.tolist())


class Store:
    """An Icechunk repository that may read a folder."""

    def __init__(self, folder: Path, repository: Path | None = None) -> None:
        icechunk = pytest.importorskip("icechunk")
        config = icechunk.RepositoryConfig.default()
        place = icechunk.local_filesystem_store(str(folder))
        container = icechunk.VirtualChunkContainer(f"{folder.as_uri()}/", place)
        config.set_virtual_chunk_container(container)
        # None, which means the same, is deprecated where there is a name for it.
        local = getattr(icechunk.credentials, "LocalFileSystemAccess", None)
        access = icechunk.containers_credentials({f"{folder.as_uri()}/": local})
        storage = icechunk.in_memory_storage()
        if repository is not None:
            storage = icechunk.local_filesystem_storage(str(repository))
        self.repository = icechunk.Repository.create(storage, config=config, authorize_virtual_chunk_access=access)
        self.repository.save_config()

    def commit(self, dataset: xr.Dataset, **options: Any) -> None:
        session = self.repository.writable_session("main")
        dataset.vz.to_icechunk(session.store, **options)
        session.commit("a commit")

    def open(self) -> xr.Dataset:
        session = self.repository.readonly_session("main")
        dataset: xr.Dataset = xr.open_zarr(session.store, consolidated=False)
        return dataset


@pytest.mark.parametrize("stored_order", [True, False])
def test_a_virtual_dataset(files: list[Path], registry: Any, stored_order: bool) -> None:
    """The image is virtual; coordinates are in memory, also without loadable variables."""
    parser = ND2Parser(stored_order=stored_order)
    expected = engine(files[0])
    dims = ("T", "Z", "Y", "X", "C") if stored_order else ("T", "Z", "C", "Y", "X")
    choices: list[list[str] | None] = [None, []]
    for loadable in choices:
        dataset = virtualizarr.open_virtual_dataset(
            files[0].as_uri(), registry=registry, parser=parser, loadable_variables=loadable
        )
        assert type(dataset.image.data).__name__ == "ManifestArray"
        assert dataset.image.dims == dims
        assert set(dataset.coords) == set(expected.coords)
        assert all(type(dataset[name].data) is np.ndarray for name in dataset.coords)
    store: Any = parser(files[0].as_uri(), registry)
    assert_same(xr.open_zarr(store, consolidated=False, zarr_format=3), expected)


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_kerchunk(files: list[Path], registry: Any, form: str, tmp_path: Path) -> None:
    dataset = virtualizarr.open_virtual_dataset(files[0].as_uri(), registry=registry, parser=ND2Parser())
    out = str(tmp_path / f"refs.{form}")
    dataset.vz.to_kerchunk(out, format=form)
    options: dict[str, Any] = {}
    if form == "parquet":
        options["storage_options"] = {"remote_protocol": "file"}
    read = xr.open_dataset(out, engine="kerchunk", mask_and_scale=False, **options)
    assert_same(read, engine(files[0]))


@pytest.mark.parametrize("stored_order", [True, False])
def test_icechunk(files: list[Path], registry: Any, stored_order: bool) -> None:
    store = Store(files[0].parent)
    parser = ND2Parser(stored_order=stored_order)
    first, second = (
        virtualizarr.open_virtual_dataset(path.as_uri(), registry=registry, parser=parser) for path in files
    )
    store.commit(first)
    assert_same(store.open(), engine(files[0]))
    store.commit(second, append_dim="T")
    assert_same(store.open(), joined(files))


READER = """
import sys, warnings
sys.modules.update({"nd2": None, "xarray_nd2": None})  # as if they were not installed
warnings.simplefilter("ignore")
import icechunk, numpy as np, xarray as xr

folder, container, out = sys.argv[1:]
repository = icechunk.Repository.open(
    icechunk.local_filesystem_storage(folder),
    authorize_virtual_chunk_access=icechunk.containers_credentials({container: None}))
dataset = xr.open_zarr(repository.readonly_session("main").store, consolidated=False)
assert dataset.C.values.tolist() == ["DAPI", "a longer name"]
np.save(out, dataset.image.values)
"""


def test_icechunk_without_this_package(files: list[Path], registry: Any, tmp_path: Path) -> None:
    store = Store(files[0].parent, tmp_path / "repository")
    store.commit(
        virtualizarr.open_virtual_dataset(files[0].as_uri(), registry=registry, parser=ND2Parser(stored_order=False))
    )
    arguments = [str(tmp_path / "repository"), f"{tmp_path.as_uri()}/", str(tmp_path / "out.npy")]
    done = subprocess.run([sys.executable, "-c", READER, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), engine(files[0]).image)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"combine": "nested", "concat_dim": "T"},
        {"combine": "nested", "concat_dim": "T", "parallel": "dask"},
        {"combine": "by_coords"},
    ],
    ids=str,
)
def test_many_files(files: list[Path], registry: Any, options: dict[str, Any]) -> None:
    urls = [path.as_uri() for path in files]
    dataset = virtualizarr.open_virtual_mfdataset(urls, registry=registry, parser=ND2Parser(), **options)
    assert type(dataset.image.data).__name__ == "ManifestArray"
    store = Store(files[0].parent)
    store.commit(dataset)
    assert_same(store.open(), joined(files))


def test_a_new_axis(files: list[Path], registry: Any) -> None:
    urls = [files[0].as_uri()] * 2
    dataset = virtualizarr.open_virtual_mfdataset(
        urls, registry=registry, parser=ND2Parser(), combine="nested", concat_dim="file"
    )
    assert dict(dataset.sizes) == {"file": 2, "T": 3, "Z": 2, "Y": 6, "X": 8, "C": 2}
    store = Store(files[0].parent)
    store.commit(dataset)
    image = store.open().image.transpose("file", *engine(files[0]).image.dims)
    np.testing.assert_array_equal(image, np.stack([engine(files[0]).image] * 2))


def test_a_tree(tmp_path: Path, registry: Any) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 3), ("P", 2)])
    tree = virtualizarr.open_virtual_datatree(path.as_uri(), registry=registry, parser=ND2Parser(layout="positions"))
    assert set(tree.groups) == {"/", "/P0", "/P1"}


@pytest.mark.parametrize(
    "name", ["exp #1.nd2", "a?b.nd2", "tab\tx.nd2", "100%25 dose.nd2", "100% dose.nd2", "ü {x}.nd2"]
)
def test_a_name_is_right_or_refused(tmp_path: Path, registry: Any, name: str) -> None:
    path = tmp_path / name
    build(path, loops=[("T", 2)])
    open_virtual = virtualizarr.open_virtual_dataset
    if any(mark in name for mark in "#?\t") or "%25" in name:
        with pytest.raises(ValueError, match="readers of virtual stores"):
            open_virtual(path.as_uri(), registry=registry, parser=ND2Parser())
        return
    store = Store(tmp_path)
    store.commit(open_virtual(path.as_uri(), registry=registry, parser=ND2Parser()))
    assert_same(store.open(), engine(path))


def test_stores_and_registries_can_be_sent_to_other_processes(files: list[Path], registry: Any) -> None:
    store: Any = ND2Parser()(files[0].as_uri(), registry)
    assert list(registry.map) == list(pickle.loads(pickle.dumps(registry)).map)
    again = pickle.loads(pickle.dumps(store))
    assert_same(xr.open_zarr(again, consolidated=False, zarr_format=3), engine(files[0]))
