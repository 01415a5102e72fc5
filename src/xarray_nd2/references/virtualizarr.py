"""The parser for VirtualiZarr: an ND2 file as a store of references, made from arrays, never from one object a frame."""

from __future__ import annotations

import hashlib
import inspect
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
from zarr.core.metadata.v3 import ArrayV3Metadata

from nd2._core import errors
from nd2._core.open import open_reader
from xarray_nd2.references import documents
from xarray_nd2.references.groups import hierarchy
from xarray_nd2.references.obstore import open_from_registry

try:
    from virtualizarr.manifests import ChunkManifest, ManifestArray, ManifestGroup, ManifestStore
except ImportError as _error:
    raise errors.missing_package("virtualizarr", "virtual", "for ND2Parser") from _error

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from xarray_nd2.references.groups import Grouping, GroupModel
    from xarray_nd2.references.zarr_array import ChunkReferences

_INLINES = "inlined" in inspect.signature(ChunkManifest.from_arrays).parameters
"""Whether manifests hold the bytes of small chunks (VirtualiZarr 2.6); before, these need a store of their own."""


class ND2Parser:
    """Parses ND2 files for VirtualiZarr.

    Parameters
    ----------
    layout : {"flat", "positions", "ome-zarr"}
        One group; a group for each position (``P0``, ``P1``, ...); or OME-Zarr 0.5.
    stored_order : bool
        Whether the image's axes run as the bytes lie, ``(T, P, Z, Y, X, C, S)``. By default they are those of the
        engine, ``(T, P, Z, C, Y, X, S)``, through the codec ``transpose``, which ``.vz.to_kerchunk`` cannot write.
    inline_coords : bool
        Whether there are coordinates.
    squeeze : bool
        Whether axes of size 1 other than Y and X are dropped.
    check : bool
        Whether the head of every frame's chunk is read and compared.

    Examples
    --------
    >>> registry = ObjectStoreRegistry({"s3://bucket": store})  # doctest: +SKIP
    >>> xr.open_zarr(
    ...     ND2Parser()("s3://bucket/a.nd2", registry), consolidated=False
    ... )  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        layout: Grouping = "flat",
        stored_order: bool = False,
        inline_coords: bool = True,
        squeeze: bool = True,
        check: bool = True,
    ) -> None:
        self.layout = layout
        self.stored_order = stored_order
        self.inline_coords = inline_coords
        self.squeeze = squeeze
        self.check = check

    def __call__(self, url: str, registry: Any) -> ManifestStore:
        """Describe a file as a store.

        Parameters
        ----------
        url : str
            Where the file is, with its scheme: ``file:///...``, ``s3://...``, ``https://...``.
        registry : obspec_utils.registry.ObjectStoreRegistry
            Stores by the beginning of the URLs that they serve. Where manifests cannot hold small chunks
            (VirtualiZarr before 2.6), a store in memory with the coordinates is added to it.

        Returns
        -------
        virtualizarr.manifests.ManifestStore

        Raises
        ------
        OSError
            If the file cannot be opened, or is not ND2.
        ValueError
            If it is damaged, or its frames' bytes are not those of any Zarr chunk.
        """
        source = open_from_registry(url, registry)
        try:
            address, groups = hierarchy(
                open_reader(source),
                layout=self.layout,
                stored_order=self.stored_order,
                # Stores take paths as they are: one with %20 would be another file.
                url=unquote(url) if url.startswith("file:") else url,
                # Manifests hold arrays: a coordinate may be as large as it is.
                inline_coords=1 << 62 if self.inline_coords else False,
                squeeze=self.squeeze,
                check=self.check,
            )
            place = "memory://nd2-" + hashlib.sha256(repr(source.identity).encode()).hexdigest()
        finally:
            source.close()
        chunks = _SmallChunks(f"{place}/{self.layout}", registry)
        return ManifestStore(_manifest_group(groups, address, chunks), registry=registry)

    def open_dataset(self, url: str, registry: Any) -> xr.Dataset:
        """Return a virtual dataset whose coordinates are in memory, ready for ``.vz.to_icechunk``.

        Only the image is virtual: what is not bytes of the file is written as it is. See `__call__` for parameters
        and errors; ``open_virtual_dataset`` of VirtualiZarr loads the coordinates of axes only.
        """
        from virtualizarr import open_virtual_dataset

        store = self(url, registry)
        names = [name for name in store._group.arrays if name != "image"]  # noqa: SLF001
        dataset: xr.Dataset = open_virtual_dataset(
            url, registry=registry, parser=lambda url, registry: store, loadable_variables=names
        )
        for name in names:
            dataset[name].load()
        return dataset


class _SmallChunks:
    """Manifests of chunks that are not in the file."""

    def __init__(self, place: str, registry: Any) -> None:
        self.place, self.registry = place, registry
        self.store: Any = None

    def manifest(self, path: str, shape: tuple[int, ...], data: bytes) -> ChunkManifest:
        """Return the manifest of one chunk."""
        if _INLINES:
            return _manifest(
                np.full(shape, "__inlined__", np.dtypes.StringDType()),
                np.zeros(shape, np.uint64),
                np.full(shape, len(data), np.uint64),
                inlined={(0,) * len(shape): data},
            )
        if self.store is None:
            from obstore.store import MemoryStore

            self.store = MemoryStore()
            self.registry.register(self.place.rsplit("/", 1)[0], self.store)
        url = f"{self.place}/{path}"
        self.store.put(url.split("/", 3)[3], data)
        return _manifest(
            np.full(shape, url, np.dtypes.StringDType()),
            np.zeros(shape, np.uint64),
            np.full(shape, len(data), np.uint64),
        )


def _manifest_group(groups: Sequence[GroupModel], url: str, chunks: _SmallChunks) -> ManifestGroup:
    """Turn groups, the root first, into VirtualiZarr's."""
    root, *others = groups
    return ManifestGroup(
        arrays=_arrays(root, url, chunks),
        groups={
            group.path: ManifestGroup(
                arrays=_arrays(group, url, chunks), attributes=documents.plain(group.attrs)
            )
            for group in others
        },
        attributes=documents.plain(root.attrs),
    )


def _arrays(group: GroupModel, url: str, chunks: _SmallChunks) -> dict[str, ManifestArray]:
    arrays: dict[str, ManifestArray] = {}
    if group.image is not None:
        document = documents.image_v3(group.image, group.array_attrs, group.image_dims)
        arrays[group.image_name] = ManifestArray(
            metadata=ArrayV3Metadata.from_dict(document),
            chunkmanifest=_image_manifest(group.image.references, url),
        )
    for name, variable in group.coords.items():
        values = documents.as_stored(variable.values)
        document = documents.values_v3(values, variable.attrs, variable.dims)
        arrays[name] = ManifestArray(
            metadata=ArrayV3Metadata.from_dict(document),
            chunkmanifest=chunks.manifest(
                f"{group.prefix}{name}", (1,) * values.ndim, documents.chunk_v3(values)
            ),
        )
    return arrays


def _image_manifest(references: ChunkReferences, url: str) -> ChunkManifest:
    paths = np.full(references.lengths.shape, url, np.dtypes.StringDType())
    paths[references.lengths == 0] = ""
    return _manifest(
        paths,
        np.ascontiguousarray(references.offsets),
        np.ascontiguousarray(references.lengths),
    )


def _manifest(
    paths: Any, offsets: NDArray[np.uint64], lengths: NDArray[np.uint64], **options: Any
) -> ChunkManifest:
    return ChunkManifest.from_arrays(
        paths=paths, offsets=offsets, lengths=lengths, validate_paths=False, **options
    )
