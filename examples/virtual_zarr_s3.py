"""Read a file in a bucket as virtual Zarr: write references once, then any Zarr reader reads from S3.

The bucket is on a local server (moto, which the tests install), so the example needs no account.
For a real bucket, leave out `bucket` and pass the storage options that it needs.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import xarray as xr

import nd2
from xarray_nd2 import write_kerchunk

if TYPE_CHECKING:
    from collections.abc import Iterator

OUT = Path("demo-output")
URL = "s3://microscope/timelapse.nd2"


@contextmanager
def bucket() -> Iterator[dict[str, Any]]:
    """Run a server with an empty bucket; yield its storage options."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # do not log each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {
        "key": "example",
        "secret": "example",
        "client_kwargs": {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"},
    }
    try:
        fsspec.filesystem("s3", **options).call_s3("create_bucket", Bucket="microscope")
        yield options
    finally:
        server.stop()


def acquire(path: Path) -> None:
    """Write a short time-lapse."""
    image = np.random.default_rng(3).poisson(200, (12, 2, 128, 128)).astype(np.uint16)
    nd2.imwrite(path, image, axes="TCYX", channels=["DAPI", "GFP"], times=5000.0 * np.arange(12))


def main() -> None:
    """Upload a file, write references to it, and read it in two ways."""
    OUT.mkdir(exist_ok=True)
    local, references = OUT / "timelapse.nd2", OUT / "timelapse.json"
    if not local.exists():
        acquire(local)
    with bucket() as options:
        fsspec.filesystem("s3", **options).put(str(local), URL)

        # with this package: exact ranges, in parallel
        with xr.open_dataset(URL, engine="nd2", storage_options=options, chunks={}) as dataset:
            direct = dataset.image.mean(["Y", "X"]).compute()

        # once: the location of every frame, without pixels and credentials
        write_kerchunk(URL, references, storage_options=options, overwrite=True)
        print(f"wrote {references} ({references.stat().st_size / 1e3:.0f} kB)")

        # after that, without this package: only kerchunk and zarr
        # (kerchunk changes the options that it gets, hence the copy)
        remote = {"remote_protocol": "s3", "remote_options": dict(options)}
        with xr.open_dataset(str(references), engine="kerchunk", storage_options=remote, chunks={}) as virtual:
            means = virtual.image.mean(["Y", "X"]).compute()

    print(means.to_series().unstack("C").round(2))
    xr.testing.assert_allclose(direct, means.transpose(*direct.dims))


if __name__ == "__main__":
    main()
