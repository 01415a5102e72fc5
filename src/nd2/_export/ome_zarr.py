"""Writing a file as OME-Zarr (OME-NGFF 0.5): images, pyramids, series of positions, plates, labels, metadata."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nd2 import _errors, _pool
from nd2._export import ngff
from nd2._export.aside import aside
from nd2._export.blocks import Blocks, Grid, pyramid
from nd2._export.pipeline import pump
from nd2._export.placement import Placement
from nd2._export.progress import bar
from nd2._export.recorded import recorded_values
from nd2._export.zarr_store import (
    Backend,
    Folder,
    Remote,
    choose_backend,
    put_array,
    put_group,
)
from nd2._io.open import is_url
from nd2._io.redact import file_name
from nd2._readers.positions import position_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nd2._export.blocks import Block
    from nd2._export.zarr_store import Array, Target
    from nd2._readers import Reader
    from nd2._readers.masks import MaskLayer

ChunkShape = tuple[int, ...] | Literal["auto"] | None
Levels = int | Literal["auto"]


@dataclass(frozen=True, slots=True)
class ZarrOptions:
    """How to write, as the user asked for it; see ``ND2File.write_ome_zarr``."""

    chunk_shape: ChunkShape = "auto"
    shard_shape: tuple[int, ...] | None = None
    backend: Backend = "auto"
    levels: Levels = 1
    version: str = ngff.VERSION
    include_all_metadata: bool = True
    include_labels: bool = True
    progress: bool = False


def write_ome_zarr(
    reader: Reader,
    dest: str | os.PathLike[str],
    options: ZarrOptions,
    *,
    position: int | None = None,
    force_series: bool = False,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Path | str:
    """Write a file as OME-Zarr; parameters as those of ``ND2File.write_ome_zarr``.

    Returns
    -------
    Path or str
        Where it is.
    """
    if options.version != ngff.VERSION:
        raise ValueError(f"OME-NGFF {options.version!r} is not written; {ngff.VERSION!r} is")
    placement = Placement.of(reader.layout)
    names = position_names(reader)
    if len(names) != placement.images:
        names = [None] * placement.images
    if position is not None:
        placement = placement.of_image(position)
        names = [names[position]]
    axes = ngff.ImageAxes.of(reader, placement)
    grid = Grid.of(
        axes,
        reader.dtype,
        "z" if placement.nesting == "TZ" else "t",
        options.chunk_shape,
        options.shard_shape,
        options.levels,
    )
    backend = choose_backend(options.backend, remote=is_url(dest))
    with _destination(dest, overwrite, storage_options) as target:
        export = _Export(reader, placement, names, axes, grid, target, backend, options)
        export.write(force_series)
    return str(dest) if is_url(dest) else Path(dest)


@contextmanager
def _destination(
    dest: str | os.PathLike[str], overwrite: bool, storage_options: Mapping[str, Any] | None
) -> Iterator[Target]:
    """Give where to write to; what is there already is replaced at the end, or not touched at all."""
    if not is_url(dest):
        path = Path(dest)
        if not overwrite and os.path.lexists(path):
            raise _errors.exists(str(path))
        with aside(path) as partial:
            partial.mkdir(parents=True)
            yield Folder(partial)
        return
    remote = Remote(str(dest), storage_options or {})
    fs, root = remote.filesystem()
    if fs.exists(root) and fs.find(root, maxdepth=1, withdirs=True):
        if not overwrite:
            raise _errors.exists(remote.url)
        fs.rm(root, recursive=True)
    # There is no renaming on an object store: the document that makes it a Zarr group is written last.
    yield remote


@dataclass(frozen=True, slots=True)
class _Export:
    """One export: what is written, where to, and how."""

    reader: Reader
    placement: Placement
    names: Sequence[str | None]
    axes: ngff.ImageAxes
    grid: Grid
    target: Target
    backend: Backend
    options: ZarrOptions

    def write(self, force_series: bool) -> None:
        """Write everything; the root's metadata come last, so that what is not whole does not open."""
        layers = self._layers()
        fields = None
        if self.placement.images > 1 and not force_series:
            fields = ngff.plate_fields(self.names)
        single = self.placement.images == 1 and not force_series
        if fields is not None:
            paths = [field.path for field in fields]
        else:
            paths = [""] if single else [str(i) for i in range(self.placement.images)]
        self._pixels(paths, layers)
        for image, path in enumerate(paths):
            self._labels(path, layers)
            if path:
                put_group(self.target, path, self._image_attributes(image, path))
        nd2 = self._file_attributes()
        if single:
            attributes = self._image_attributes(0, self._stem())
            put_group(self.target, "", {**attributes, "nd2": {**nd2, **attributes["nd2"]}})
        elif fields is not None:
            self._plate(fields, nd2)
        else:
            self._series(paths, nd2)

    # ---------------------------------------------------------------------------------------------- pixels

    def _pixels(self, paths: Sequence[str], layers: Sequence[tuple[str, MaskLayer]]) -> None:
        images = [self._create(path, self.axes, self.grid, self.reader.dtype) for path in paths]
        masks_axes = self.axes.without("c")
        masks_grid = self.grid.without(self.axes.names.find("c"))
        masks = [
            [
                self._create(
                    f"{path}/labels/{name}".lstrip("/"), masks_axes, masks_grid, _LABEL_TYPE
                )
                for name, _ in layers
            ]
            for path in paths
        ]
        blocks = Blocks.of(self.reader, self.placement, self.axes, self.grid)

        def write(block: Block) -> None:
            for level, data in enumerate(pyramid(block.data, self.grid.levels)):
                images[block.image][level].write(block.region(self.axes.names), data)
            for (_, layer), arrays in zip(layers, masks[block.image], strict=True):
                data = block.labels(layer, masks_axes.names, masks_axes.shape)
                for level, part in enumerate(pyramid(data, self.grid.levels, nearest=True)):
                    arrays[level].write(block.region(masks_axes.names), part)

        with bar(self.options.progress, len(self.placement.index), "frame") as advance:
            pump(
                blocks.read(),
                write,
                lambda block: advance(block.count),
                writers=_pool.workers(),
            )

    def _create(
        self, path: str, axes: ngff.ImageAxes, grid: Grid, dtype: np.dtype[Any]
    ) -> list[Array]:
        arrays = []
        for level in range(grid.levels):
            name = f"{path}/{level}".lstrip("/")
            shape = axes.level_shape(level)
            chunks, shards = grid.at(shape)
            put_array(
                self.target,
                name,
                shape=shape,
                dtype=dtype,
                chunks=chunks,
                shards=shards,
                names=axes.names,
            )
            arrays.append(self.target.array(name, self.backend))
        return arrays

    # -------------------------------------------------------------------------------------------- metadata

    def _stem(self) -> str:
        return Path(file_name(self.reader.source.url)).stem or "image"

    def _image_attributes(self, image: int, name: str) -> dict[str, Any]:
        mine = self.placement.of_image(image) if self.placement.images > 1 else self.placement
        return {
            "ome": {
                "version": ngff.VERSION,
                "multiscales": ngff.multiscales(self.axes, name, self.grid.levels),
                "omero": ngff.omero(self.reader),
            },
            "nd2": {"position_name": self.names[image], **recorded_values(self.reader, mine)},
        }

    def _file_attributes(self) -> dict[str, Any]:
        from nd2 import __version__

        found: dict[str, Any] = {"version": __version__}
        if self.options.include_all_metadata:
            from nd2._export.jsonable import everything

            found.update(everything(self.reader))
        return found

    def _series(self, paths: Sequence[str], nd2: Mapping[str, Any]) -> None:
        from nd2._export.ome import ome_metadata

        self.target.put(
            "OME/METADATA.ome.xml",
            ome_metadata(self.reader, include_unstructured=False).to_xml().encode(),
        )
        put_group(self.target, "OME", {"ome": {"version": ngff.VERSION, "series": list(paths)}})
        layout = {"version": ngff.VERSION, "bioformats2raw.layout": 3}
        put_group(self.target, "", {"ome": layout, "nd2": nd2})

    def _plate(self, fields: Sequence[ngff.Field], nd2: Mapping[str, Any]) -> None:
        for row in dict.fromkeys(field.row for field in fields):
            put_group(self.target, row, {})
        for well in dict.fromkeys(field.well for field in fields):
            images = [{"path": str(field.field)} for field in fields if field.well == well]
            put_group(
                self.target, well, {"ome": {"version": ngff.VERSION, "well": {"images": images}}}
            )
        plate = ngff.plate(self._stem(), fields)
        put_group(self.target, "", {"ome": {"version": ngff.VERSION, "plate": plate}, "nd2": nd2})

    # ---------------------------------------------------------------------------------------------- labels

    def _layers(self) -> list[tuple[str, MaskLayer]]:
        if not self.options.include_labels:
            return []
        return [
            (ngff.label_name(i, layer.info.name), layer)
            for i, layer in enumerate(self.reader.mask_layers)
        ]

    def _labels(self, path: str, layers: Sequence[tuple[str, MaskLayer]]) -> None:
        if not layers:
            return
        axes = self.axes.without("c")
        root = f"{path}/labels".lstrip("/")
        for name, layer in layers:
            block = {
                "version": ngff.VERSION,
                "multiscales": ngff.multiscales(axes, name, self.grid.levels),
                "image-label": ngff.image_label(layer.info.color),
            }
            put_group(self.target, f"{root}/{name}", {"ome": block})
        names = [name for name, _ in layers]
        put_group(self.target, root, {"ome": {"version": ngff.VERSION, "labels": names}})


_LABEL_TYPE = np.dtype(np.uint32)
