"""Subcommands that this package adds to ``nd2``, through the entry point group ``nd2.commands``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from nd2._core import errors
from nd2._core.command import Command, parse_storage_options

if TYPE_CHECKING:
    import argparse


def _configure_refs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="path or URL of an ND2 file")
    parser.add_argument("dest", metavar="DEST", help="JSON file, or folder for Parquet")
    parser.add_argument(
        "--format",
        "-f",
        choices=["json", "parquet"],
        help="by default what the name of DEST says, else json",
    )
    parser.add_argument("--zarr-format", type=int, choices=[2, 3], default=2, help="(%(default)s)")
    parser.add_argument("--url", help="address of FILE as readers know it")
    parser.add_argument(
        "--dest-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option for the file system of DEST",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def _refs(options: argparse.Namespace) -> int:
    from xarray_nd2.references.destination import exists_at
    from xarray_nd2.references.kerchunk import write_kerchunk

    tables = options.dest.endswith((".parq", ".parquet"))
    form: Literal["json", "parquet"] = options.format or ("parquet" if tables else "json")
    dest_options = parse_storage_options(options.dest_option)
    if not options.overwrite and exists_at(options.dest, dest_options):
        raise errors.exists(options.dest)
    write_kerchunk(
        options.file,
        options.dest,
        format=form,
        url=options.url,
        zarr_format=options.zarr_format,
        storage_options=options.storage_options or None,
        dest_options=dest_options,
    )
    print(options.dest)  # noqa: T201  # the output of a command
    return 0


REFS = Command(
    "write references, by which Zarr readers open a file as it is",
    "nd2 refs cells.nd2 cells.json\nnd2 refs s3://bucket/cells.nd2 cells.parq",
    _configure_refs,
    _refs,
)


def _configure_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="path or URL of an ND2 file")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=0, help="port to listen at; 0 for any that is free"
    )
    parser.add_argument(
        "--allow-origin", metavar="SITE", help="web site whose scripts may read it; * for all"
    )


def _serve(options: argparse.Namespace) -> int:
    from xarray_nd2.serve import serve

    with serve(
        options.file,
        options.host,
        options.port,
        storage_options=options.storage_options or None,
        allow_origin=options.allow_origin,
    ) as endpoint:
        print(endpoint.url, flush=True)  # noqa: T201
        endpoint.wait()
    return 0


SERVE = Command(
    "serve a file as OME-Zarr over HTTP, until it is interrupted",
    "nd2 serve cells.nd2\nnd2 serve cells.nd2 --port 8000 --allow-origin https://viewer.example",
    _configure_serve,
    _serve,
)
