"""A file that says what another one says: everything that a reader gives, written back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nd2._core import errors
from nd2._core.chunks import fields, picture_metadata
from nd2._core.format.chunks import display_name
from nd2._core.write import plan as plans
from nd2._core.write.core import FileContents, FileWriter, Layer

if TYPE_CHECKING:
    import os

    from nd2._core.format.pixels import SampleOrder
    from nd2._core.readers import Reader


def like(
    reader: Reader,
    path: str | os.PathLike[str],
    *,
    samples: SampleOrder = "BGR",
    in_place: bool = False,
) -> FileWriter:
    """Return a writer for a file that says what another one says; its frames are still to be written.

    Parameters
    ----------
    reader : Reader
        The other file; it must stay open until the writer is closed.
    path : str or os.PathLike
        The file to write.
    samples : {"BGR", "RGB"}
        Order of the axis S of the frames to come.
    in_place : bool
        Write to ``path`` itself.

    Raises
    ------
    NotImplementedError
        If the other file is a legacy file, whose metadata are of another kind.
    """
    if reader.chunk_file is None:
        raise errors.unsupported("writing the metadata of a legacy file", path=reader.source.url)
    picture = picture_tree(reader)
    plan = plans.of_structures(
        reader.attributes,
        reader.experiment,
        # Channels of a file that says nothing of them are not made up.
        (reader.metadata.channels or []) if picture else [],
        dtype=reader.dtype,
        samples=reader.layout.samples,
        frame_count=reader.frame_count,
    )
    version = reader.version if reader.version[0] == 2 else (3, 0)
    return FileWriter(
        path, plan, _beside(reader, picture), samples=samples, version=version, in_place=in_place
    )


def _beside(reader: Reader, picture: fields.Tree) -> FileContents:
    """Return what a file holds beside its pixels."""
    times = np.full(reader.frame_count, np.nan)
    known = reader.frame_times
    if known is not None:
        times[: len(known)] = known[: len(times)]
    return FileContents(
        first=picture_metadata.decode_first_frame(picture),
        times=times,
        text_info=reader.text_info,
        custom={
            tag: tree
            for tag, tree in reader.custom_data.items()
            if isinstance(tree, (Mapping, bytes))
        },
        columns=[column for column in reader.recorded_data.values() if len(column.values)],
        rois=list(reader.rois.values()),
        events=reader.experiment_events,
        layers=[_layer(reader, i) for i in range(len(reader.binary_layers))],
        exact=True,
    )


def picture_tree(reader: Reader) -> fields.Tree:
    """Return the picture metadata; empty if there are none."""
    trees = reader.unstructured_metadata(strip_prefix=False, include=None, exclude=None)
    raw = next(
        (trees[name] for name in map(display_name, picture_metadata.NAMES) if name in trees), None
    )
    return fields.root(raw, "SLxPictureMetadata") if isinstance(raw, Mapping) else {}


def _layer(reader: Reader, index: int) -> Layer:
    """Return a binary layer; tiled ones become run-length encoded ones."""
    layer = reader.binary_layers[index]
    number = layer.info.layer_id or index + 1
    tag = layer.info.file_tag if layer.info.tiles is None else f"RleZipBinarySequence_{number}_v1"
    return Layer(
        replace(layer.info, layer_id=number, file_tag=tag, tiles=None),
        (layer.read(frame) for frame in range(reader.frame_count)),
    )
