"""Use the installed package with one extra, and check that errors of other features name the missing extra.

``python tools/use_extra.py EXTRA`` runs in an environment that has the package and that extra, and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nd2

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (3, 2, 40, 48)
PIXELS = np.random.default_rng(3).integers(0, 4000, SHAPE).astype(np.uint16)
FILE = Path("small.nd2")


def same(found: Any) -> None:
    """Compare with the pixels that were written."""
    np.testing.assert_array_equal(np.asarray(found), PIXELS)


def base() -> None:
    """Write, read with the class and the engine, write references and read them."""
    import xarray as xr

    import xarray_nd2

    nd2.imwrite(FILE, PIXELS, axes="TCYX", channels=["DAPI", "GFP"])
    same(nd2.imread(FILE))
    with xr.open_dataset(FILE, engine="nd2") as dataset:
        same(dataset.image.values)
    with xr.open_dataset(FILE, engine="nd2", chunks={}) as dataset:
        same(dataset.image.compute().values)
    with nd2.ND2File(FILE) as file:
        assert file.ome_metadata().images
    xarray_nd2.write_kerchunk(FILE, "small.json")
    same(xr.open_dataset("small.json", engine="kerchunk").image.transpose("T", "C", "Y", "X"))
    program = Path(sysconfig.get_path("scripts")) / "nd2"
    shown = subprocess.run([program, "info", FILE], check=True, capture_output=True, text=True)
    assert "T 3 x C 2 x Y 40 x X 48" in shown.stdout, shown.stdout


def remote() -> None:
    """Read over HTTP; build the file system of S3."""
    import xarray as xr

    from tests.servers import range_server

    with range_server(Path()) as server:
        same(nd2.imread(server.url(FILE.name)))
        with xr.open_dataset(server.url(FILE.name), engine="nd2") as dataset:
            same(dataset.image.values)
    import fsspec

    assert fsspec.filesystem("s3", anon=True).protocol[0] == "s3"


def legacy() -> None:
    """Read the pixels of a file that is made here."""
    from tests.legacy_builder import build

    spec = build(Path("legacy.nd2"), loops=[("T", 2), ("Z", 3)])
    np.testing.assert_array_equal(nd2.imread("legacy.nd2"), spec.array)


def tiff() -> None:
    """Write OME-TIFF and read it back."""
    import tifffile

    with nd2.ND2File(FILE) as file:
        file.write_tiff("small.ome.tif")
    same(tifffile.imread("small.ome.tif"))


def ome_zarr() -> None:
    """Write OME-Zarr with zarr, and have its metadata validated."""
    import yaozarrs

    with nd2.ND2File(FILE) as file:
        file.write_ome_zarr("small.zarr", backend="zarr")
    yaozarrs.validate_zarr_store("small.zarr")


def tensorstore() -> None:
    """Write OME-Zarr with tensorstore, and read it with zarr."""
    import zarr

    with nd2.ND2File(FILE) as file:
        file.write_ome_zarr("tensors.zarr", backend="tensorstore")
    same(zarr.open_array("tensors.zarr/0", mode="r")[...])


def virtual() -> None:
    """Make a ManifestStore, commit it to Icechunk, write references in Parquet; read each."""
    import icechunk
    import xarray as xr
    from obspec_utils.registry import ObjectStoreRegistry
    from obstore.store import LocalStore
    from virtualizarr import open_virtual_dataset

    import xarray_nd2

    folder = f"{Path.cwd().as_uri()}/"
    parser, registry = xarray_nd2.ND2Parser(), ObjectStoreRegistry({folder: LocalStore(Path.cwd())})
    store = parser(folder + FILE.name, registry)
    with xr.open_zarr(store, consolidated=False, zarr_format=3) as dataset:
        same(dataset.image.transpose("T", "C", "Y", "X"))

    config = icechunk.RepositoryConfig.default()
    place = icechunk.local_filesystem_store(str(Path.cwd()))
    config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(folder, place))
    access = icechunk.containers_credentials({folder: None})
    storage = icechunk.local_filesystem_storage("repository")
    repository = icechunk.Repository.create(storage, config, authorize_virtual_chunk_access=access)
    session = repository.writable_session("main")
    virtual = open_virtual_dataset(folder + FILE.name, registry=registry, parser=parser)
    virtual.vz.to_icechunk(session.store)
    session.commit("one file")
    session = repository.readonly_session("main")
    with xr.open_zarr(session.store, consolidated=False, zarr_format=3) as dataset:
        same(dataset.image.transpose("T", "C", "Y", "X"))

    xarray_nd2.write_kerchunk(FILE, "small.parq", format="parquet")
    assert Path("small.parq", ".zmetadata").is_file()


def intake() -> None:
    """Open the file by a catalog."""
    import intake

    Path("catalog.yml").write_text(
        "sources:\n  cells:\n    driver: nd2\n    args:\n      urlpath: '{{ CATALOG_DIR }}/small.nd2'\n",
        encoding="utf-8",
    )
    same(intake.open_catalog("catalog.yml").cells.read().image)


def napari() -> None:
    """Add the layers of a file to a viewer without a window."""
    import warnings

    with warnings.catch_warnings(action="ignore"):  # napari's own
        from napari.components import ViewerModel

    from xarray_nd2.napari import add_layers

    layers = add_layers(ViewerModel(), FILE)
    same(np.stack([layer.data for layer in layers], axis=1))


def plot() -> None:
    """Draw a thumbnail."""
    import xarray as xr

    with xr.open_dataset(FILE, engine="nd2") as dataset:
        dataset.nd2.thumbnail().savefig("small.png")
    assert Path("small.png").read_bytes().startswith(b"\x89PNG")


def animate() -> None:
    """Make a video of the time points."""
    program = Path(sysconfig.get_path("scripts")) / "nd2"
    subprocess.run([program, "show", FILE, "small.mp4", "--animate"], check=True, capture_output=True)
    assert Path("small.mp4").read_bytes()[4:8] == b"ftyp"


def distributed() -> None:
    """Catalog the file on a cluster."""
    from distributed import Client, LocalCluster

    from nd2.index import index_files

    cluster: Any = LocalCluster(n_workers=1, dashboard_address=":0")  # type: ignore[no-untyped-call]
    with cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        [row] = index_files([FILE], client=client)
    assert row["axes"] == "TCYX", row


def cli() -> None:
    """Show progress."""
    program = Path(sysconfig.get_path("scripts")) / "nd2"
    done = subprocess.run([program, "zarr", FILE, "progress.zarr"], check=True, capture_output=True, text=True)
    assert Path("progress.zarr", "zarr.json").is_file(), done.stderr


USES: dict[str, tuple[str, Callable[[], None]]] = {
    "remote": ("aiohttp", remote),
    "legacy": ("imagecodecs", legacy),
    "tiff": ("tifffile", tiff),
    "tensorstore": ("tensorstore", tensorstore),
    "virtual": ("virtualizarr", virtual),
    "intake": ("intake", intake),
    "plot": ("matplotlib", plot),
    "animate": ("imageio_ffmpeg", animate),
    "distributed": ("distributed", distributed),
    "napari": ("napari", napari),
}
"""Extras that a feature needs: a package that each installs, and a function that uses the feature."""

EASES: dict[str, Callable[[], None]] = {"ome-zarr": ome_zarr, "cli": cli}
"""Extras that improve a feature, which also works without them."""

APART = {"napari"}
"""Extras that ``all`` does not include."""


def lacks() -> dict[str, Callable[[], object]]:
    """Return for each extra a call that raises ImportError without its package."""
    import xarray as xr

    import xarray_nd2.napari

    def export(**options: Any) -> None:
        with nd2.ND2File(FILE) as file:
            file.write_ome_zarr("refused.zarr", **options)

    def picture() -> None:
        xr.open_dataset(FILE, engine="nd2").nd2.thumbnail()

    def video() -> None:
        from nd2._core.views.animation import write_animation

        with nd2.ND2File(FILE) as file:
            reader, facts = file._reader, file._facts  # noqa: SLF001
            write_animation(reader, facts, Path("refused.mp4"), "MP4", annotated=False)

    def cluster() -> None:
        from nd2._core import batch

        with batch.cluster("tcp://127.0.0.1:8786"):
            pass

    def catalog() -> None:
        import xarray_nd2.intake  # noqa: F401  # the import fails without intake

    return {
        "remote": lambda: nd2.ND2File("s3://bucket/small.nd2"),
        "tiff": lambda: nd2.nd2_to_tiff(FILE, "refused.tif"),
        "tensorstore": lambda: export(backend="tensorstore"),
        "virtual": lambda: xarray_nd2.ND2Parser,
        "intake": catalog,
        "plot": picture,
        "animate": video,
        "distributed": cluster,
        "napari": lambda: xarray_nd2.napari.add_layers(None, FILE),
    }


def main(extra: str) -> None:
    """Use the base and the extra; try the features of the other extras."""
    site = Path(sysconfig.get_path("purelib")).resolve()
    assert Path(nd2.__file__).resolve().is_relative_to(site), f"not the installed one: {nd2.__file__}"
    base()
    used = []
    wanted = {*USES, *EASES} - APART if extra == "all" else {extra}
    for name, (_, use) in USES.items():
        if name in wanted:
            use()
            used.append(name)
    for name, ease in EASES.items():
        if name in wanted:
            ease()
            used.append(name)
    assert extra in {"", "all", *used}, f"unknown extra {extra!r}"
    refused = []
    for name, attempt in lacks().items():
        if find_spec(USES[name][0]) is not None:
            assert name in wanted or extra, f"{USES[name][0]} is here without its extra {name!r}"
            continue
        try:
            attempt()
        except ImportError as error:
            if f"xarray-nd2[{name}]" not in str(error):
                raise
            refused.append(name)
        else:
            raise AssertionError(f"{name!r} is not needed for what needs it")
    print("used " + ", ".join(["nd2, engine, references", *used]), end="")
    print(f"; refused, named: {', '.join(refused)}" if refused else "")


if __name__ == "__main__":
    main(sys.argv[1])
