"""Writing a file as OME-Zarr (OME-NGFF 0.5): images, pyramids, series, plates, labels, metadata."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nd2._core.export import zarr_documents as documents
from nd2._core.export.blocks import Blocks, Grid
from nd2._core.export.pipeline import bar, pump
from nd2._core.export.zarr_store import (
    Backend,
    Folder,
    Remote,
    choose_backend,
    put_array,
    put_group,
)
from nd2._core.frames import pool
from nd2._core.io.destination import resolve
from nd2._core.io.urls import file_stem, is_url, local_path
from nd2._core.values import record
from nd2._core.views.placement import Placement, frame_tables
from nd2._core.views.pyramid import pyramid

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from nd2._core.export.blocks import Block
    from nd2._core.export.zarr_store import Array, Target
    from nd2._core.readers import Reader
    from nd2._core.readers.layer_chunks import LayerChunks
    from nd2._core.views.facts import Facts

_LABEL_TYPE = np.dtype(np.uint32)


def write_ome_zarr(
    reader: Reader,
    facts: Facts,
    dest: str | os.PathLike[str],
    *,
    chunk_shape: tuple[int, ...] | Literal["auto"] | None = "auto",
    shard_shape: tuple[int, ...] | None = None,
    backend: Backend = "auto",
    progress: bool = False,
    position: int | None = None,
    force_series: bool = False,
    include_all_metadata: bool = True,
    include_labels: bool = True,
    version: str = documents.VERSION,
    overwrite: bool = False,
    levels: int | Literal["auto"] = 1,
    storage_options: Mapping[str, Any] | None = None,
) -> Path | str:
    """Write a file as OME-Zarr and return its path or URL; see ``ND2File.write_ome_zarr``."""
    if version != documents.VERSION:
        raise ValueError(f"Only version {documents.VERSION!r} is supported, not {version!r}")
    placement = Placement.from_layout(reader.layout)
    names = facts.image_names(placement.images)
    if position is not None:
        placement = placement.image_part(position)
        names = [names[position]]
    axes = documents.ImageAxes.from_facts(facts, placement)
    inner = "z" if placement.nesting == "TZ" else "t"
    grid = Grid.choose(axes, reader.dtype, inner, chunk_shape, shard_shape, levels)
    backend = choose_backend(backend, remote=is_url(dest))
    layers = reader.binary_layers if include_labels else []
    export = _Export(
        reader,
        facts,
        placement,
        names,
        axes,
        grid,
        [(documents.label_name(i, layer.info.name), layer) for i, layer in enumerate(layers)],
        None if placement.images == 1 or force_series else documents.plate_fields(names),
        single=placement.images == 1 and not force_series,
    )
    # Errors of the file or of the options are raised here, before anything is removed.
    reader.frames.check_codec()
    groups = export.groups(include_all_metadata)
    xml = None if export.single or export.fields else _ome_xml(reader, facts)
    destination = resolve(
        dest,
        "OME-Zarr",
        overwrite=overwrite,
        sources=[reader.source.url],
        storage_options=storage_options,
    )
    with destination.folder() as place:
        target = Remote(place, storage_options or {}) if destination.url else Folder(Path(place))
        try:
            export.write_pixels(target, backend, progress)
            if xml is not None:
                target.put("OME/METADATA.ome.xml", xml)
            for path, attributes in groups.items():
                put_group(target, path, attributes)
        finally:
            target.shut()
    return str(dest) if destination.url else Path(local_path(dest))


@record
class _Export:
    """One export: the images, their binary layers, and their paths."""

    reader: Reader
    facts: Facts
    placement: Placement
    names: Sequence[str]
    axes: documents.ImageAxes
    grid: Grid
    layers: Sequence[tuple[str, LayerChunks]]
    fields: Sequence[documents.Field] | None
    single: bool

    @property
    def paths(self) -> list[str]:
        """Path of each image."""
        if self.fields is not None:
            return [field.path for field in self.fields]
        return [""] if self.single else [str(i) for i in range(self.placement.images)]

    def write_pixels(self, target: Target, backend: Backend, progress: bool) -> None:
        """Write the levels of all images and labels."""

        def create(
            path: str, axes: documents.ImageAxes, grid: Grid, dtype: np.dtype[Any]
        ) -> list[Array]:
            arrays = []
            for level in range(grid.levels):
                name = f"{path}/{level}".lstrip("/")
                shape = axes.level_shape(level)
                chunks, shards = grid.fit(shape)
                put_array(target, name, shape, dtype, chunks, shards, axes.names)
                arrays.append(target.array(name, backend))
            return arrays

        images = [create(path, self.axes, self.grid, self.reader.dtype) for path in self.paths]
        label_axes = self.axes.drop("c")
        label_grid = self.grid.drop(self.axes.names.find("c"))
        labels = [
            [
                create(f"{path}/labels/{name}".lstrip("/"), label_axes, label_grid, _LABEL_TYPE)
                for name, _ in self.layers
            ]
            for path in self.paths
        ]

        def write(block: Block) -> None:
            for level, data in enumerate(pyramid(block.data, self.grid.levels)):
                images[block.image][level].write(block.region(self.axes.names), data)
            for (_, layer), arrays in zip(self.layers, labels[block.image], strict=True):
                data = block.labels(layer, label_axes.names, label_axes.shape)
                for level, part in enumerate(pyramid(data, self.grid.levels, nearest=True)):
                    arrays[level].write(block.region(label_axes.names), part)

        blocks = Blocks.from_placement(self.reader, self.placement, self.axes, self.grid)
        with bar(progress, len(self.placement.index), "frame") as advance:
            pump(blocks.read(), write, lambda block: advance(block.count), writers=pool.workers())

    def groups(self, include_all_metadata: bool) -> dict[str, Mapping[str, Any]]:
        """Return the attributes of each group.

        The root is last: an incomplete store has none, and does not open.
        """
        stem = file_stem(self.reader.source.url) or "image"
        groups: dict[str, Mapping[str, Any]] = {}
        for image, path in enumerate(self.paths):
            placement = self.placement
            if placement.images > 1:
                placement = placement.image_part(image)
            axes = documents.ImageAxes.from_facts(self.facts, placement)
            groups |= self._label_groups(path, axes.drop("c"))
            position_name = self.names[image] or None
            tables = frame_tables(self.facts, placement)
            groups[path] = {
                "ome": documents.image_block(axes, path or stem, self.facts, self.grid.levels),
                "nd2": {"position_name": position_name, **tables},
            }
        nd2 = _file_attributes(self.reader, include_all_metadata)
        if self.single:
            nd2 |= groups[""]["nd2"]
            return groups | {"": {**groups[""], "nd2": nd2}}
        if self.fields is not None:
            groups |= {field.row: {} for field in self.fields}
            for well in dict.fromkeys(field.well for field in self.fields):
                images = [{"path": str(f.field)} for f in self.fields if f.well == well]
                groups[well] = _ome(well={"images": images})
            return groups | {"": {**_ome(plate=documents.plate(stem, self.fields)), "nd2": nd2}}
        root, series = documents.collection(self.paths)
        return groups | {"OME": {"ome": series}, "": {"ome": root, "nd2": nd2}}

    def _label_groups(self, path: str, axes: documents.ImageAxes) -> dict[str, dict[str, Any]]:
        if not self.layers:
            return {}
        root = f"{path}/labels".lstrip("/")
        levels = self.grid.levels
        groups = {
            f"{root}/{name}": _ome(
                **{
                    "multiscales": documents.multiscales(axes, name, levels),
                    "image-label": documents.image_label(layer.info.color),
                }
            )
            for name, layer in self.layers
        }
        return {**groups, root: _ome(labels=[name for name, _ in self.layers])}


def _ome(**blocks: Any) -> dict[str, Any]:
    return {"ome": {"version": documents.VERSION, **blocks}}


def _file_attributes(reader: Reader, include_all_metadata: bool) -> dict[str, Any]:
    from nd2._core._version import CREATOR, __version__

    attributes: dict[str, Any] = {"creator": CREATOR, "version": __version__}
    if include_all_metadata:
        from nd2._core.views.jsonable import everything

        attributes.update(everything(reader))
    return attributes


def _ome_xml(reader: Reader, facts: Facts) -> bytes:
    from nd2._core.export.ome import ome_xml

    return ome_xml(reader, facts).encode()
