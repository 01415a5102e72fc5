"""``make bench-facility``: thousands of files as a catalog, as a collection, and a large file converted on a cluster.

An S3 server (moto) runs on the loopback device in a separate process, waits before each response, and counts requests.
Each piece of work runs in a separate process. Times do not include the start of Python and of the cluster. ``--write``
replaces the table in ``docs/collections.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nd2
from bench.pages import write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "collections.md"
ORACLE = ROOT / ".venv-oracle" / "bin" / "python"
BUCKET = "facility"
LATENCY = "FACILITY_LATENCY"
MODULES = (
    "nd2._core.catalog", "nd2._core.export.ome_zarr", "pandas", "s3fs", "fastparquet", "tensorstore",
    "virtualizarr",
    "xarray_nd2.references.combine", "xarray_nd2.references.virtualizarr", "icechunk",
)  # fmt: skip
"""Modules that are imported before timing starts."""
EXPERIMENTS = 10
KEY, SECRET, REGION = "test-key", "test-secret", "us-east-1"
HEADER = "| work | seconds | requests per file | peak MB |\n| --- | --: | --: | --: |"


def serve() -> None:
    """Serve S3 and count requests, without logging them; runs until it is killed."""
    import logging

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").disabled = True
    app: Any = DomainDispatcherApplication(create_backend_app)
    lock, count, latency = threading.Lock(), [0], float(os.environ[LATENCY])

    def counted(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/__requests":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(count[0]).encode()]
        with lock:
            count[0] += 1
        time.sleep(latency)
        return app(environ, start_response)

    server = make_server("127.0.0.1", 0, counted, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def s3() -> Iterator[str]:
    """Run the server; yield its address."""
    command = [sys.executable, "-m", "bench.facility", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def storage_options(endpoint: str) -> dict[str, Any]:
    """Return the options with which s3fs reaches the server."""
    client = {"endpoint_url": endpoint, "region_name": REGION}
    pool = {"max_pool_connections": 64}
    return {"key": KEY, "secret": SECRET, "client_kwargs": client, "config_kwargs": pool}


def requests(endpoint: str) -> int:
    """Return the number of requests that the server received."""
    with urllib.request.urlopen(f"{endpoint}/__requests") as response:
        return int(response.read())


def write_files(folder: Path, count: int) -> None:
    """Write files of a few experiments: five time points of two channels, 100 KB each."""
    rng = np.random.default_rng(0)
    for number in range(count):
        experiment = number % EXPERIMENTS
        path = folder / f"exp{experiment:02}" / f"{number // EXPERIMENTS:05}.nd2"
        path.parent.mkdir(exist_ok=True)
        pixels = rng.poisson(200, (5, 2, 64, 64)).astype(np.uint16)
        start = 10.0 * (number // EXPERIMENTS)
        nd2.imwrite(path, pixels, axes="TCYX", channels=["DAPI", "GFP"], times=(start + np.arange(5)) * 1000)


@contextmanager
def cluster(workers: int, threads: int = 1) -> Iterator[Any]:
    """Yield the client of a cluster on this machine, after imports; None without workers."""
    if not workers:
        yield None
        return
    from distributed import Client, LocalCluster

    local: Any = LocalCluster(
        n_workers=workers,
        threads_per_worker=threads,
        processes=True,
        host="127.0.0.1",
        dashboard_address=":0",
        silence_logs=50,
    )
    with local, Client(local) as client:  # type: ignore[no-untyped-call]
        client.run(warm)
        yield client


def warm() -> None:
    """Import what the work needs."""
    for module in MODULES:
        import_module(module)


class Clock:
    """Measures the seconds and the requests of a block."""

    def __init__(self, endpoint: str = "") -> None:
        self.endpoint, self.found = endpoint, {}

    def __enter__(self) -> Clock:
        self._requests = requests(self.endpoint) if self.endpoint else 0
        self._start = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.found = {"seconds": time.perf_counter() - self._start}
        if self.endpoint:
            self.found["requests"] = requests(self.endpoint) - self._requests


def catalog(place: str, endpoint: str, workers: int, table: str, update: bool) -> dict[str, Any]:
    """Catalog files with this package."""
    import pandas as pd

    from nd2._core.catalog import encode
    from nd2.index import index_files

    warm()
    options = storage_options(endpoint) if endpoint else None
    with cluster(workers) as client, Clock(endpoint) as clock:
        rows = index_files(
            [place], recurse=True, storage_options=options, update=table if update else None, client=client
        )
    Path(table).write_bytes(encode(pd.DataFrame(rows), "parquet"))
    assert not any(row["error"] for row in rows), [row for row in rows if row["error"]][:1]
    return {**clock.found, "files": len(rows)}


_LOOP = """
import json, sys, time
import nd2, fsspec
files, options = json.loads(sys.stdin.read())
keywords = {"storage_options": options} if options else {}
start = time.perf_counter()
rows = []
for path in files:
    with nd2.ND2File(path, **keywords) as file:
        rows.append((path, file.version, file.sizes, str(file.dtype), [str(loop) for loop in file.experiment],
            file.text_info.get("date"), file.binary_data is not None, len(file.rois)))
