"""Subcommands that this package adds to ``nd2``, through the entry point group ``nd2.commands``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from nd2._core.cli.command import (
    Command,
    arguments,
    files_and_dest,
    flag,
    format_option,
    number,
    parse_storage_options,
    run_tasks,
    value,
)

if TYPE_CHECKING:
    import argparse

    from nd2._core.batch import Task

_HOST = value("--host", "HOST", "address to listen on (%(default)s)", default="127.0.0.1")
_PORT = value("--port", "PORT", "port to listen on; 0 for a free one", type=number(0, 65535), default=0)
_VERBOSE = flag("--verbose -v", "print a line for each request")


def _refs(options: argparse.Namespace) -> int:
    from nd2._core.io.destination import SUFFIXES, guess_format
    from xarray_nd2.references.kerchunk import FORMS, write_kerchunk

    last = options.output or options.files[-1]
    form = options.format or guess_format(last, FORMS)
    if options.url is not None and len(options.files) > 2:
        raise ValueError("--url is the address of a single file")

    def write(task: Task) -> None:
        write_kerchunk(
            task.source,
            task.dest,
            format=form,
            url=options.url,
            zarr_format=options.zarr_format,
            storage_options=options.storage_options,
            dest_options=parse_storage_options(options.dest_option),
            overwrite=options.overwrite,
        )
        print(task.dest)  # noqa: T201  # the output of a command

    return run_tasks(options, SUFFIXES[FORMS[form]][0], write)


REFS = Command(
    "write kerchunk references, with which Zarr readers open the ND2 file directly",
    "nd2 refs cells.nd2 cells.json\n"
    "nd2 refs s3://bucket/cells.nd2 cells.parq\n"
    "nd2 refs 's3://bucket/*.nd2' --out-dir refs",
    arguments(
        *files_and_dest("a JSON file or a folder of Parquet, by default FILE.json in this folder"),
        format_option(["json", "parquet"], "json"),
        value("--zarr-format", None, "version of Zarr (%(default)s)", type=int, choices=[2, 3], default=2),
        value("--url", "URL", "address under which readers find the ND2 file"),
        "--dest-option",
        "--overwrite",
    ),
    _refs,
)


def _endpoint_options(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("host", "port", "storage_options", "verbose")}


def _serve(options: argparse.Namespace) -> None:
    from xarray_nd2.serve import serve

    with serve(options.file, allow_origin=options.allow_origin, **_endpoint_options(options)) as endpoint:
        print(endpoint.url, flush=True)  # noqa: T201
        endpoint.wait()


SERVE = Command(
    "serve a file as OME-Zarr over HTTP until interrupted",
    "nd2 serve cells.nd2\nnd2 serve cells.nd2 --port 8000 --allow-origin https://viewer.example",
    arguments(
        "file",
        _HOST,
        _PORT,
        value("--allow-origin", "SITE", "website whose scripts may read the data; * for all"),
        _VERBOSE,
    ),
    _serve,
)


def _view(options: argparse.Namespace) -> None:
    from xarray_nd2.view import advice, open_browser, view

    with view(options.file, browser=False, **_endpoint_options(options)) as endpoint:
        print(endpoint.view_url, flush=True)  # noqa: T201
        opened = not options.no_browser and open_browser(endpoint.view_url)
        for line in advice(endpoint, opened=opened):
            print(line, file=sys.stderr, flush=True)  # noqa: T201
        endpoint.wait()


VIEW = Command(
    "show a file in the browser until interrupted",
    "nd2 view cells.nd2\nnd2 view s3://bucket/cells.nd2 --no-browser --port 8000",
    arguments("file", flag("--no-browser", "print the address, and open nothing"), _HOST, _PORT, _VERBOSE),
    _view,
)
