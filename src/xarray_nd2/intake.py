"""Intake: ND2 files and references to them as entries of a catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nd2._core import errors
from nd2._core.io.listing import expand
from nd2._core.io.source import MAGIC_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from xarray_nd2._intake_types import BaseData, DataSource, FileData, FileReader
else:
    with errors.requirement("intake", "intake", "for catalogs"):
        from intake.readers.datatypes import BaseData, FileData
        from intake.readers.readers import FileReader
        from intake.source.base import DataSource


class ND2(FileData):
    """Nikon ND2 files, with the options of their file system: a path or URL, a pattern, or a list of these."""

    filepattern = r"\.nd2$"
    mimetypes = "image/x-nd2"
    structure: ClassVar[set[str]] = {"array", "image"}
    magic: ClassVar[set[Any]] = {(0, MAGIC_BYTES)}


class ND2References(FileData):
    """References to an ND2 file: a JSON file or a folder of Parquet tables, with the options of its file system."""

    filepattern = r"\.nd2\.(json|parq|parquet)$"
    structure: ClassVar[set[str]] = {"array", "image"}
    magic: ClassVar[set[Any]] = set()


class ND2Reader(FileReader):
    """Opens ND2 files with the engine ``"nd2"``; several as one, with ``xarray.open_mfdataset``.

    Further arguments are those of xarray and of the engine.
    """

    implements: ClassVar[set[type[BaseData]]] = {ND2}
    imports: ClassVar[set[str]] = {"xarray_nd2"}
    output_instance = "xarray:Dataset"
    func = "xarray:open_dataset"

    def _read(self, data: Any, **options: Any) -> xr.Dataset:
        import xarray as xr

        storage_options = options.pop("storage_options", None) or data.storage_options or None
        options |= {"engine": "nd2", "storage_options": storage_options}
        urls = [data.url] if isinstance(data.url, str) else data.url
        paths = [path for url in urls for path in expand(url, storage_options)]
        if len(paths) == 1:
            return xr.open_dataset(paths[0], **options)
        return xr.open_mfdataset(paths, **options)


class ND2ReferencesReader(FileReader):
    """Opens references with `xarray_nd2.open_references`; further arguments are those of that function."""

    implements: ClassVar[set[type[BaseData]]] = {ND2References}
    imports: ClassVar[set[str]] = {"xarray_nd2"}
    output_instance = "xarray:Dataset"
    func = "xarray_nd2:open_references"
    url_arg = "refs"
    storage_options = True


class ND2Source(DataSource):
    """The driver ``nd2`` of classic catalogs (``sources: ... driver: nd2``).

    Parameters
    ----------
    urlpath : str or list of str
        Path or URL of the file; a pattern, or a list, for several files as one dataset.
    storage_options : Mapping, optional
        Options for the file system of a URL.
    metadata : Mapping, optional
        Metadata of the entry in the catalog.
    **options
        Options of the engine.
    """

    name = "nd2"
    version = "1"
    container = "xarray"
    partition_access = False

    def __init__(
        self,
        urlpath: str | list[str],
        storage_options: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(storage_options=dict(storage_options or {}), metadata=metadata)
        self.urlpath: str | list[str] = urlpath
        self.options: dict[str, Any] = options

    def to_dask(self) -> xr.Dataset:
        """Return the dataset of the engine; give ``chunks={}`` in the catalog for dask arrays."""
        data = ND2(self.urlpath, storage_options=self.storage_options)
        dataset: xr.Dataset = ND2Reader(data).read(**self.options)
        return dataset

    read = to_dask

    def _close(self) -> None:
        """Do nothing: a dataset does not keep files open."""