seconds = time.perf_counter() - start
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
print(json.dumps({"seconds": seconds, "files": len(rows), "peak": peak}))
"""


def registry_of(endpoint: str) -> Any:
    """Return the registry with which VirtualiZarr reads the bucket."""
    from obspec_utils.registry import ObjectStoreRegistry
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=endpoint,
        access_key_id=KEY,
        secret_access_key=SECRET,
        region=REGION,
        client_options={"allow_http": True},
        virtual_hosted_style_request=False,
    )
    return ObjectStoreRegistry({f"s3://{BUCKET}": store})


def repository(endpoint: str, name: str, *, create: bool) -> Any:
    """Return an Icechunk repository in the bucket, with access to the files there."""
    import icechunk

    keys: dict[str, Any] = {"access_key_id": KEY, "secret_access_key": SECRET}
    access: dict[str, Any] = {"region": REGION, "endpoint_url": endpoint, "allow_http": True}
    storage = icechunk.s3_storage(bucket=BUCKET, prefix=f"stores/{name}", force_path_style=True, **access, **keys)
    config = icechunk.RepositoryConfig.default()
    files = icechunk.s3_store(**access, s3_compatible=True, force_path_style=True)
    config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(f"s3://{BUCKET}/", files))
    credentials = icechunk.containers_credentials({f"s3://{BUCKET}/": icechunk.s3_credentials(**keys)})
    make = icechunk.Repository.create if create else icechunk.Repository.open
    return make(storage, config=config, authorize_virtual_chunk_access=credentials)


def collection(endpoint: str, workers: int, names: dict[str, list[str]], prefix: str, append: bool) -> dict[str, Any]:
    """Write one virtual store per experiment, or extend it."""
    import virtualizarr

    from xarray_nd2 import ND2Parser

    warm()
    parallel: Any = "dask" if workers else ThreadPoolExecutor
    with cluster(workers, threads=4), Clock(endpoint) as clock:
        for name, urls in names.items():
            virtual = virtualizarr.open_virtual_mfdataset(
                urls,
                registry=registry_of(endpoint),
                parser=ND2Parser(),
                combine="nested",
                concat_dim="T",
                parallel=parallel,
            )
            session = repository(endpoint, f"{prefix}/{name}", create=not append).writable_session("main")
            virtual.vz.to_icechunk(session.store, **({"append_dim": "T"} if append else {}))
            session.commit("add files")
    return {**clock.found, "files": sum(map(len, names.values()))}


def combined(endpoint: str, workers: int, names: dict[str, list[str]], folder: str) -> dict[str, Any]:
    """Write references in Parquet, one folder per experiment."""
    from xarray_nd2 import write_combined

    warm()
    with cluster(workers) as client, Clock(endpoint) as clock:
        for name, urls in names.items():
            write_combined(urls, f"{folder}/{name}.parq", storage_options=storage_options(endpoint), client=client)
    return {**clock.found, "files": sum(map(len, names.values()))}


def opening(endpoint: str, name: str, files: int) -> dict[str, Any]:
    """Open a store, and compare its last frames with those of its last file."""
    import xarray as xr

    warm()
    with Clock(endpoint) as clock:
        session = repository(endpoint, name, create=False).readonly_session("main")
        dataset = xr.open_zarr(session.store, consolidated=False, chunks=None)
    assert dataset.sizes["T"] == 5 * files
    assert dataset.image[-1].values.any()
    return {**clock.found, "files": files}


def opening_parquet(endpoint: str, folder: str, files: int) -> dict[str, Any]:
    """Open references in Parquet."""
    from xarray_nd2 import open_references

    warm()
    with Clock(endpoint) as clock:
        dataset = open_references(folder, remote_options=storage_options(endpoint), check=False, chunks=None)
    assert dataset.sizes["T"] == 5 * files
    assert dataset.image[-1].values.any()
    return {**clock.found, "files": files}


def _peak() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


def conversion(file: str, dest: str, workers: int, levels: int, kill: bool) -> dict[str, Any]:
    """Convert a large file, on a cluster if there are workers; `kill` kills one during the conversion."""
    with ExitStack() as stack:
        client = stack.enter_context(cluster(workers))
        pids = list(client.run(os.getpid).values()) if client else []
        frames = 0
        with nd2.ND2File(file) as source:
            frames = int(np.prod([n for name, n in source.sizes.items() if name in "TPZ"]))
            if kill:
                threading.Thread(target=_kill, args=(pids[0], Path(f"{dest}.part"), frames), daemon=True).start()
            with Clock() as clock:
                source.write_ome_zarr(dest, levels=levels, client=client)
        peaks = list(client.run(_peak).values()) if client else [_peak()]
        lost = bool(pids) and pids[0] not in client.run(os.getpid).values()
        assert lost == kill
    digest = hashlib.sha256()
    for path in sorted(Path(dest).rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(dest)).encode() + path.read_bytes())
    return {**clock.found, "peak": max(peaks), "digest": digest.hexdigest()}


def _kill(pid: int, part: Path, frames: int) -> None:
    """Kill a worker when a third of the chunks of the first level is written."""
    while sum(1 for path in (part / "0").rglob("*") if path.is_file()) < max(frames // 3, 2):
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)


WORK: dict[str, Callable[..., dict[str, Any]]] = {
    function.__name__: function for function in (catalog, collection, combined, opening, opening_parquet, conversion)
}


def run(work: str, **arguments: Any) -> dict[str, Any]:
    """Do a piece of work in a separate process."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.facility", "--work", work]
    done = subprocess.run(command, input=json.dumps(arguments), stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def loop(files: list[str], endpoint: str = "") -> dict[str, Any]:
    """Run a plain loop of PyPI's nd2 over files."""
    options = storage_options(endpoint) if endpoint else None
    before = requests(endpoint) if endpoint else 0
    done = subprocess.run(
        [ORACLE, "-W", "ignore", "-c", _LOOP],
        input=json.dumps([files, options]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=tempfile.gettempdir(),
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if endpoint:
        result["requests"] = requests(endpoint) - before
    return result


class Table:
    """Rows of the result, printed when they are added."""

    def __init__(self) -> None:
        self.lines = [HEADER]
        print(HEADER, flush=True)

    def add(self, name: str, result: dict[str, Any]) -> None:
        """Add a row, and print it."""
        each = f"{result['requests'] / result['files']:.2f}" if "requests" in result else ""
        line = f"| {name} | {result['seconds']:.2f} | {each} | {result['peak'] / 1e6:.0f} |"
        self.lines.append(line)
        print(line, flush=True)


def show_catalog(table: Table, folder: Path, endpoint: str, count: int, theirs: bool) -> None:
    """Catalog the files, then update the catalogs, in one process and in two."""
    tables = folder.parent / "tables"
    tables.mkdir()
    local = sorted(map(str, folder.rglob("*.nd2")))
    urls = [f"s3://{BUCKET}/files/{Path(path).relative_to(folder)}" for path in local]
    both = (("bucket", f"s3://{BUCKET}/files", endpoint), ("disk", str(folder), ""))
    for where, place, server in both:
        for workers, how in ((0, "one process"), (2, "2 workers")):
            name = str(tables / f"{where}{workers}.parquet")
            arguments = {"place": place, "endpoint": server, "workers": workers, "table": name}
            table.add(f"catalog, {where}, {how}", run("catalog", **arguments, update=False))
        table.add(f"catalog, {where}, updated: nothing changed", run("catalog", **arguments, update=True))
    changed = local[:: max(count // 20, 1)]
    fs = file_system(endpoint)
    for path in changed:
        pixels = np.ones((7, 2, 64, 64), np.uint16)
        nd2.imwrite(path, pixels, axes="TCYX", channels=["DAPI", "GFP"], overwrite=True)
        fs.put_file(path, f"{BUCKET}/files/{Path(path).relative_to(folder)}")
    for where, place, server in both:
        arguments = {"place": place, "endpoint": server, "workers": 0}
        arguments["table"] = str(tables / f"{where}0.parquet")
        result = run("catalog", **arguments, update=True)
        table.add(f"catalog, {where}, updated: {len(changed)} files changed", result)
    if theirs:
        table.add("plain loop of nd2 0.12.0, bucket", loop(urls, endpoint))
        table.add("plain loop of nd2 0.12.0, disk", loop(local))


def show_collection(table: Table, folder: Path, endpoint: str) -> None:
    """Write and extend one store per experiment, in one process and in two; open one."""
    first: dict[str, list[str]] = {}
    later: dict[str, list[str]] = {}
    for experiment in sorted(folder.iterdir()):
        urls = [f"s3://{BUCKET}/files/{path.relative_to(folder)}" for path in sorted(experiment.iterdir())]
        cut = max(len(urls) * 9 // 10, 1)
        first[experiment.name], later[experiment.name] = urls[:cut], urls[cut:]
    for workers, how in ((0, "one process"), (2, "2 workers")):
        common: dict[str, Any] = {"endpoint": endpoint, "workers": workers, "prefix": f"w{workers}"}
        for append, names, what in ((False, first, "first 90 %"), (True, later, "second commit")):
            result = run("collection", **common, names=names, append=append)
            table.add(f"Icechunk, {len(names)} stores, {what}, {how}", result)
    name, files = next((name, [*first[name], *later[name]]) for name in first)
    result = run("opening", endpoint=endpoint, name=f"w2/{name}", files=len(files))
    table.add(f"open a store of {len(files)} files", result)
    every = {"all": [url for name in first for url in [*first[name], *later[name]]]}
    common = {"endpoint": endpoint, "names": every}
    for workers, how in ((0, "one process"), (2, "2 workers")):
        out = str(folder.parent / f"parquet{workers}")
        result = run("combined", **common, workers=workers, folder=out)
        table.add(f"write_combined, all files in one, {how}", result)
    result = run("opening_parquet", endpoint=endpoint, folder=f"{out}/all.parq", files=len(every["all"]))
    table.add("open these references", result)


def file_system(endpoint: str) -> Any:
    """Return the server as a file system."""
    import s3fs

    return s3fs.S3FileSystem(**storage_options(endpoint))


def write_large(path: Path, nbytes: int) -> None:
    """Write frames of 8 MB with noise like that of a camera."""
    rng = np.random.default_rng(0)
    pool = [(rng.poisson(200, (2048, 2048)) + i).astype(np.uint16) for i in range(8)]
    frames = max(nbytes // pool[0].nbytes, 1)
    sizes = {"T": frames, "Y": 2048, "X": 2048}
    with nd2.ND2Writer(path, sizes, np.uint16) as writer:
        for index in range(frames):
            writer.write_frame(index, pool[index % 8])


def show_conversion(table: Table, folder: Path, nbytes: int) -> None:
    """Convert a large file without a cluster, by one worker, by two, and by two of which one is killed."""
    file, dest = folder / "large.nd2", folder / "large.zarr"
    write_large(file, nbytes)
    found = {}
    for name, workers, kill in (
        ("no cluster", 0, False),
        ("1 worker", 1, False),
        ("2 workers", 2, False),
        ("2 workers, one killed", 2, True),
    ):
        found[name] = run("conversion", file=str(file), dest=str(dest), workers=workers, levels=3, kill=kill)
        table.add(f"OME-Zarr of {nbytes / 1e9:.1f} GB, {name}", found[name])
        shutil.rmtree(dest)
    assert len({result["digest"] for result in found.values()}) == 1, "the bytes differ"
    ratio = found["1 worker"]["seconds"] / found["2 workers"]["seconds"]
    print(f"\nall stores have the same bytes; 2 workers against 1: {ratio:.2f}")


def main() -> None:
    """Run the benchmark, or one piece of its work."""
    parser = argparse.ArgumentParser(prog="bench.facility", description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--gigabytes", type=float, default=4.0, help="size of the large file")
    parts = ("catalog", "collection", "conversion")
    parser.add_argument("--latency", type=float, default=0.03, help="seconds before each answer (%(default)s)")
    parser.add_argument("--only", choices=parts, action="append", help="repeatable")
    parser.add_argument("--write", action="store_true", help=f"put the table into docs/{PAGE.name}")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    if options.work:
        result = WORK[options.work](**json.loads(sys.stdin.read()))
        print(json.dumps({"peak": _peak(), **result}))
        return
    chosen = options.only or parts
    os.environ[LATENCY] = str(options.latency)
    machine = (
        f"{options.files} files and {options.gigabytes:g} GB, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the start, {date.today():%Y-%m-%d}:"
    )
    print(f"{machine}\n")
    table = Table()
    with tempfile.TemporaryDirectory() as temporary:
        if {"catalog", "collection"} & {*chosen}:
            folder = Path(temporary, "files")
            folder.mkdir()
            write_files(folder, options.files)
            with s3() as endpoint:
                fs = file_system(endpoint)
                fs.call_s3("create_bucket", Bucket=BUCKET)
                fs.put(str(folder), f"{BUCKET}/files", recursive=True)
                if "catalog" in chosen:
                    show_catalog(table, folder, endpoint, options.files, ORACLE.exists())
                if "collection" in chosen:
                    if "catalog" in chosen:  # it changed some files
                        write_files_again(folder, endpoint, options.files)
                    show_collection(table, folder, endpoint)
        if "conversion" in chosen:
            show_conversion(table, Path(temporary), int(options.gigabytes * 1e9))
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")
    if options.write:
        write_table(PAGE, "bench-facility", "\n".join(["", machine, "", *table.lines, "", ""]))


def write_files_again(folder: Path, endpoint: str, count: int) -> None:
    """Restore the files that were changed."""
    shutil.rmtree(folder)
    folder.mkdir()
    write_files(folder, count)
    fs = file_system(endpoint)
    fs.rm(f"{BUCKET}/files", recursive=True)
    fs.put(str(folder), f"{BUCKET}/files", recursive=True)


if __name__ == "__main__":
    main()
