"""Writing a file as OME-Zarr (OME-NGFF 0.5): images, pyramids, series, plates, labels, metadata."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np

from nd2._core._version import CREATOR, __version__
from nd2._core.export import zarr_documents as documents
from nd2._core.export.blocks import Blocks, Grid
from nd2._core.export.ome import ome_xml
from nd2._core.export.pipeline import bar, cluster_threads, pump, pump_cluster, share
from nd2._core.export.zarr_store import Backend, Target, choose_backend, put_array
from nd2._core.frames import pool
from nd2._core.io.destination import resolve
from nd2._core.io.urls import file_stem, is_url, local_path
from nd2._core.values import cached_property, record
from nd2._core.views.facts import Facts
from nd2._core.views.jsonable import plain
from nd2._core.views.placement import Placement, frame_tables
from nd2._core.views.pyramid import pyramid

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Unpack

    from nd2._core.export.blocks import Block, BlockRange
    from nd2._core.export.zarr_store import Write
    from nd2._core.readers import Reader
    from nd2._core.readers.layer_chunks import LayerChunks

_LABEL_TYPE = np.dtype(np.uint32)


class _Options(TypedDict):
    """The options that decide which arrays are written."""

    chunk_shape: tuple[int, ...] | Literal["auto"] | None
    shard_shape: tuple[int, ...] | None
    levels: int | Literal["auto"]
    position: int | None
    force_series: bool
    include_labels: bool


def write_ome_zarr(
    reader: Reader,
    facts: Facts,
    dest: str | os.PathLike[str],
    *,
    backend: Backend,
    progress: bool,
    include_all_metadata: bool = True,
    version: str = documents.VERSION,
    overwrite: bool,
    storage_options: Mapping[str, Any] | None,
    client: Any,
    reopen: Callable[[], Reader] | None,
    **options: Unpack[_Options],
) -> Path | str:
    """Write a file as OME-Zarr and return its path or URL; see ``ND2File.write_ome_zarr``.

    With ``client``, workers open the file by ``reopen``, which can be pickled.
    """
    if version != documents.VERSION:
        raise ValueError(f"Only version {documents.VERSION!r} is supported, not {version!r}")
    export = _Export.from_reader(reader, facts, options)
    backend = choose_backend(backend, remote=is_url(dest))
    threads = 0 if client is None else cluster_threads(client)
    # Errors of the file or of the options are raised here, before anything is removed.
    reader.frames.check_codec()
    groups = export.groups(include_all_metadata)
    xml = None if export.single or export.fields else ome_xml(reader, facts).encode()
    destination = resolve(
        dest, "OME-Zarr", overwrite=overwrite, sources=[reader.source.url], storage_options=storage_options
    )
    with destination.folder() as place:
        store = place, dict(storage_options or {}) if destination.url else None
        target = Target(*store)
        try:
            export.create_arrays(target)
            with bar(progress, len(export.placement.index), "frame") as advance:
                if client is None:
                    arrays = export.open_arrays(target, backend)
                    pump(
                        export.blocks.read(),
                        lambda block: export.write(block, arrays),
                        lambda block: advance(block.frames.size),
                        writers=pool.workers(),
                    )
                else:
                    parts = export.blocks.parts(reader.frames.pixels.packed_frame_bytes, threads)
                    opener = share(client, reopen)
                    more = {"options": options, "store": store, "backend": backend}
                    for part in pump_cluster(client, _write_part, parts, opener=opener, **more):
                        advance(part.frames)
                    target.sweep()
            if xml is not None:
                target.put("OME/METADATA.ome.xml", xml)
            for path, attributes in groups.items():
                target.put_metadata(path, documents.group_document(attributes))
        finally:
            target.shut()
    return str(dest) if destination.url else Path(local_path(dest))


def _write_part(
    part: BlockRange,
    *,
    opener: bytes,
    options: _Options,
    store: tuple[str, Mapping[str, Any] | None],
    backend: Backend,
) -> None:
    """Write some blocks, on a worker of a cluster, with as many threads as it has."""
    import dask
    from distributed import get_worker

    threads = int(get_worker().state.nthreads)
    pool.limit(threads)
    target = Target(*store)
    reopen: Callable[[], Reader] = pickle.loads(opener)
    # Lazy arrays are computed here, not by other tasks.
    with dask.config.set(scheduler="synchronous"), reopen() as reader:
        export = _Export.from_reader(reader, Facts(reader), options)
        try:
            blocks = export.blocks
            arrays = export.open_arrays(target, backend, threads, blocks.images(part))
            for block in blocks.read(part):
                export.write(block, arrays)
        finally:
            target.shut()


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

    @classmethod
    def from_reader(cls, reader: Reader, facts: Facts, options: _Options) -> _Export:
        """Decide what is written. Errors of the options are raised here."""
        placement, position = Placement.from_layout(reader.layout), options["position"]
        names = facts.image_names(placement.images)
        if position is not None:
            placement = placement.image_part(position)
            names = [names[position]]
        axes = documents.ImageAxes.from_facts(facts, placement)
        inner = "z" if placement.nesting == "TZ" else "t"
        grid = Grid.choose(axes, reader.dtype, inner, options["chunk_shape"], options["shard_shape"], options["levels"])
        layers = reader.binary_layers if options["include_labels"] else []
        series = options["force_series"]
        return cls(
            reader,
            facts,
            placement,
            names,
            axes,
            grid,
            [(documents.label_name(i, layer.info.name), layer) for i, layer in enumerate(layers)],
            None if placement.images == 1 or series else documents.plate_fields(names),
            single=placement.images == 1 and not series,
        )

    @cached_property
    def paths(self) -> list[str]:
        """Path of each image."""
        if self.fields is not None:
            return [field.path for field in self.fields]
        return [""] if self.single else [str(i) for i in range(self.placement.images)]

    @property
    def blocks(self) -> Blocks:
        """The blocks of all images."""
        return Blocks.from_placement(self.reader, self.placement, self.axes, self.grid)

    def _arrays(self, images: Iterable[int]) -> Iterator[tuple[str, documents.ImageAxes, np.dtype[Any], int]]:
        """Yield name, axes, type and level of the arrays of images and their labels."""
        for number in images:
            path = self.paths[number]
            pyramids = [(path, self.axes, self.reader.dtype)]
            pyramids += [(_label_path(path, name), self.axes.label_axes, _LABEL_TYPE) for name, _ in self.layers]
            for image, axes, dtype in pyramids:
                for level in range(self.grid.levels):
                    yield _array_name(image, level), axes, dtype, level

    def create_arrays(self, target: Target) -> None:
        """Write the metadata of all arrays."""
        for name, axes, dtype, level in self._arrays(range(len(self.paths))):
            shape = axes.level_shape(level)
            put_array(target, name, shape, dtype, *self.grid.fit(axes.names, shape), axes.names)

    def open_arrays(
        self, target: Target, backend: Backend, threads: int | None = None, images: Iterable[int] | None = None
    ) -> dict[str, Write]:
        """Return the functions that write to the arrays, by the names of these; by default those of all images."""
        images = range(len(self.paths)) if images is None else images
        return {name: target.open_array(name, backend, threads) for name, *_ in self._arrays(images)}

    def write(self, block: Block, arrays: Mapping[str, Write]) -> None:
        """Write the levels of a block, and of its labels."""
        path, axes = self.paths[block.image], self.axes.label_axes
        region = block.region(self.axes.names)
        for level, data in enumerate(pyramid(block.data, self.grid.levels)):
            arrays[_array_name(path, level)](region, data)
        region = block.region(axes.names)
        for name, layer in self.layers:
            data = block.labels(layer, axes.names, axes.shape)
            for level, part in enumerate(pyramid(data, self.grid.levels, nearest=True)):
                arrays[_array_name(_label_path(path, name), level)](region, part)

    def groups(self, include_all_metadata: bool) -> dict[str, Mapping[str, Any]]:
        """Return the attributes of each group, the root last: an incomplete store has none, and does not open."""
        stem = file_stem(self.reader.source.url) or "image"
        groups: dict[str, Mapping[str, Any]] = {}
        for image, path in enumerate(self.paths):
            placement = self.placement.image_part(image)
            axes = documents.ImageAxes.from_facts(self.facts, placement)
            for name, layer in self.layers:
                multiscales = documents.multiscales(axes.label_axes, name, self.grid.levels)
                label = documents.image_label(layer.info.color)
                groups[_label_path(path, name)] = _ome(**{"multiscales": multiscales, "image-label": label})
            if self.layers:
                groups[f"{path}/labels".lstrip("/")] = _ome(labels=[name for name, _ in self.layers])
            groups[path] = {
                "ome": documents.image_block(axes, path or stem, self.facts, self.grid.levels),
                "nd2": {"position_name": self.names[image] or None, **frame_tables(self.facts, placement)},
            }
        nd2: dict[str, Any] = {"creator": CREATOR, "version": __version__}
        if include_all_metadata:
            unstructured = self.reader.unstructured_metadata(strip_prefix=True, include=None, exclude=None)
            nd2 |= {"unstructured_metadata": plain(unstructured), "custom_data": plain(self.reader.custom_data)}
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


def _array_name(path: str, level: int) -> str:
    return f"{path}/{level}".lstrip("/")


def _label_path(path: str, name: str) -> str:
    return f"{path}/labels/{name}".lstrip("/")


def _ome(**blocks: Any) -> dict[str, Any]:
    return {"ome": {"version": documents.VERSION, **blocks}}
