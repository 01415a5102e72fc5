"""The parser for VirtualiZarr: an ND2 file as a store of references, also if it is in a store of obstore."""

from __future__ import annotations

import hashlib
import inspect
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import numpy as np
import xarray as xr
from fsspec.asyn import AsyncFileSystem
from zarr.core.metadata.v3 import ArrayV3Metadata

from nd2._core import errors
from nd2._core.io import open_source
from nd2._core.io.ranges import Answer, RangeTransport
from nd2._core.io.remote import FsspecSource
from nd2._core.io.transport import normal_version
from nd2._core.open import open_reader
from xarray_nd2.references.formats import V3, ByteRanges
from xarray_nd2.references.layouts import LayoutOptions, describe

with errors.requirement("virtualizarr", "virtual", "for ND2Parser"):
    from obspec_utils.registry import ObjectStoreRegistry
    from virtualizarr.manifests import ChunkManifest, ManifestArray, ManifestGroup, ManifestStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from numpy.typing import NDArray

    from nd2._core.io import ByteSource
    from xarray_nd2.references.formats import ZarrGroup
    from xarray_nd2.references.layouts import LayoutName

_INLINES = "inlined" in inspect.signature(ChunkManifest.from_arrays).parameters
"""Whether manifests hold the bytes of small chunks (VirtualiZarr 2.6); before, these need a store of their own."""
_READ = 1 << 20
"""Bytes that a store of obstore yields at once."""


