"""``.nd2`` of datasets and arrays: exports, pictures, positions by name, and the file behind a dataset."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
import xarray as xr

from nd2._core import errors
from xarray_nd2 import pictures

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Unpack

    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike
    from ome_types import OME

    from nd2._core.file import ND2File
    from nd2._core.write.plan import WriterOptions

_Labeled = TypeVar("_Labeled", xr.Dataset, xr.DataArray)


class _Accessor(Generic[_Labeled]):
    """Base of both accessors. Arrays are images: axes Y and X, and others of T, P, Z, C, S."""

    def __init__(self, labeled: _Labeled) -> None:
        self._labeled: Any = labeled

    @property
    def _image(self) -> xr.DataArray:
        image: xr.DataArray = self._labeled
        return image

    def __repr__(self) -> str:
        return f"<nd2: {pictures.as_text(self._image)}>" if self._has_image else "<nd2: no image>"

    def _repr_html_(self) -> str:
        source = str(self._labeled.attrs.get("source", "")).rpartition("/")[2]
        return pictures.as_html(self._image, source) if self._has_image else escape(repr(self))

    @property
    def _has_image(self) -> bool:
        return not isinstance(self._labeled, xr.Dataset) or "image" in self._labeled

    def sel_position(self, name: str) -> _Labeled:
        """Select the position of a name; of several of that name, the first.

        Parameters
        ----------
        name : str
            Name of the position in the file.

        Raises
        ------
        ValueError
            If there is no position of that name.
        """
        names = self._labeled.coords.get("position_name")
        known = [] if names is None else np.atleast_1d(names.values).tolist()
        if names is None or name not in known:
            raise errors.no_such("position", name, known)
        selected: _Labeled = self._labeled.isel({dim: known.index(name) for dim in names.dims})
        return selected

    def index_positions(self) -> _Labeled:
        """Return the same with the names of positions as labels of the axis P: ``sel(P="B3")``.

        Raises
        ------
        ValueError
            If positions have no names, or there is no axis of positions.
        """
        names = self._labeled.coords.get("position_name")
        if names is None or len(names.dims) != 1:
            raise ValueError("there is no axis of positions with names")
        (dim,) = names.dims
        labels = xr.Variable(dim, names.data, {"long_name": "position name"})
        named: _Labeled = self._labeled.drop_vars("position_name").assign_coords({dim: labels})
        return named

    def write_nd2(self, dest: str | os.PathLike[str], **options: Unpack[WriterOptions]) -> None:
        """Write an ND2 file, block by block; the same as `nd2.imwrite`, which describes it.

        Parameters
        ----------
        dest : str or os.PathLike
            The file to write; it takes its name when it is complete.
        **options
            See `nd2.imwrite`: ``overwrite``, ``compression``, and what replaces coordinates and attributes.

        Raises
        ------
        TypeError
            If ND2 files cannot hold this dtype; the message suggests one that fits.
        ValueError
            If axes are unknown, or labels contradict each other. No file is left.
        FileExistsError
            If ``dest`` exists, and ``overwrite`` is not given or the array reads it.
        """
        from nd2._core.write.arrays import imwrite

        imwrite(dest, self._labeled, **options)

    def write_tiff(
        self,
        dest: str | os.PathLike[str],
        *,
        compression: Literal["zlib", "lzw", "zstd"] | None = None,
        levels: int | Literal["auto"] = 1,
        overwrite: bool = False,
        progress: bool = False,
        modify_ome: Callable[[OME], None] | None = None,
        **options: Any,
    ) -> None:
        """Write TIFF: OME-TIFF, an ImageJ hyperstack or BigTIFF, as `nd2.ND2File.write_tiff` does.

        Lazy arrays are computed block by block, and each block once. Coordinates and attributes have
        the same meaning as for `nd2.imwrite`.

        Parameters
        ----------
        dest : str or os.PathLike
            The TIFF file; it takes its name when it is complete. A name with ``.ome.`` in it makes an OME-TIFF.
        overwrite : bool
            Whether to replace a file that exists.
        compression, levels, progress, modify_ome
            See `nd2.ND2File.write_tiff`.
        **options
            Options of `nd2.ND2Writer` for the metadata; they override coordinates and attributes.

        Raises
        ------
        ImportError
            If tifffile is not installed.
        TypeError
            If pixels are not numbers that the format has, or there is no such option.
        ValueError
            If axes are unknown, labels contradict each other, or the suffix of ``dest`` belongs to
            another format; ``dest`` stays unchanged.
        FileExistsError
            If ``dest`` exists, and is not to be overwritten, is an ND2 file, or the array reads it.
        """
        from nd2._core.export.tiff import write_tiff
        from xarray_nd2.exports import export_reader

        reader, facts = export_reader(self._labeled, dest, "TIFF", options, overwrite=overwrite)
        write_tiff(
            reader, facts, dest, compression=compression, levels=levels, progress=progress, modify_ome=modify_ome
        )

    def write_ome_zarr(
        self,
        dest: str | os.PathLike[str],
        *,
        chunk_shape: tuple[int, ...] | Literal["auto"] | None = "auto",
        shard_shape: tuple[int, ...] | None = None,
        backend: Literal["auto", "zarr", "tensorstore"] = "auto",
        progress: bool = False,
        force_series: bool = False,
        overwrite: bool = False,
        levels: int | Literal["auto"] = 1,
        storage_options: Mapping[str, Any] | None = None,
        client: Any = None,
        **options: Any,
    ) -> Path | str:
        """Write OME-Zarr, as `nd2.ND2File.write_ome_zarr` does.

        Lazy arrays are computed block by block; a block has at least one whole frame (Y, X and all
        channels). The default chunks are such that each block is computed once. Chunks that span many
        blocks may need some blocks again.

        Parameters
        ----------
        dest : str or os.PathLike
            A folder, or a URL that fsspec supports.
        chunk_shape, shard_shape, backend, progress, force_series, overwrite, levels, storage_options, client
            See `nd2.ND2File.write_ome_zarr`.
        **options
            Options of `nd2.ND2Writer` for the metadata; they override coordinates and attributes.

        Returns
        -------
        pathlib.Path or str
            Where it was written.

        Raises
        ------
        TypeError
            If pixels are not real numbers.
        ValueError
            If axes are unknown, labels contradict each other, or an option is wrong.
        FileExistsError
            If ``dest`` exists, and is not to be overwritten or the array reads it.
        """
        from nd2._core.export.ome_zarr import write_ome_zarr
        from nd2._core.write.virtual import array_reader
        from xarray_nd2.exports import export_chunks, export_reader

        reader, facts = export_reader(self._labeled, dest, "OME-Zarr", options, storage_options, overwrite=overwrite)
        if chunk_shape == "auto" and shard_shape is None and self._image.chunks is not None:
            chunk_shape = export_chunks(reader, facts, self._image.variable.chunksizes)
        return write_ome_zarr(
            reader,
            facts,
            dest,
            chunk_shape=chunk_shape,
            shard_shape=shard_shape,
            backend=backend,
            progress=progress,
            position=None,
            force_series=force_series,
            include_labels=True,
            overwrite=overwrite,
            levels=levels,
            storage_options=storage_options,
            client=client,
            reopen=partial(array_reader, self._labeled, None, **options),
        )

    def rgb(self, channels: int | str | Sequence[int | str] | None = None, **indexers: int | str) -> xr.DataArray:
        """Return one picture in color, 8 bits per sample: each channel in its own color, stretched.

        Parameters
        ----------
        channels : int, str, or sequence of these, optional
            Indices or names of the channels to show. By default all but those in bright field,
            which would cover the others; all if every channel is bright field.
        **indexers : int
            Index on the axes of the frames (``T=3, Z=0``); by default the first time and position, the middle plane.

        Returns
        -------
        xarray.DataArray
            Axes Y, X, S (red, green, blue), uint8. Each channel is stretched from its 0.1 to its
            99.9 percentile.

        Raises
        ------
        ValueError
            If there is no channel of that name, or no such axis.
        IndexError
            If there is no channel of that index.
        """
        return pictures.composite(pictures.one_frame(self._image, indexers, channels), channels)

    def plot(self, channels: int | str | Sequence[int | str] | None = None, **indexers: int | str) -> Figure:
        """Draw one frame: each channel, and the composite, with a scale bar.

        The first row is at the top, as in every viewer. ``ds.image.plot.imshow()`` draws it at the
        bottom, because Y grows upward in plots of xarray; ``yincrease=False`` turns it around.

        Parameters
        ----------
        channels : int, str, or sequence of these, optional
            Indices or names of the channels to show; by default all, and in the composite all but
            those in bright field.
        **indexers
            See `rgb`.

        Returns
        -------
        matplotlib.figure.Figure
            A notebook shows it as the value of a cell; ``savefig`` writes it.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return pictures.figure(pictures.one_frame(self._image, indexers, channels), channels)

    def thumbnail(
        self, size: int = 256, channels: int | str | Sequence[int | str] | None = None, **indexers: int | str
    ) -> Figure:
        """Draw one frame small: the composite alone, with a scale bar.

        Parameters
        ----------
        size : int
            Length of the longer side in pixels.
        channels, **indexers
            See `rgb`.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return pictures.thumbnail(pictures.one_frame(self._image, indexers, channels), size, channels)

    def plate(
        self, channels: int | str | Sequence[int | str] | None = None, *, size: int = 128, **indexers: int
    ) -> Figure:
        """Draw an overview of a plate: each position in its well, by its name.

        All wells have the same range of values. Several fields of a well are side by side. Only some
        rows and columns are read.

        Parameters
        ----------
        channels, **indexers
            See `rgb`.
        size : int
            Pixels of the longer side of a well, at most.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If positions do not have names of wells (``B02``, ``B02_0005``).
        """
        return pictures.plate(self._image, indexers, channels, size)

    def mosaic(self, *, pixel_to_stage: ArrayLike | None = None) -> xr.DataArray:
        """Place the fields of the axis P by their stage positions, as one large lazy image.

        Pixels of a selection are read when you access their values. The array has no blocks:
        ``.chunk({"Y": 2048, "X": 2048})`` makes it a dask array.

        Parameters
        ----------
        pixel_to_stage : array-like, shape (2, 2), optional
            Shift on the stage in micrometers, ``[[x, x], [y, y]]``, of one pixel to the right (first
            column) and one down (second column). By default that of the file's metadata; without it,
            the stage moves along the axes of the image.

        Returns
        -------
        xarray.DataArray
            Without P; Y and X in micrometers from the upper left corner. 0 outside of the fields.

        Raises
        ------
        ValueError
            If there is no axis P, the size of a pixel or the place of a field is unknown, or the
            fields are so far from each other that the axes have more than 16 million pixels.

        Notes
        -----
        Every pixel of the mosaic is the pixel of one field. Fields are neither rotated nor resampled:
        their places are rounded to whole pixels. Where fields overlap, the field with the higher
        index on P covers the others. The place of a field is that of its first frame.
        """
        from xarray_nd2.mosaic import mosaic

        return mosaic(self._image, self._labeled.attrs, pixel_to_stage)


@xr.register_dataset_accessor("nd2")  # type: ignore[no-untyped-call]
class ND2Accessor(_Accessor[xr.Dataset]):
    """The file behind a dataset of the engine ``"nd2"``, its events, its positions by name, pictures, and exports.

    Pictures and exports need only a variable ``image``; exports write ``labels_...`` as binary layers.
    """

    @property
    def _image(self) -> xr.DataArray:
        if "image" not in self._labeled:
            raise ValueError(
                "the dataset has no variable 'image': open an ND2 file with engine='nd2', or use the "
                "accessor of a variable, as in ds.image.nd2"
            )
        image: xr.DataArray = self._labeled["image"]
        return image

    def assign_file(self, dim: str = "T", name: str = "file") -> xr.Dataset:
        """Return the dataset with a coordinate that names its file at each step of an axis.

        It shows which file each step came from after several were joined: ``xr.open_mfdataset(paths, engine="nd2",
        combine="nested", concat_dim="T", preprocess=lambda ds: ds.nd2.assign_file("T"))``.

        Parameters
        ----------
        dim : str
            The axis. If the dataset does not have it, the coordinate is a single value.
        name : str
            Name of the coordinate. Its values are paths or URLs.

        Raises
        ------
        ValueError
            If the dataset does not have the path of its file.
        """
        dataset: xr.Dataset = self._labeled
        dims = (dim,) if dim in dataset.dims else ()
        values = np.full([dataset.sizes[one] for one in dims], self._source, object)
        return dataset.assign_coords({name: (dims, values, {"long_name": "file"})})

    @property
    def _source(self) -> str:
        """Path or URL of the file."""
        source = self._labeled.encoding.get("source") or self._labeled.attrs.get("source")
        if not source:
            raise ValueError("the dataset does not say which file it came from")
        return str(source)

    def file(self, *, storage_options: Mapping[str, Any] | None = None) -> ND2File:
        """Open the file that the dataset came from; the caller closes it.

        Parameters
        ----------
        storage_options : Mapping, optional
            Options for the file system of a URL; a dataset does not keep them, as they may hold credentials.

        Raises
        ------
        ValueError
            If the dataset does not have the path of its file (it was opened from a file object without a name).
        """
        from nd2._core.file import ND2File

        return ND2File(self._source, storage_options=storage_options)

    @property
    def events(self) -> pd.DataFrame:
        """Recorded data and events of the whole file, one row per frame and per event, as ``ND2File.events``.

        `read_events` takes options for the file system of a URL.
        """
        return self.read_events()

    def read_events(self, *, storage_options: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Read the recorded data and events of the whole file, one row per frame and per event.

        Parameters
        ----------
        storage_options : Mapping, optional
            See `file`.

        Raises
        ------
        ValueError
            If the dataset does not have the path of its file.
        OSError
            If the file cannot be opened.
        """
        import pandas as pd

        with self.file(storage_options=storage_options) as file:
            return pd.DataFrame(file.events(orient="list"))


@xr.register_dataarray_accessor("nd2")  # type: ignore[no-untyped-call]
class ND2ArrayAccessor(_Accessor[xr.DataArray]):
    """Pictures and exports of an image, in memory or lazy: ``ds.image.max("Z").nd2.write_tiff("max.ome.tif")``.

    Axes are Y and X, and others of T, P, Z, C, S, in any order.
    """
