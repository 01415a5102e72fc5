"""The parser for VirtualiZarr: an ND2 file as a store of references, made from arrays."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
from zarr.core.metadata.v3 import ArrayV3Metadata

from nd2._core import errors
from nd2._core.open import open_reader
from xarray_nd2.references import v3
from xarray_nd2.references.arrays import ByteRanges
from xarray_nd2.references.layouts import LayoutOptions, describe
from xarray_nd2.references.obstore import open_from_registry

try:
    from virtualizarr.manifests import ChunkManifest, ManifestArray, ManifestGroup, ManifestStore
except ImportError as _error:
    raise errors.missing_package("virtualizarr", "virtual", "for ND2Parser") from _error

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from xarray_nd2.references.arrays import ZarrGroup
    from xarray_nd2.references.layouts import LayoutName

_INLINES = "inlined" in inspect.signature(ChunkManifest.from_arrays).parameters
"""Whether manifests hold the bytes of small chunks (VirtualiZarr 2.6); before, these need a store of their own."""


class ND2Parser:
    """Parses ND2 files for VirtualiZarr.

    Parameters
    ----------
    layout : {"flat", "positions", "ome-zarr"}
        One group; a group for each position (``P0``, ``P1``, ...); or OME-Zarr 0.5.
    stored_order : bool
        Whether the image's axes run as the bytes lie, ``(T, P, Z, Y, X, C, S)``. By default they are
        those of the engine, ``(T, P, Z, C, Y, X, S)``, through the codec ``transpose``, which
        ``.vz.to_kerchunk`` cannot write.
    inline_coords : bool
        Whether there are coordinates.
    squeeze : bool
        Whether axes of size 1 other than Y and X are dropped.
    check : bool
        Whether the header of every frame's chunk is read and compared.

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
        layout: LayoutName = "flat",
        stored_order: bool = False,
        inline_coords: bool = True,
        squeeze: bool = True,
        check: bool = True,
    ) -> None:
        self.stored_order = stored_order
        # Manifests hold arrays: a coordinate may be as large as it is.
        limit = 1 << 62 if inline_coords else False
        self.options = LayoutOptions(None, layout, limit, squeeze, check)

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
            # Stores take paths as they are: one with %20 would be another file.
            options = replace(self.options, url=unquote(url) if url.startswith("file:") else url)
            groups = describe(open_reader(source), options, stored_order=self.stored_order)
            place = "memory://nd2-" + hashlib.sha256(repr(source.identity).encode()).hexdigest()
        finally:
            source.close()
        chunks = _SmallChunks(f"{place}/{options.layout}", registry)
        root, *others = (_manifest_group(group, chunks) for group in groups)
        if others:
            members = {group.path: made for group, made in zip(groups[1:], others, strict=True)}
            root = ManifestGroup(arrays=root.arrays, groups=members, attributes=groups[0].attrs)
        return ManifestStore(root, registry=registry)

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

    def manifest(self, path: str, grid: tuple[int, ...], data: bytes) -> ChunkManifest:
        """Return the manifest of one chunk."""
        lengths = np.full(grid, len(data), np.uint64)
        if _INLINES:
            inlined = {(0,) * len(grid): data}
            return _manifest("__inlined__", np.zeros_like(lengths), lengths, inlined=inlined)
        if self.store is None:
            from obstore.store import MemoryStore

            self.store = MemoryStore()
            self.registry.register(self.place.rsplit("/", 1)[0], self.store)
        url = f"{self.place}/{path}"
        self.store.put(url.split("/", 3)[3], data)
        return _manifest(url, np.zeros_like(lengths), lengths)


def _manifest_group(group: ZarrGroup, chunks: _SmallChunks) -> ManifestGroup:
    arrays = {}
    for path, array in group.items:
        if isinstance(array.data, ByteRanges):
            ranges = array.data
            manifest = _manifest(ranges.urls[0], ranges.offsets, ranges.lengths)
        else:
            manifest = chunks.manifest(path, array.grid, v3.encode(np.asarray(array.data)))
        metadata = ArrayV3Metadata.from_dict(v3.array_document(array))
        arrays[path.rpartition("/")[2]] = ManifestArray(metadata=metadata, chunkmanifest=manifest)
    return ManifestGroup(arrays=arrays, attributes=group.attrs)


def _manifest(
    url: str, offsets: NDArray[np.uint64], lengths: NDArray[np.uint64], **options: Any
) -> ChunkManifest:
    paths = np.full(lengths.shape, url, np.dtypes.StringDType())
    paths[lengths == 0] = ""
    return ChunkManifest.from_arrays(
        paths=paths,
        offsets=np.asarray(offsets, order="C"),
        lengths=np.asarray(lengths, order="C"),
        validate_paths=False,
        **options,
    )