class ND2Parser:
    """Parses ND2 files for VirtualiZarr.

    Parameters
    ----------
    layout, squeeze, check
        As in `to_kerchunk`.
    stored_order : bool
        Whether the image's axes have the order of the bytes, ``(T, P, Z, Y, X, C, S)``. Otherwise they are those of
        the engine, ``(T, P, Z, C, Y, X, S)``, through the codec ``transpose``, which kerchunk does not
        have, and VirtualiZarr does not concatenate them along a new axis.
    inline_coords : bool
        Whether coordinates, of any size, are included.

    Examples
    --------
    >>> registry = ObjectStoreRegistry({"s3://bucket": store})  # doctest: +SKIP
    >>> xr.open_zarr(ND2Parser()("s3://bucket/a.nd2", registry), consolidated=False)  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        layout: LayoutName = "flat",
        stored_order: bool = True,
        inline_coords: bool = True,
        squeeze: bool = True,
        check: bool = True,
    ) -> None:
        self.stored_order = stored_order
        limit = 1 << 62 if inline_coords else False
        self.options: LayoutOptions = LayoutOptions(None, layout, limit, squeeze, check)

    def __call__(self, url: str, registry: Any) -> ManifestStore:
        """Describe a file as a ``virtualizarr.manifests.ManifestStore``.

        Parameters
        ----------
        url : str
            URL of the file, with its scheme: ``file:///...``, ``s3://...``, ``https://...``.
        registry : obspec_utils.registry.ObjectStoreRegistry
            Stores, by the prefix of the URLs that they serve.

        Raises
        ------
        OSError
            If the file cannot be opened, or is not ND2.
        ValueError
            If it is damaged, or its frames' bytes are not those of any Zarr chunk; if its name has ``?``,
            ``#``, a control character or ``%`` with two hexadecimal digits.
        """
        # Stores do not decode paths: one with %20 would be another file.
        plain = unquote(url) if url.startswith("file:") else url
        _check_name(plain)
        options = replace(self.options, url=plain)
        with open_reader(open_from_registry(url, registry)) as reader:
            groups = describe(reader, options, stored_order=self.stored_order)
            identity = repr(reader.source.identity).encode()
        place = f"memory://nd2-{hashlib.sha256(identity).hexdigest()}/{options.layout}"
        small: dict[str, bytes] = {}
        members = {group.path: _Group(group, place, small) for group in groups[1:]}
        root = _Group(groups[0], place, small, members)
        return ManifestStore(root, registry=_Registry(registry, small) if small else registry)


def _check_name(url: str) -> None:
    """Refuse a URL that readers of virtual stores parse into that of another file."""
    web = url.startswith(("http://", "https://"))
    odd = r"[?#\x00-\x1f]" if web else r"[?#\x00-\x1f]|%[0-9A-Fa-f]{2}"
    match = re.search(odd, url)
    if match is not None:
        raise ValueError(
            f"readers of virtual stores find no file whose name has {match[0]!r}: {url!r}; rename it, "
            "or use write_kerchunk"
        )


class _Group(ManifestGroup):
    """A group that gives its coordinates as variables in memory when it becomes a virtual dataset.

    Writers keep data in memory; a reference to a coordinate would have no file.
    """

    def __init__(
        self, group: ZarrGroup, place: str, small: dict[str, bytes], members: Mapping[str, _Group] | None = None
    ) -> None:
        self._coords: dict[str, xr.Variable] = {}
        arrays = {}
        for path, array in group.items:
            name = path.rpartition("/")[2]
            if isinstance(array.data, ByteRanges):
                ranges = array.data
                manifest = _manifest(ranges.urls[0], ranges.offsets, ranges.lengths)
            else:
                values = np.asarray(array.data)
                manifest = _small_manifest(f"{place}/{path}", array.grid, V3.encode(values), small)
                self._coords[name] = xr.Variable(array.dims, values, array.attrs)
            metadata = ArrayV3Metadata.from_dict(V3.array_document(array))
            arrays[name] = ManifestArray(metadata=metadata, chunkmanifest=manifest)
        super().__init__(arrays=arrays, groups=members, attributes=group.attrs)

    def to_virtual_dataset(self) -> xr.Dataset:
        """Return the image as a virtual variable, and the coordinates in memory."""
        virtual = {name: array.to_virtual_variable() for name, array in self.arrays.items() if name not in self._coords}
        return xr.Dataset(virtual, coords=self._coords, attrs=self.metadata.attributes)


class _Registry(ObjectStoreRegistry[Any]):
    """A registry, and the small chunks of one file. Unlike a store in memory, it can be pickled."""

    def __init__(self, registry: Any, contents: Mapping[str, bytes]) -> None:
        from obstore.store import MemoryStore

        self._registry, self._contents = registry, contents
        self._store = MemoryStore()
        for url, data in contents.items():
            self._store.put(urlparse(url).path, data)

    @property
    def map(self) -> Any:  # type: ignore[override]
        return self._registry.map

    def resolve(self, url: str) -> tuple[Any, str]:
        if url in self._contents:
            return self._store, urlparse(url).path
        store, path = self._registry.resolve(url)
        return store, path

    def __reduce__(self) -> tuple[Any, ...]:
        return _Registry, (self._registry, self._contents)


def _small_manifest(url: str, grid: tuple[int, ...], data: bytes, small: dict[str, bytes]) -> ChunkManifest:
    """Return the manifest of one chunk that is not in the file; ``small`` keeps it if manifests cannot."""
    lengths = np.full(grid, len(data), np.uint64)
    if _INLINES:
        return _manifest("__inlined__", np.zeros_like(lengths), lengths, inlined={(0,) * len(grid): data})
    small[url] = data
    return _manifest(url, np.zeros_like(lengths), lengths)


def _manifest(url: str, offsets: NDArray[np.uint64], lengths: NDArray[np.uint64], **options: Any) -> ChunkManifest:
    paths = np.full(lengths.shape, url, np.dtypes.StringDType())
    paths[lengths == 0] = ""
    return ChunkManifest.from_arrays(
        paths=paths,
        offsets=np.asarray(offsets, order="C"),
        lengths=np.asarray(lengths, order="C"),
        validate_paths=False,
        **options,
    )


class _ObstoreFile(AsyncFileSystem):  # type: ignore[misc]
    """A file system of one file."""

    cachable = False
    protocol = "obstore"

    def __init__(self, store: Any, url: str, **options: Any) -> None:
        super().__init__(**options)
        self.store, self.url = store, url

    def unstrip_protocol(self, name: str) -> str:
        return self.url

    def nd2_transport(self, path: str) -> _ObstoreTransport | None:
        """Return what makes requests to stores of obstore; other stores have no such answers."""
        return _ObstoreTransport(self, path) if type(self.store).__module__.partition(".")[0] == "obstore" else None

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        meta = await self.store.head_async(path)
        modified = meta["last_modified"]
        return {
            "name": path,
            "type": "file",
            "size": meta["size"],
            "ETag": meta["e_tag"],
            "mtime": None if modified is None else modified.isoformat(),
        }

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        size = (await self._info(path))["size"] if end is None else end
        first = start or 0
        return bytes(await self.store.get_range_async(path, start=first, end=max(size, first)))


class _ObstoreTransport(RangeTransport):
    """Requests to stores of obstore, whose answers contain the length and the version of the file."""

    @asynccontextmanager
    async def _request(self, start: int, stop: int) -> AsyncIterator[Answer]:
        wanted = (start, stop) if start >= 0 else {"suffix": -start}
        result = await self.fs.store.get_async(self.path, options={"range": wanted})
        start, stop = result.range
        meta = result.meta
        version = normal_version(meta["e_tag"] or meta["last_modified"].isoformat())
        yield Answer(start, stop, meta["size"], version, True, _chunks(result))


async def _chunks(result: Any) -> AsyncIterator[bytes]:
    async for chunk in result.stream(min_chunk_size=_READ):
        yield bytes(chunk)


def open_from_registry(url: str, registry: Any) -> ByteSource:
    """Open the file that a URL names, by the store that a VirtualiZarr registry has for it."""
    store, path = registry.resolve(url)
    if type(store).__name__ == "LocalStore":
        return open_source(unquote(urlparse(url).path))
    return FsspecSource(_ObstoreFile(store, url), path)
