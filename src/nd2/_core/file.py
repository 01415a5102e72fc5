"""``ND2File``: one object for all that an ND2 file holds. It delegates: nothing is parsed or computed here."""

from __future__ import annotations

import math
import operator
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, SupportsInt, cast, overload

from nd2._core import errors
from nd2._core.compat import PrivateMembers
from nd2._core.open import is_supported_file, open_reader
from nd2._core.structures import Sizes
from nd2._core.values import cached_property

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO, Self

    import dask.array
    import numpy as np
    import xarray as xr
    from numpy.typing import DTypeLike, NDArray
    from ome_types import OME

    from nd2._core.frames.array import FrameArray
    from nd2._core.job_types import JobsDict
    from nd2._core.open import ReadOptions
    from nd2._core.readers import Reader
    from nd2._core.readers.reader import RescueReport
    from nd2._core.region_types import ROI
    from nd2._core.structures import Attributes, CustomField, ExpLoop, FrameMetadata, Metadata, TextInfo, VoxelSize
    from nd2._core.views.binary import BinaryLayers
    from nd2._core.views.facts import Facts
    from nd2._core.views.picture import Picture
    from nd2._core.write.writer import FileWriter


class ND2File(PrivateMembers):
    """An open ND2 file.

    Opening reads the file's signature. Everything else is read on access, and kept. Pixels are read by
    positional reads, so that one object serves any number of threads. Arrays made from it (dask,
    xarray) stay readable after it is closed.

    Parameters
    ----------
    path : str, os.PathLike, BinaryIO
        A local path, a URL that fsspec supports (``s3://``, ``https://``, ``memory://``, also chained ones), or
        an open binary file.
    validate_frames : bool
        Check that every frame and every other chunk is where the file's map says, and search for those that are not,
        for example after bytes were lost or inserted. Frames that are not found count as missing, with a warning.
        Opening then reads the header of every frame; the frame positions of a sidecar index are not used.
    search_window : int
        Distance in kilobytes (1000 bytes) from its stated position within which a chunk is searched.
    storage_options : Mapping, optional
        Options for the file system of a URL.
    index : str, os.PathLike or True, optional
        Path or URL of the file's sidecar index (see `save_index`), with which a remote file opens with one
        small read; True for the one next to the file.
    flat_frames : bool
        Put all frames of the file on one axis ``U``, in their order, and ignore the loops. This gives
        access to frames that no loop reaches, for example after a crash or an edit.
    rescue : bool
        Open what is left of a file that was cut short, or whose chunk map, start or attributes are lost: the file is
        scanned for frames and metadata. A warning and `rescued` report what is lost. An index is not used.
    dtype : DTypeLike, optional
        Type of the samples if ``rescue=True`` and the attributes are lost: ``"uint8"``, ``"uint16"`` or
        ``"float32"``. By default it is guessed from the metadata and the pixels.

    Raises
    ------
    OSError
        If the file cannot be opened, or is not ND2; if the index is missing or stale.

    Examples
    --------
    >>> with ND2File("experiment.nd2") as file:  # doctest: +SKIP
    ...     print(file.sizes)
    ...     frame = file.read_frame(0)
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        *,
        validate_frames: bool = False,
        search_window: int = 100,
        storage_options: Mapping[str, Any] | None = None,
        index: str | os.PathLike[str] | Literal[True] | None = None,
        flat_frames: bool = False,
        rescue: bool = False,
        dtype: DTypeLike | None = None,
    ) -> None:
        self._options: ReadOptions = {
            "flat_frames": flat_frames,
            "validate_frames": validate_frames,
            "search_window": search_window,
            "rescue": rescue,
            "dtype": dtype,
        }
        self._reader = open_reader(path, storage_options=storage_options, index=index, **self._options)

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        if "_reader" in self.__dict__ and self._reader.source.owns_handle and not self.closed:
            warn(errors.UNCLOSED.format(self.path), errors.UnclosedFileWarning, stacklevel=2)
            self.close()

    @staticmethod
    def is_supported_file(
        path: str | os.PathLike[str] | BinaryIO, *, storage_options: Mapping[str, Any] | None = None
    ) -> bool:
        """Return whether a file is ND2, by its first bytes; `storage_options` are for the file system of a URL."""
        return is_supported_file(path, storage_options=storage_options)

    @cached_property
    def _facts(self) -> Facts:
        """Facts of the file, determined once."""
        from nd2._core.views.facts import Facts

        return Facts(self._reader)

    @property
    def path(self) -> str:
        """Path or URL of the file; empty for a file object without a name."""
        return self._reader.source.url

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._reader.source.closed

    def open(self) -> None:
        """Open the file again after ``close``; does nothing if it is open."""
        if self.closed:
            options, reader = self._options, self._reopen()()
            self.__dict__.clear()
            self._options, self._reader = options, reader

    def close(self) -> None:
        """Close the file; may be called twice. Data that were read before stay available."""
        self._reader.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"open": self._reopen(), "closed": self.closed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._options, self._reader = state["open"].keywords, state["open"]()
        if state["closed"]:
            self.close()

    def _reopen(self) -> partial[Reader]:
        """Return a function that opens the file, also in other processes."""
        source, index = self._reader.source.reopen(), self._reader.index
        return partial(open_reader, source, index, **self._options)

    def _check_open(self) -> None:
        if self.closed:
            raise errors.closed(self.path)

    # Attributes that a debugger or a notebook reads must also exist for a damaged file, and for one that failed to
    # open.

    def __repr__(self) -> str:
        name = f"{type(self).__name__} at {id(self):#x}"
        try:
            from nd2._core.io.urls import file_name

            name += f": {file_name(self.path)!r}"
            if self.closed:
                return f"<{name} (closed)>"
            return f"<{name} {self.dtype}: {dict(self.sizes)}>"
        except Exception as error:
            return f"<{name} ({type(error).__name__})>"

    def _repr_html_(self) -> str:
        from html import escape

        from nd2._core.views.summary import file_table

        try:
            if not self.closed:
                return file_table(self._reader, self._facts)
        except Exception as error:
            return f"<pre>{escape(repr(self))}\n{escape(str(error))}</pre>"
        return f"<pre>{escape(repr(self))}</pre>"

    @property
    def version(self) -> tuple[int, ...]:
        """Format version: ``(3, 0)``, ``(2, 0)``, ``(2, 1)``, or ``(1, 0)`` for legacy files."""
        return self._reader.version

    @property
    def is_legacy(self) -> bool:
        """Whether the file is a legacy (JPEG 2000) file."""
        return self.version[0] == 1

    @property
    def attributes(self) -> Attributes:
        """Pixel geometry and number of frames."""
        return self._reader.attributes

    @property
    def experiment(self) -> list[ExpLoop]:
        """The loops of the acquisition, outermost first; empty if the file has no loops."""
        return self._reader.experiment

    @property
    def metadata(self) -> Metadata | dict[str, Any]:
        """Channels, optics and calibration (a dict for legacy files)."""
        return self._reader.metadata

    @property
    def text_info(self) -> TextInfo:
        """Free text that the microscope's software wrote; empty items are omitted."""
        return self._reader.text_info

    @property
    def rescued(self) -> RescueReport | None:
        """Data that were found and lost in a file opened with ``rescue=True``; otherwise None."""
        return self._reader.rescue_report

    def voxel_size(self, channel: int = 0) -> VoxelSize:
        """Return the size of a voxel, ``(x, y, z)`` in micrometers; 1.0 if the file has no calibration.

        ``channel`` has no effect: all channels of a file share their calibration.
        """
        return self._reader.voxel_size

    def frame_metadata(self, seq_index: int | tuple[int, ...]) -> FrameMetadata | dict[str, Any]:
        """Return the metadata of one frame.

        Parameters
        ----------
        seq_index : int or tuple of int
            Sequence index of the frame, or its index on each loop of ``experiment``.

        Returns
        -------
        FrameMetadata
            The file's metadata, with the recorded time of the frame, the position of the stage with the z of
            the frame's own plane, and offset and status of the focus system (None if not recorded). A dict
            for legacy files.

        Raises
        ------
        IndexError
            If there is no such frame.
        """
        if isinstance(seq_index, tuple):
            seq_index = self._reader.layout.grid.frame(seq_index)
        try:
            frame = operator.index(seq_index)
        except TypeError:
            raise errors.not_integer("frame index", seq_index, "or a tuple") from None
        return self._reader.frame_metadata(frame)

    @overload
    def events(self, *, orient: Literal["records"] = ..., null_value: Any = ...) -> list[dict[str, Any]]: ...

    @overload
    def events(self, *, orient: Literal["list"], null_value: Any = ...) -> dict[str, list[Any] | NDArray[Any]]: ...

    @overload
    def events(self, *, orient: Literal["dict"], null_value: Any = ...) -> dict[str, dict[int, Any]]: ...

    def events(
        self, *, orient: Literal["records", "list", "dict"] = "records", null_value: Any = float("nan")
    ) -> list[dict[str, Any]] | dict[str, Any]:
        """Return the table of recorded data: one row per frame, and one per event of the experiment.

        Parameters
        ----------
        orient : {"records", "list", "dict"}
            ``records``: a list of rows, each a dict of its cells. ``list``: a dict of columns. ``dict``: a
            dict of columns, each a dict from row number to value. ``pandas.DataFrame`` takes all three.
        null_value : object
            Value of missing cells in ``list`` and ``dict``.

        Returns
        -------
        list or dict
            Columns have the names that NIS-Elements shows, with their unit: ``Time [s]``, ``Index``, the
            index on each loop, ``Position Name``, ``Z-Series`` (micrometers from the home plane), the columns
            of the devices, and ``Events``. Rows are in file order, with events sorted in by their
            time. In ``list``, columns of numbers without missing cells are arrays.
        """
        from nd2._core.views.events import events

        return events(self._reader, self._facts, orient, null_value)

    @property
    def rois(self) -> dict[int, ROI]:
        """Regions of interest by their identifier; empty if the file has none.

        Coordinates are those of the file: normalized, with the image's center at (0, 0) (unverified on
        real files).
        """
        return self._reader.rois

    @cached_property
    def binary_data(self) -> BinaryLayers | None:
        """Binary layers of the file, a sequence of `BinaryLayer`; None if the file has none.

        Masks are read on access: ``file.binary_data[0][12]`` reads one.
        """
        from nd2._core.views.binary import binary_layers

        return binary_layers(self._reader)

    def jobs(self) -> JobsDict | None:
        """Return the job that acquired the file, a dict of the type `nd2.jobs.types.JobsDict`; None without a job."""
        return cast("JobsDict | None", self._reader.jobs)

    @property
    def custom_metadata(self) -> list[CustomField]:
        """Fields of the form that the user filled in at acquisition, in the order of the form; names may repeat."""
        return self._reader.custom_metadata

    @property
    def custom_data(self) -> dict[str, Any]:
        """Settings that NIS-Elements keeps in the file (cameras, look-up tables, viewer ...), by their tag."""
        return self._reader.custom_data

    def unstructured_metadata(
        self, *, strip_prefix: bool = True, include: set[str] | None = None, exclude: set[str] | None = None
    ) -> dict[str, Any]:
        """Return the decoded content of the metadata chunks.

        Parameters
        ----------
        strip_prefix : bool
            Whether the type prefix is removed from names: ``uiModeFQ`` becomes ``ModeFQ``.
        include : set of str, optional
            Names of the only chunks to take, such as ``{"ImageMetadataLV"}``. Custom chunks, which are left out by
            default, can be named (``{"CustomData|GUIDStore"}``). Names that the file does not have cause a warning.
        exclude : set of str, optional
            Names of chunks to leave out.

        Returns
        -------
        dict
            Name of the chunk -> nested dict; bytes if a chunk cannot be decoded. Empty for legacy files.
        """
        return self._reader.unstructured_metadata(strip_prefix=strip_prefix, include=include, exclude=exclude)

    @property
    def sizes(self) -> Mapping[str, int]:
        """Name and size of each axis longer than 1, in the order of the array's axes; read-only."""
        return Sizes(self._reader.layout.sizes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return tuple(self.sizes.values())

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.sizes)

    @property
    def size(self) -> int:
        """Number of samples: the product of ``shape``."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes of the whole image in memory."""
        return self.size * self.dtype.itemsize

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a sample: ``uint8``, ``uint16`` or ``float32``."""
        return self._reader.dtype

    @property
    def components_per_channel(self) -> int:
        """Number of components of a channel: 1, or 3 for color."""
        return self._reader.attributes.componentCount // (self._reader.attributes.channelCount or 1)

    @property
    def is_rgb(self) -> bool:
        """Whether the image is in color: 3 or 4 components in a channel."""
        return self.components_per_channel in (3, 4)

    @property
    def loop_indices(self) -> tuple[dict[str, int], ...]:
        """Index on each loop, for each frame: ``({"T": 0, "Z": 0}, {"T": 0, "Z": 1}, ...)``."""
        return self._reader.layout.loop_indices

    def read_frame(self, frame_index: SupportsInt) -> NDArray[Any]:
        """Read one frame.

        Parameters
        ----------
        frame_index : int
            Sequence index of the frame, from 0. Frames beyond the loops can be read as well.

        Returns
        -------
        ndarray, shape (C, Y, X, S) without the axes of size 1
            Zeros if the frame is missing from the file.

        Raises
        ------
        IndexError
            If there is no such frame.
        ValueError
            If the frame is damaged.
        """
        try:
            index = int(frame_index)
        except (TypeError, ValueError):
            raise errors.not_integer("frame index", frame_index) from None
        count = self._reader.frame_count
        if not 0 <= index < count:
            raise errors.frame_range(index, count, path=self.path)
        self._check_open()
        return self._reader.frames.frame(index).squeeze()

    @cached_property
    def _array(self) -> FrameArray:
        from nd2._core.frames.array import FrameArray

        return FrameArray.from_layout(self._reader.frames, self._reader.layout, tuple(self.sizes))

    def _at_position(self, position: int | str | None) -> tuple[FrameArray, int | None]:
        """Return the array of one position (all, if None or if the file has no positions), and its index."""
        array, index = self._array, self._position_index(position)
        if index is not None and self._reader.layout.sizes.get("P"):
            array = array.fix("P", index)
        return array, index

    def _position_index(self, position: int | str | None) -> int | None:
        return None if position is None else self._facts.position_index(position)

    def asarray(self, position: int | str | None = None, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read the image, or one position of it.

        Parameters
        ----------
        position : int or str, optional
            Index or name of the only position to read; its axis stays, with size 1.
        out : ndarray, optional
            C-contiguous array of the result's shape and dtype to read into.

        Returns
        -------
        ndarray, shape ``self.shape``
            C-contiguous; frames that are missing from the file are zero.

        Raises
        ------
        ValueError
            If there is no position of that name, a frame is damaged, or ``out`` does not fit.
        IndexError
            If there is no position of that index.
        """
        self._check_open()
        array, _ = self._at_position(position)
        return array.read((slice(None),) * array.ndim, out)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        self._check_open()
        return self._array.__array__(dtype, copy)

    def to_dask(self, wrapper: bool = True, copy: bool = True, *, chunks: Any = None) -> dask.array.Array:
        """Return a dask array that reads the pixels on computation; the file may be closed before.

        Parameters
        ----------
        wrapper : bool
            Whether the array is a ``ResourceBackedDaskArray``, as in nd2 0.12.0, if the package
            ``resource-backed-dask-array`` is installed. In any case it needs no open file.
        copy : bool
            Accepted for compatibility; the array never shares memory with the file.
        chunks : optional
            Chunks as dask takes them; ``"auto"`` groups frames. By default one block per frame.

        Returns
        -------
        dask.array.Array, shape ``self.shape``
        """
        from nd2._core.views.dask import to_dask

        return to_dask(self._independent(self._array), chunks, wrapped=wrapper)

    def to_xarray(
        self, delayed: bool = True, squeeze: bool = True, position: int | str | None = None, copy: bool = True
    ) -> xr.DataArray:
        """Return a labeled array.

        Parameters
        ----------
        delayed : bool
            Whether the pixels are a dask array, read on computation; otherwise they are read now.
        squeeze : bool
            Whether axes of size 1 are dropped.
        position : int or str, optional
            Index or name of the only position to take.
        copy : bool
            Accepted for compatibility; the array never shares memory with the file.

        Returns
        -------
        xarray.DataArray
            T in milliseconds, Z, Y and X in micrometers, names on P, C and S. ``attrs["metadata"]`` holds the metadata
            of the file. For recorded times and units use ``xarray.open_dataset(path, engine="nd2")``.
        """
        from nd2._core.views.dask import to_dask
        from nd2._core.views.xarray import to_xarray

        array, index = self._at_position(position)
        data = to_dask(self._independent(array)) if delayed else self.asarray(position)
        return to_xarray(data, self._reader, self._facts, array.dims, squeeze=squeeze, position=index)

    def _independent(self, array: FrameArray) -> FrameArray:
        """Return the same array with a separate source, which stays open when this file is closed."""
        return array.with_source(self._reader.source.reopen())

    def thumbnail(
        self,
        frames: int | Sequence[int] | None = None,
        *,
        tiles: int = 1,
        channels: int | str | Sequence[int | str] | None = None,
        split: bool = False,
        size: int | None = 256,
        annotated: bool = False,
    ) -> Picture:
        """Return a small picture of the image, each channel in its color and stretched, like ``nd2 show``.

        Only the rows that the picture shows are read from uncompressed frames.

        Parameters
        ----------
        frames : int or sequence of int, optional
            Sequence indices of the frames to show. By default the middle plane of the first stack, or with
            `tiles` some that are spread evenly.
        tiles : int
            Maximum number of frames shown side by side, if `frames` is not given.
        channels : int, str, or sequence of them, optional
            Indices or names of the channels to show. By default all, but in composites none in bright field,
            which would cover the others.
        split : bool
            Whether each channel gets its own tile.
        size : int, optional
            Length of the longer side of the picture in pixels; that of several tiles may be a few pixels less.
            None enlarges small images and reduces large ones.
        annotated : bool
            Whether to draw a scale bar, the names of the channels, and the place of each frame in the loops.

        Returns
        -------
        Picture
            Shown by a notebook. ``pixels`` is the array, shape (height, width, 3), uint8; ``png()`` returns
            the bytes of a PNG file.

        Raises
        ------
        ImportError
            If `annotated`, and Pillow is not installed.
        IndexError
            If there is no such frame, or no channel of that index.
        ValueError
            If there is no channel of that name, a frame is damaged, or `tiles` or `size` is less than 1.
        """
        from nd2._core.views.picture import picture

        self._check_open()
        if isinstance(frames, int):
            frames = [frames]
        if isinstance(channels, (int, str)):
            channels = [channels]
        return picture(
            self._reader, self._facts, frames, tiles, split=split, size=size, channels=channels, annotated=annotated
        )

    def ome_metadata(self, *, include_unstructured: bool = True, tiff_file_name: str | None = None) -> OME:
        """Return the metadata of the file in the OME model.

        Parameters
        ----------
        include_unstructured : bool
            Whether all metadata chunks are added as an annotation: name of the chunk -> content as JSON.
        tiff_file_name : str, optional
            Name of the TIFF file that holds the planes; adds a ``TiffData`` block for each.

        Returns
        -------
        ome_types.OME
            One image per position. Times are milliseconds since the first frame.
        """
        from ome_types import from_xml

        from nd2._core.export.ome import ome_xml

        return from_xml(
            ome_xml(self._reader, self._facts, include_unstructured=include_unstructured, tiff_file_name=tiff_file_name)
        )

    def write_tiff(
        self,
        dest: str | os.PathLike[str],
        *,
        include_unstructured_metadata: bool = True,
        progress: bool = False,
        on_frame: Callable[[int, int, dict[str, int]], None] | None = None,
        modify_ome: Callable[[OME], None] | None = None,
        position: int | str | None = None,
        compression: Literal["zlib", "lzw", "zstd"] | None = None,
        levels: int | Literal["auto"] = 1,
    ) -> None:
        """Write the image as TIFF, one series per position; the complete file replaces ``dest``.

        A name with ``.ome.`` in it makes an OME-TIFF. Any other name makes an ImageJ hyperstack if that format can hold
        the image (one position, less than 4 GB, its types), otherwise a BigTIFF with named axes. Color is written red,
        green, blue. Frames are read once, in the order of the file, a few at a time.

        Parameters
        ----------
        dest : str, os.PathLike
            The TIFF file.
        include_unstructured_metadata : bool
            Whether all metadata chunks go into the OME-XML.
        progress : bool
            Whether to show a progress bar.
        on_frame : callable, optional
            Called after each frame with its number (from 0), the number of frames, and its index on each loop.
        modify_ome : callable, optional
            Changes the OME metadata before it is written.
        position : int or str, optional
            Index or name of the only position to write.
        compression : {"zlib", "lzw", "zstd"}, optional
            Lossless compression of the pages; all but ``"zlib"`` need imagecodecs. A compressed file
            without ``.ome.`` in its name is a BigTIFF with named axes, not an ImageJ hyperstack.
        levels : int or "auto"
            Levels of a pyramid, each half as large as the one before; OME-TIFF only. ``"auto"`` adds
            levels until the longer side has at most 256 pixels.

        Raises
        ------
        ImportError
            If tifffile is not installed.
        FileExistsError
            If ``dest`` is an ND2 file, which no export replaces.
        ValueError
            If a frame is damaged, or the suffix of ``dest`` belongs to another format; ``dest`` stays unchanged.
        """
        from nd2._core.export.tiff import write_tiff

        self._check_open()
        write_tiff(
            self._reader,
            self._facts,
            dest,
            include_unstructured_metadata=include_unstructured_metadata,
            progress=progress,
            on_frame=on_frame,
            modify_ome=modify_ome,
            position=self._position_index(position),
            compression=compression,
            levels=levels,
        )

    def write_ome_zarr(
        self,
        dest: str | os.PathLike[str],
        *,
        chunk_shape: tuple[int, ...] | Literal["auto"] | None = "auto",
        shard_shape: tuple[int, ...] | None = None,
        backend: Literal["auto", "zarr", "tensorstore"] = "auto",
        progress: bool = False,
        position: int | str | None = None,
        force_series: bool = False,
        include_all_metadata: bool = True,
        include_labels: bool = True,
        version: Literal["0.5"] = "0.5",
        overwrite: bool = False,
        levels: int | Literal["auto"] = 1,
        storage_options: Mapping[str, Any] | None = None,
        client: Any = None,
    ) -> Path | str:
        """Write the image as OME-Zarr (OME-NGFF 0.5, Zarr 3).

        Frames are read once, in blocks that fill whole chunks (or shards), and compressed on all cores. A folder gets
        its name when it is complete; at a URL, the document that makes it a Zarr group is written last.

        Parameters
        ----------
        dest : str, os.PathLike
            A folder, or a URL that fsspec supports.
        chunk_shape : tuple of int, "auto" or None
            Shape of a chunk on the axes that the image has of t, c, z, y, x (those longer than 1, and y and
            x). ``"auto"`` makes chunks of about 4 MB; None makes one chunk.
        shard_shape : tuple of int, optional
            Shape of a shard, a file that holds several chunks: a multiple of that of a chunk.
        backend : {"auto", "zarr", "tensorstore"}
            Library that writes the chunks; ``"auto"`` takes tensorstore for folders if it is installed.
        progress : bool
            Whether to show a progress bar.
        position : int or str, optional
            Index or name of the only position to write.
        force_series : bool
            Whether to write a series (``bioformats2raw.layout``) even for one position or a plate.
        include_all_metadata : bool
            Whether all metadata chunks are written into ``attributes.nd2`` of the root.
        include_labels : bool
            Whether binary layers are written as labels.
        version : {"0.5"}
            Version of OME-NGFF.
        overwrite : bool
            Whether to replace a Zarr group, or an empty folder, at ``dest`` when the new one is complete.
            Nothing else is replaced, and no folder that contains an ND2 file.
        levels : int or "auto"
            Number of levels of the pyramid, including full resolution; ``"auto"`` halves until 256 pixels are left.
        storage_options : Mapping, optional
            Options for the file system of a URL.
        client : distributed.Client, optional
            Cluster whose workers write the pixels, each whole chunks (or shards). They must reach the file and ``dest``
            by the same paths. The result has the same bytes. When a worker is lost, others do its part again.

        Returns
        -------
        Path or str
            Path or URL of the output.

        Raises
        ------
        FileExistsError
            If ``dest`` exists and is not to be overwritten, or is not a Zarr group.
        ImportError
            If the requested library is not installed.
        ValueError
            If a shape does not fit the image, or a frame is damaged.
        """
        from nd2._core.export.ome_zarr import write_ome_zarr

        self._check_open()
        return write_ome_zarr(
            self._reader,
            self._facts,
            dest,
            chunk_shape=chunk_shape,
            shard_shape=shard_shape,
            backend=backend,
            progress=progress,
            position=self._position_index(position),
            force_series=force_series,
            include_all_metadata=include_all_metadata,
            include_labels=include_labels,
            version=version,
            overwrite=overwrite,
            levels=levels,
            storage_options=storage_options,
            client=client,
            reopen=None if client is None else self._reopen(),
        )

    def write_nd2(
        self,
        dest: str | os.PathLike[str],
        position: int | str | None = None,
        *,
        overwrite: bool = False,
        **picks: int | str | slice | Sequence[int] | Sequence[str] | None,
    ) -> None:
        """Write the file, or a part of it, as a new file.

        The stored bytes of whole frames are copied. Metadata is kept and adapted to the new frames.
        A crop in Y and X also crops the binary layers; regions of interest are left out, with a
        warning. Stage positions remain those of the whole field.

        Parameters
        ----------
        dest : str or os.PathLike
            The file to write; it gets its name when it is complete.
        position : int or str, optional
            Index or name of the only position to take.
        overwrite : bool
            Whether to replace an ND2 file that exists; never this file itself.
        **picks : int, slice, sequence of int, or names of channels
            The part of each axis: ``T=slice(0, 100)``, ``Z=3``, ``P=[0, 2]``, ``C="GFP"``,
            ``Y=slice(0, 512)``. Rows and columns must be contiguous.

        Raises
        ------
        IndexError
            If an index is out of range, or there is no such axis.
        ValueError
            If nothing is left, no position or channel has that name, or the file is damaged.
        NotImplementedError
            If this is a legacy file.
        FileExistsError
            If ``dest`` exists and is not to be overwritten, or is this file.
        OSError
            If the file cannot be written; no part of it remains.
        """
        from nd2._core.write.copy import crop

        self._check_open()
        crop(self._reader, self._facts, dest, position, picks, overwrite=overwrite)

    def writer(
        self,
        dest: str | os.PathLike[str],
        *,
        samples: Literal["BGR", "RGB"] = "BGR",
        in_place: bool = False,
        overwrite: bool = False,
    ) -> FileWriter:
        """Return a writer for a file with the metadata of this one; the caller writes the frames.

        Parameters
        ----------
        dest : str or os.PathLike
            The file to write.
        samples : {"BGR", "RGB"}
            Order of the samples of color frames; by default the order in which this file gives them.
        in_place : bool
            Write to ``dest`` itself; see `ND2Writer`.
        overwrite : bool
            Whether to replace an ND2 file that exists; never this file itself.

        Returns
        -------
        FileWriter
            As an `ND2Writer`; this file must stay open until it is closed.

        Raises
        ------
        NotImplementedError
            If this is a legacy file.
        """
        from nd2._core.write.copy import CopiedTables
        from nd2._core.write.writer import FileWriter

        self._check_open()
        return FileWriter(
            dest,
            CopiedTables(self._reader, self._facts),
            samples=samples,
            in_place=in_place,
            overwrite=overwrite,
            sources=[self._reader.source.url],
        )
