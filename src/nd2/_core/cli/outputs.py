"""The commands that write one file for each that they read: ``tiff``, ``zarr``, ``rescue``, ``crop`` and ``show``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nd2._core import errors
from nd2._core.cli.command import (
    Command,
    arguments,
    convert,
    files_and_dest,
    flag,
    index_or_name,
    number,
    numbers,
    parse_storage_options,
    pick,
    run_tasks,
    shows_progress,
    value,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from nd2._core.batch import Task
    from nd2._core.cli.command import Argument
    from nd2._core.file import ND2File
    from nd2._core.io.destination import Destination

_FILES_AT_ONCE = 8
_BACKENDS = ("auto", "zarr", "tensorstore")
_AXES = "TZPYX"
_PICTURES = ("PNG", "JPEG", "TIFF", "PDF")
_ANIMATIONS = ("MP4", "GIF", "APNG")


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

    return convert(options, ".ome.tif", write)


def _zarr(options: argparse.Namespace) -> int:
    from nd2._core.batch import cluster

    with cluster(options.dask) as client:
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
        return convert(options, ".ome.zarr", write, at_once=1 if client is None else _FILES_AT_ONCE)


def _overwrites(options: argparse.Namespace, dest: str) -> bool:
    """Return whether an output may replace an ND2 file: only the one that ``--output`` names.

    A shell may expand a pattern to two files, and a folder may hold raw data of the same names.
    """
    from nd2._core.io.urls import local_path

    if options.overwrite and options.output is None and os.path.lexists(local_path(dest)):
        raise ValueError(f"to replace {dest!r}, name it with --output")
    return bool(options.overwrite and options.output is not None)


def _rescue(options: argparse.Namespace) -> int:
    from nd2._core.write.copy import rescue_file

    def rescue(task: Task) -> None:
        overwrite = _overwrites(options, task.dest)
        report = rescue_file(task.source, task.dest, storage_options=options.storage_options, overwrite=overwrite)
        print(f"{task.dest}: {report}")

    return run_tasks(options, ".nd2", rescue)


def _crop(options: argparse.Namespace) -> int:
    picks = {name: getattr(options, name) for name in _AXES if getattr(options, name) is not None}
    if options.channel:
        picks["C"] = options.channel

    def crop(file: ND2File, dest: str) -> None:
        file.write_nd2(dest, options.position, overwrite=_overwrites(options, dest), **picks)

    return convert(options, ".nd2", crop)


def _show(options: argparse.Namespace) -> int:
    from nd2._core.open import open_reader
    from nd2._core.views.facts import Facts

    formats = _ANIMATIONS if options.animate else _PICTURES
    annotated = not options.plain and _draws()

    def show(task: Task) -> None:
        with open_reader(task.source, storage_options=options.storage_options) as reader:
            target, facts = _target(task, formats, overwrite=options.overwrite), Facts(reader)
            look = {"size": options.size, "channels": options.channel, "annotated": annotated}
            if options.animate:
                from nd2._core.views.animation import write_animation

                with target.file() as path:
                    write_animation(reader, facts, path, target.form, axis=options.axis, fps=options.fps, **look)
            else:
                from nd2._core.views.picture import picture

                image = picture(reader, facts, options.frame, options.tiles, split=options.split, **look)
                target.write(image.encode(target.form))
        print(task.dest)

    return run_tasks(options, ".mp4" if options.animate else ".png", show)


def _target(task: Task, formats: Sequence[str], *, overwrite: bool) -> Destination:
    """Return the destination, in the format of its suffix."""
    from nd2._core.io.destination import SUFFIXES, guess_format, resolve

    suffix = os.path.splitext(task.dest.lower())[1]
    known = [one for form in formats for one in SUFFIXES[form][:2]]
    if suffix and suffix not in known:
        raise ValueError(f"{task.dest!r} has none of the suffixes {', '.join(known)}")
    form = guess_format(task.dest, {form: form for form in formats})
    return resolve(task.dest, form, overwrite=overwrite, sources=[task.source])


def _draws() -> bool:
    """Return whether Pillow is installed; say what is missing without it."""
    from importlib.util import find_spec

    if find_spec("PIL") is not None:
        return True
    sys.stderr.write(f"nd2 show: {errors.missing_package('Pillow', 'plot', 'for scale bar and names')}\n")
    return False


def _channel_option(default: str = "") -> Argument:
    text = f"index or name of a channel; repeatable{default}"
    return value("--channel -c", "C", text, type=index_or_name, action="append")


TIFF = Command(
    "write OME-TIFF, or TIFF for ImageJ",
    "nd2 tiff cells.nd2 cells.ome.tif\n"
    "nd2 tiff cells.nd2 imagej.tif\n"
    "nd2 tiff plate.nd2 well.ome.tif --position B02 --levels auto --compression zlib\n"
    "nd2 tiff 'data/*.nd2' --out-dir tiff",
    arguments(
        *files_and_dest("by default FILE.ome.tif in this folder"),
        "--position",
        "--levels",
        value("--compression", None, "lossless compression", choices=("zlib", "lzw", "zstd")),
        flag("--no-metadata", "leave the metadata chunks out of the OME-XML"),
        "--overwrite",
        "--quiet",
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
        "--levels",
        "--position",
        value(
            "--backend", None, "library that writes the chunks (%(default)s)", choices=_BACKENDS, default=_BACKENDS[0]
        ),
        flag("--series", "write a series even if there is only one position"),
        flag("--no-labels", "leave binary layers out"),
        flag("--no-metadata", "leave the metadata chunks out"),
        "--dask",
        "--dest-option",
        "--overwrite",
        "--quiet",
    ),
    _zarr,
)


RESCUE = Command(
    "copy what is left of a damaged file to a new file that any reader opens",
    "nd2 rescue broken.nd2 repaired.nd2\nnd2 rescue 'broken/*.nd2' --out-dir repaired",
    arguments(*files_and_dest("an ND2 file"), "--overwrite"),
    _rescue,
)


CROP = Command(
    "write a part of a file as a new ND2 file",
    "nd2 crop cells.nd2 start.nd2 -T 0:100 -Z 3\n"
    "nd2 crop cells.nd2 corner.nd2 -Y 0:512 -X 0:512 --channel GFP\n"
    "nd2 crop plate.nd2 well.nd2 --position B02\n"
    "nd2 crop 'data/*.nd2' --out-dir first -T 0",
    arguments(
        *files_and_dest("an ND2 file"),
        value("-T", "PICK", "time points: 3, 0:100, ::2 or 0,2,5", type=pick),
        value("-Z", "PICK", "planes, in the same way", type=pick),
        value("-P", "PICK", "positions, in the same way", type=pick),
        "--position",
        value("-Y", "PICK", "rows: 100:400, :512", type=pick),
        value("-X", "PICK", "columns, in the same way", type=pick),
        _channel_option(),
        "--overwrite",
    ),
    _crop,
)


SHOW = Command(
    "make a picture of some frames, or an animation",
    "nd2 show cells.nd2\n"
    "nd2 show cells.nd2 first.jpg --frame 0 --split\n"
    "nd2 show cells.nd2 movie.mp4 --animate --fps 12\n"
    "nd2 show 'data/*.nd2' --out-dir pictures",
    arguments(
        *files_and_dest("PNG, JPEG, TIFF or PDF by its suffix, by default FILE.png in this folder"),
        value("--frame -n", "N", "sequence index of a frame; repeatable", type=number(0), action="append"),
        value("--tiles -t", "N", "maximum number of frames (%(default)s)", type=number(1), default=16),
        _channel_option(" (all but those in bright field)"),
        flag("--split", "show channels side by side instead of as a composite"),
        value("--size", "N", "length of the longer side in pixels (up to 1024)", type=number(1)),
        flag("--plain", "draw no scale bar and no names"),
        flag("--animate", "write an animation of the time points or planes: MP4, GIF or APNG"),
        value("--axis", "LOOP", "the loop to animate (T, otherwise Z)"),
        value("--fps", "N", "frames per second (%(default)s)", type=float, default=10.0),
        "--overwrite",
    ),
    _show,
)
