"""Writing a file as OME-Zarr (OME-NGFF 0.5): images, pyramids, series of positions, plates, labels, metadata."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nd2._core import errors
from nd2._core.export import ngff
from nd2._core.export.blocks import Blocks, Grid, pyramid
from nd2._core.export.pipeline import pump
from nd2._core.export.progress import bar
from nd2._core.export.zarr_store import (
    Backend,
    Folder,
    Remote,
    choose_backend,
    put_array,
    put_group,
)
from nd2._core.frames import pool
from nd2._core.io.destination import atomic_path, remove_stale
from nd2._core.io.urls import file_name, is_url
from nd2._core.readers.positions import position_names
from nd2._core.views.placement import Placement
from nd2._core.views.recorded import recorded_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nd2._core.export.blocks import Block
    from nd2._core.export.zarr_store import Array, Target
    from nd2._core.readers import Reader
    from nd2._core.readers.masks import MaskLayer

ChunkShape = tuple[int, ...] | Literal["auto"] | None
Levels = int | Literal["auto"]

_LABEL_TYPE = np.dtype(np.uint32)
_TRIAL = ".partial"
"""Name of an object that is written, and removed with what is to be replaced: who may not write must not remove."""


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
    export = _Export(reader, placement, names, axes, grid, backend, options)
    # What can fail for reasons of the file or of the options fails here, before anything is removed.
    content = export.content(force_series)
    with _destination(dest, overwrite, storage_options) as target:
        export.write(content, target)
    return str(dest) if is_url(dest) else Path(dest)


@contextmanager
def _destination(
    dest: str | os.PathLike[str], overwrite: bool, storage_options: Mapping[str, Any] | None
) -> Iterator[Target]:
    """Give where to write to.

    A folder that is there is replaced at the end, or not touched at all. What is there at a URL is removed first, as soon
    as it is known that something can be written in its place; if the export fails then, nothing of it is left.
    """
    if not is_url(dest):
        path = Path(dest)
        if not overwrite and os.path.lexists(path):
            raise errors.exists(str(path))
        remove_stale(path)
        with atomic_path(path) as partial:
            partial.mkdir(parents=True)
            yield Folder(partial)
        return
    remote = Remote(str(dest), storage_options or {})
    fs, root = remote.filesystem()
    if fs.exists(root) and fs.find(root, maxdepth=1, withdirs=True):
        if not overwrite:
            raise errors.exists(remote.url)
        remote.put(_TRIAL, b"")
        fs.rm(root, recursive=True)
    try:
        # There is no renaming on an object store: the document that makes it a Zarr group is written last.
        yield remote
    except BaseException:
        with suppress(Exception):  # the first error counts
            fs.rm(root, recursive=True)
        raise


@dataclass(frozen=True, slots=True)
class _Content:
    """All that is written but the pixels.

    Attributes
    ----------
    paths : sequence of str
        Path of each image.
    layers : sequence of (str, MaskLayer)
        Name of each binary layer, and what reads it.
    blocks : Blocks
        What reads the pixels.
    files : sequence of (str, bytes)
        Name and content of files that are no Zarr metadata.
    groups : sequence of (str, dict)
        Path and attributes of each group; the root comes last, so that what is not whole does not open.
    """

    paths: Sequence[str]
    layers: Sequence[tuple[str, MaskLayer]]
    blocks: Blocks
    files: Sequence[tuple[str, bytes]]
    groups: Sequence[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class _Export:
    """One export: what is written, and how."""

    reader: Reader
    placement: Placement
    names: Sequence[str | None]
    axes: ngff.ImageAxes
    grid: Grid
    backend: Backend
    options: ZarrOptions

    def content(self, force_series: bool) -> _Content:
        """Work out all that is written but the pixels.

        Raises
        ------
        ValueError
            If the file is damaged.
        NotImplementedError, ImportError
            If its frames cannot be decoded.
        """
        self.reader.frames.check_codec()
        layers = self._layers()
        fields = None
        if self.placement.images > 1 and not force_series:
            fields = ngff.plate_fields(self.names)
        single = self.placement.images == 1 and not force_series
        if fields is not None:
            paths = [field.path for field in fields]
        else:
            paths = [""] if single else [str(i) for i in range(self.placement.images)]
        groups: list[tuple[str, Mapping[str, Any]]] = []
        for image, path in enumerate(paths):
            groups += self._labels(path, layers)
            if path:
                groups.append((path, self._image_attributes(image, path)))
        files: list[tuple[str, bytes]] = []
        nd2 = self._file_attributes()
        if single:
            attributes = self._image_attributes(0, self._stem())
            groups.append(("", {**attributes, "nd2": {**nd2, **attributes["nd2"]}}))
        elif fields is not None:
            groups += self._plate(fields, nd2)
        else:
            files.append(("OME/METADATA.ome.xml", self._ome_xml()))
            groups += self._series(paths, nd2)
        blocks = Blocks.of(self.reader, self.placement, self.axes, self.grid)
        return _Content(paths, layers, blocks, files, groups)

    def write(self, content: _Content, target: Target) -> None:
        """Write everything."""
        self._pixels(content, target)
        for name, data in content.files:
            target.put(name, data)
        for path, attributes in content.groups:
            put_group(target, path, attributes)

    # ---------------------------------------------------------------------------------------------- pixels

    def _pixels(self, content: _Content, target: Target) -> None:
        images = [
            self._create(target, path, self.axes, self.grid, self.reader.dtype)
            for path in content.paths
        ]
        masks_axes = self.axes.without("c")
        masks_grid = self.grid.without(self.axes.names.find("c"))
        masks = [
            [
                self._create(
                    target,
                    f"{path}/labels/{name}".lstrip("/"),
                    masks_axes,
                    masks_grid,
                    _LABEL_TYPE,
                )
                for name, _ in content.layers
            ]
            for path in content.paths
        ]

        def write(block: Block) -> None:
            for level, data in enumerate(pyramid(block.data, self.grid.levels)):
                images[block.image][level].write(block.region(self.axes.names), data)
            for (_, layer), arrays in zip(content.layers, masks[block.image], strict=True):
                data = block.labels(layer, masks_axes.names, masks_axes.shape)
                for level, part in enumerate(pyramid(data, self.grid.levels, nearest=True)):
                    arrays[level].write(block.region(masks_axes.names), part)

        with bar(self.options.progress, len(self.placement.index), "frame") as advance:
            pump(
                content.blocks.read(),
                write,
                lambda block: advance(block.count),
                writers=pool.workers(),
            )

    def _create(
        self,
        target: Target,
        path: str,
        axes: ngff.ImageAxes,
        grid: Grid,
        dtype: np.dtype[Any],
    ) -> list[Array]:
        arrays = []
        for level in range(grid.levels):
            name = f"{path}/{level}".lstrip("/")
            shape = axes.level_shape(level)
            chunks, shards = grid.at(shape)
            put_array(
                target,
                name,
                shape=shape,
                dtype=dtype,
                chunks=chunks,
                shards=shards,
                names=axes.names,
            )
            arrays.append(target.array(name, self.backend))
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
        from nd2._core._version import __version__

        found: dict[str, Any] = {"version": __version__}
        if self.options.include_all_metadata:
            from nd2._core.views.jsonable import everything

            found.update(everything(self.reader))
        return found

    def _ome_xml(self) -> bytes:
        from nd2._core.export.ome import ome_metadata

        return ome_metadata(self.reader, include_unstructured=False).to_xml().encode()

    def _series(
        self, paths: Sequence[str], nd2: Mapping[str, Any]
    ) -> list[tuple[str, dict[str, Any]]]:
        layout = {"version": ngff.VERSION, "bioformats2raw.layout": 3}
        return [
            ("OME", {"ome": {"version": ngff.VERSION, "series": list(paths)}}),
            ("", {"ome": layout, "nd2": nd2}),
        ]

    def _plate(
        self, fields: Sequence[ngff.Field], nd2: Mapping[str, Any]
    ) -> list[tuple[str, dict[str, Any]]]:
        groups: list[tuple[str, dict[str, Any]]] = [
            (row, {}) for row in dict.fromkeys(field.row for field in fields)
        ]
        for well in dict.fromkeys(field.well for field in fields):
            images = [{"path": str(field.field)} for field in fields if field.well == well]
            groups.append((well, {"ome": {"version": ngff.VERSION, "well": {"images": images}}}))
        plate = ngff.plate(self._stem(), fields)
        return [*groups, ("", {"ome": {"version": ngff.VERSION, "plate": plate}, "nd2": nd2})]

    # ---------------------------------------------------------------------------------------------- labels

    def _layers(self) -> list[tuple[str, MaskLayer]]:
        if not self.options.include_labels:
            return []
        return [
            (ngff.label_name(i, layer.info.name), layer)
            for i, layer in enumerate(self.reader.mask_layers)
        ]

    def _labels(
        self, path: str, layers: Sequence[tuple[str, MaskLayer]]
    ) -> list[tuple[str, dict[str, Any]]]:
        if not layers:
            return []
        axes = self.axes.without("c")
        root = f"{path}/labels".lstrip("/")
        groups = []
        for name, layer in layers:
            block = {
                "version": ngff.VERSION,
                "multiscales": ngff.multiscales(axes, name, self.grid.levels),
                "image-label": ngff.image_label(layer.info.color),
            }
            groups.append((f"{root}/{name}", {"ome": block}))
        names = [name for name, _ in layers]
        return [*groups, (root, {"ome": {"version": ngff.VERSION, "labels": names}})]
