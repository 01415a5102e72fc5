"""Subcommands that this package adds to ``nd2``, through the entry point group ``nd2.commands``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nd2._core.cli import (
    DEST_OPTION,
    FILE,
    OVERWRITE,
    Command,
    arguments,
    parse_storage_options,
    value,
)
from nd2._core.io.destination import guess_format

if TYPE_CHECKING:
    import argparse


def _refs(options: argparse.Namespace) -> None:
    from xarray_nd2.references.kerchunk import FORMS, write_kerchunk

    write_kerchunk(
        options.file,
        options.dest,
        format=options.format or guess_format(options.dest, FORMS),
        url=options.url,
        zarr_format=options.zarr_format,
        storage_options=options.storage_options,
        dest_options=parse_storage_options(options.dest_option),
        overwrite=options.overwrite,
    )
    print(options.dest)  # noqa: T201  # the output of a command


REFS = Command(
    "write references, by which Zarr readers open a file as it is",
    "nd2 refs cells.nd2 cells.json\nnd2 refs s3://bucket/cells.nd2 cells.parq",
    arguments(
        FILE,
        value("dest", "DEST", "JSON file, or folder for Parquet"),
        value(
            "--format -f", None, "by default that of DEST, else json", choices=["json", "parquet"]
        ),
        value("--zarr-format", None, "(%(default)s)", type=int, choices=[2, 3], default=2),
        value("--url", None, "address of FILE as readers know it"),
        DEST_OPTION,
        OVERWRITE,
    ),
    _refs,
)


def _serve(options: argparse.Namespace) -> None:
    from xarray_nd2.serve import serve

    with serve(
        options.file,
        options.host,
        options.port,
        storage_options=options.storage_options,
        allow_origin=options.allow_origin,
    ) as endpoint:
        print(endpoint.url, flush=True)  # noqa: T201
        endpoint.wait()


SERVE = Command(
    "serve a file as OME-Zarr over HTTP, until it is interrupted",
    "nd2 serve cells.nd2\nnd2 serve cells.nd2 --port 8000 --allow-origin https://viewer.example",
    arguments(
        FILE,
        value("--host", None, "address to listen at (%(default)s)", default="127.0.0.1"),
        value("--port", None, "port to listen at; 0 for any that is free", type=int, default=0),
        value("--allow-origin", "SITE", "web site whose scripts may read it; * for all"),
    ),
    _serve,
)
