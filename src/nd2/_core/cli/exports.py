"""The commands that export: ``tiff`` and ``zarr``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nd2._core.cli.command import (
    DEST_OPTION,
    FILE,
    OVERWRITE,
    QUIET,
    Command,
    arguments,
    flag,
    index_or_name,
    levels,
    numbers,
    open_file,
    parse_storage_options,
    shows_progress,
    stem,
    value,
)
from nd2._core.io.destination import resolve

if TYPE_CHECKING:
    import argparse

_BACKENDS = ("auto", "zarr", "tensorstore")


def _tiff(options: argparse.Namespace) -> None:
    dest = options.dest or f"{stem(options)}.ome.tif"
    with open_file(options) as file:
        resolve(dest, "TIFF", overwrite=options.overwrite, sources=[file.path], local=True)
        file.write_tiff(
            dest,
            include_unstructured_metadata=not options.no_metadata,
            progress=shows_progress(options),
        )
    print(dest)


def _zarr(options: argparse.Namespace) -> None:
    with open_file(options) as file:
        dest = file.write_ome_zarr(
            options.dest or f"{stem(options)}.ome.zarr",
            chunk_shape=options.chunks or "auto",
            shard_shape=options.shards,
            backend=options.backend,
            progress=shows_progress(options),
            position=options.position,
            force_series=options.series,
            include_all_metadata=not options.no_metadata,
            include_labels=not options.no_labels,
            overwrite=options.overwrite,
            levels=options.levels,
            storage_options=parse_storage_options(options.dest_option),
        )
    print(dest)


TIFF = Command(
    "write TIFF, or OME-TIFF",
    "nd2 tiff cells.nd2 cells.ome.tif\nnd2 tiff cells.nd2 imagej.tif",
    arguments(
        FILE,
        value("dest", "DEST", "TIFF file (FILE.ome.tif in this folder)", nargs="?"),
        flag("--no-metadata", "leave the chunks of metadata out of the OME-XML"),
        OVERWRITE,
        QUIET,
    ),
    _tiff,
)


ZARR = Command(
    "write OME-Zarr",
    "nd2 zarr cells.nd2 cells.ome.zarr --levels auto\n"
    "nd2 zarr cells.nd2 s3://bucket/cells.zarr --dest-option key=... --dest-option secret=...",
    arguments(
        FILE,
        value("dest", "DEST", "folder or URL (FILE.ome.zarr in this folder)", nargs="?"),
        value("--chunks", "N,N,...", "shape of a chunk", type=numbers),
        value("--shards", "N,N,...", "shape of a shard", type=numbers),
        value("--levels", "N", "levels of the pyramid, or auto", type=levels, default=1),
        value("--position -p", "P", "the only position: index or name", type=index_or_name),
        value("--backend", None, "(%(default)s)", choices=_BACKENDS, default=_BACKENDS[0]),
        flag("--series", "a series, also for one position"),
        flag("--no-labels", "leave binary layers out"),
        flag("--no-metadata", "leave chunks of metadata out"),
        DEST_OPTION,
        OVERWRITE,
        QUIET,
    ),
    _zarr,
)
