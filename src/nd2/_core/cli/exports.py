"""The commands that export to other formats: ``tiff`` and ``zarr``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nd2._core.cli.command import (
    DASK,
    DEST_OPTION,
    LEVELS,
    OVERWRITE,
    POSITION,
    QUIET,
    Command,
    arguments,
    convert,
    files_and_dest,
    flag,
    numbers,
    parse_storage_options,
    value,
)
from nd2._core.cli.console import shows_progress

if TYPE_CHECKING:
    import argparse

    from nd2._core.file import ND2File

_FILES_AT_ONCE = 8
_BACKENDS = ("auto", "zarr", "tensorstore")
_COMPRESSIONS = ("zlib", "lzw", "zstd")


def _tiff(options: argparse.Namespace) -> int:
    from nd2._core.io.destination import resolve

    def write(file: ND2File, dest: str) -> None:
        resolve(dest, "TIFF", overwrite=options.overwrite, sources=[file.path], local=True)
        file.write_tiff(
            dest,
            include_unstructured_metadata=not options.no_metadata,
            progress=shows_progress(options.quiet),
            position=options.position,
            compression=options.compression,
            levels=options.levels,
        )

    return convert(options, ".ome.tif", write, dest=options.output)


def _zarr(options: argparse.Namespace) -> int:
    from nd2._core.batch import cluster

    with cluster(options.dask) as client:
        return _zarr_files(options, client)


def _zarr_files(options: argparse.Namespace, client: Any) -> int:
    dest_options = parse_storage_options(options.dest_option)

    def write(file: ND2File, dest: str) -> None:
        file.write_ome_zarr(
            dest,
            chunk_shape=options.chunks or "auto",
            shard_shape=options.shards,
            backend=options.backend,
            progress=shows_progress(options.quiet),
            position=options.position,
            force_series=options.series,
            include_all_metadata=not options.no_metadata,
            include_labels=not options.no_labels,
            overwrite=options.overwrite,
            levels=options.levels,
            storage_options=dest_options,
            client=client,
        )

    # On a cluster, opening and finishing some files overlap with the pixels of others.
    at_once = 1 if client is None else _FILES_AT_ONCE
    return convert(options, ".ome.zarr", write, dest=options.output, at_once=at_once)


TIFF = Command(
    "write OME-TIFF, or TIFF for ImageJ",
    "nd2 tiff cells.nd2 cells.ome.tif\n"
    "nd2 tiff cells.nd2 imagej.tif\n"
    "nd2 tiff plate.nd2 well.ome.tif --position B02 --levels auto --compression zlib\n"
    "nd2 tiff 'data/*.nd2' --out-dir tiff",
    arguments(
        *files_and_dest("by default FILE.ome.tif in this folder"),
        POSITION,
        LEVELS,
        value("--compression", None, "lossless compression", choices=_COMPRESSIONS),
        flag("--no-metadata", "leave the metadata chunks out of the OME-XML"),
        OVERWRITE,
        QUIET,
    ),
    _tiff,
)


ZARR = Command(
    "write OME-Zarr",
    "nd2 zarr cells.nd2 cells.ome.zarr --levels auto\n"
    "nd2 zarr 'data/*.nd2' --out-dir zarr\n"
    "nd2 zarr 'data/*.nd2' --out-dir s3://bucket/zarr --dask tcp://scheduler:8786\n"
    "nd2 zarr cells.nd2 s3://bucket/cells.zarr --dest-option key=... --dest-option secret=...",
    arguments(
        *files_and_dest("a folder or URL, by default FILE.ome.zarr in this folder"),
        value("--chunks", "N,N,...", "shape of a chunk", type=numbers),
        value("--shards", "N,N,...", "shape of a shard", type=numbers),
        LEVELS,
        POSITION,
        value(
            "--backend", None, "library that writes the chunks (%(default)s)", choices=_BACKENDS, default=_BACKENDS[0]
        ),
        flag("--series", "write a series even if there is only one position"),
        flag("--no-labels", "leave binary layers out"),
        flag("--no-metadata", "leave the metadata chunks out"),
        DASK,
        DEST_OPTION,
        OVERWRITE,
        QUIET,
    ),
    _zarr,
)
