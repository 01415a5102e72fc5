"""What ``ND2File`` makes of its file: pictures, OME metadata, TIFF, OME-Zarr, and other ND2 files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from nd2._core.file.handle import FileHandle
from nd2._core.readers.positions import position_index

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ome_types import OME

    from nd2._core.views.picture import Picture
    from nd2._core.write.core import FileWriter


class FileExports(FileHandle):
    """Other files, and pictures, that are made of a file."""

    def thumbnail(
        self,
        frames: Sequence[int] | None = None,
        *,
        tiles: int = 1,
        channels: Sequence[int | str] | None = None,
        split: bool = False,
        size: int = 256,
    ) -> Picture:
        """Return a small picture of the image, each channel in its colour and stretched: what ``nd2 show`` writes.

        Only the rows that the picture shows are read, where frames are not compressed.

        Parameters
        ----------
        frames : sequence of int, optional
            Sequence indices of the frames to show. By default the middle plane of the first stack, or with `tiles` some
            that are spread evenly.
        tiles : int
            How many frames are shown side by side at most, where none are given.
        channels : sequence of int or str, optional
            Indices or names of the channels to show; by default all.
        split : bool
            Whether each channel has a tile of its own.
        size : int
            Longer side of the picture in pixels, at most.

        Returns
        -------
        Picture
            A notebook shows it; ``pixels`` is the array, shape (height, width, 3), uint8; ``png()`` the bytes of a file.

        Raises
        ------
        IndexError
            If there is no such frame, or no channel of that index.
        ValueError
            If there is no channel of that name, a frame is damaged, or `tiles` or `size` is less than 1.
        """
        from nd2._core.views.picture import PictureOptions, picture

        self._check_open()
        return picture(self._reader, PictureOptions(frames, tiles, split, size, channels))

    def ome_metadata(
        self, *, include_unstructured: bool = True, tiff_file_name: str | None = None
    ) -> OME:
        """Return the metadata of the file as OME has them.

        Parameters
        ----------
        include_unstructured : bool
            Whether all metadata chunks are added as an annotation: name of the chunk -> its content as JSON.
        tiff_file_name : str, optional
            Name of the TIFF file that holds the planes; each gets a ``TiffData`` block then.

        Returns
        -------
        ome_types.OME
            One image for each position. Times are milliseconds since the first frame.
        """
        from nd2._core.export.ome import ome_metadata

        return ome_metadata(
            self._reader, include_unstructured=include_unstructured, tiff_file_name=tiff_file_name
        )

    def write_tiff(
        self,
        dest: str | os.PathLike[str],
        *,
        include_unstructured_metadata: bool = True,
        progress: bool = False,
        on_frame: Callable[[int, int, dict[str, int]], None] | None = None,
        modify_ome: Callable[[OME], None] | None = None,
    ) -> None:
        """Write the image as TIFF, one series for each position; it replaces ``dest`` when it is whole.

        A name with ``.ome.`` in it makes an OME-TIFF. Any other makes an ImageJ hyperstack where ImageJ's form can hold
        the file (one position, less than 4 GB, its types), else a BigTIFF with named axes. Colour is written red, green,
        blue. Frames are read once, in the order of the file, a few at a time.

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
            Changes the OME metadata before they are written.

        Raises
        ------
        ImportError
            If tifffile is not installed.
        ValueError
            If a frame is damaged; ``dest`` stays as it was.
        """
        from nd2._core.export.tiff import write_tiff

        self._check_open()
        write_tiff(
            self._reader,
            dest,
            include_unstructured_metadata=include_unstructured_metadata,
            progress=progress,
            on_frame=on_frame,
            modify_ome=modify_ome,
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
    ) -> Path | str:
        """Write the image as OME-Zarr (OME-NGFF 0.5, Zarr 3).

        Frames are read once, in blocks that fill whole chunks (or shards), and compressed on all cores. A folder appears
        under its name when it is whole; at a URL, the document that makes it a Zarr group is written last.

        Parameters
        ----------
        dest : str, os.PathLike
            A folder, or a URL that fsspec knows.
        chunk_shape : tuple of int, "auto" or None
            Shape of a chunk on the axes that the image has of t, c, z, y, x (those longer than 1, and y and x). ``"auto"``
            makes chunks of about 4 MB; None makes one chunk.
        shard_shape : tuple of int, optional
            Shape of a shard, a file that holds several chunks: a multiple of that of a chunk.
        backend : {"auto", "zarr", "tensorstore"}
            What writes the chunks; ``"auto"`` takes tensorstore for folders where it is installed.
        progress : bool
            Whether to show a progress bar.
        position : int or str, optional
            Index or name of the only position to write.
        force_series : bool
            Whether to write a series (``bioformats2raw.layout``) for one position, or for a plate, too.
        include_all_metadata : bool
            Whether all metadata chunks go into ``attributes.nd2`` of the root.
        include_labels : bool
            Whether binary layers are written as labels.
        version : {"0.5"}
            Version of OME-NGFF.
        overwrite : bool
            Whether to replace what is at ``dest``: a folder when the new one is complete; what is at a URL before
            the export, once all that can be checked is. If the export fails then, nothing is left at the URL.
        levels : int or "auto"
            Number of levels of the pyramid, the full one included; ``"auto"`` halves until 256 pixels are left.
        storage_options : Mapping, optional
            Options for the file system of a URL.

        Returns
        -------
        Path or str
            Where it is: a path, or the URL.

        Raises
        ------
        FileExistsError
            If ``dest`` exists and is not to be overwritten.
        ImportError
            If the library asked for is not installed.
        ValueError
            If a shape does not fit the image, or a frame is damaged.
        """
        from nd2._core.export.ome_zarr import write_ome_zarr

        self._check_open()
        return write_ome_zarr(
            self._reader,
            dest,
            chunk_shape=chunk_shape,
            shard_shape=shard_shape,
            backend=backend,
            progress=progress,
            position=None if position is None else position_index(self._reader, position),
            force_series=force_series,
            include_all_metadata=include_all_metadata,
            include_labels=include_labels,
            version=version,
            overwrite=overwrite,
            levels=levels,
            storage_options=storage_options,
        )

    def write_nd2(
        self,
        dest: str | os.PathLike[str],
        position: int | str | None = None,
        **loops: int | slice | Sequence[int] | None,
    ) -> None:
        """Write some frames of the file, or all, as a file of their own.

        Frames are copied as the bytes that are stored; metadata are kept, those that speak of frames brought into line.

        Parameters
        ----------
        dest : str or os.PathLike
            The file to write; it takes its name when it is complete, and may be this file itself.
        position : int or str, optional
            Index or name of the only position to take.
        **loops : int, slice, or sequence of int
            What to take of each loop: ``T=slice(0, 100)``, ``Z=3``, ``P=[0, 2]``.

        Raises
        ------
        IndexError
            If an index is out of range, or there is no such loop.
        ValueError
            If nothing is left, no position has that name, or the file is damaged.
        NotImplementedError
            If this is a legacy file.
        OSError
            If the file cannot be written; nothing is left of it then.
        """
        from nd2._core.write.crop import crop

        self._check_open()
        if position is not None:
            loops["P"] = position_index(self._reader, position)
            if "P" not in dict(self._reader.layout.loops):
                del loops["P"]
        crop(self._reader, dest, loops)

    def writer(
        self,
        dest: str | os.PathLike[str],
        *,
        samples: Literal["BGR", "RGB"] = "BGR",
        in_place: bool = False,
    ) -> FileWriter:
        """Return a writer for a file that says all that this one says; its frames are still to be written.

        Parameters
        ----------
        dest : str or os.PathLike
            The file to write.
        samples : {"BGR", "RGB"}
            Order of the samples of colour frames; by default the one in which this file gives them.
        in_place : bool
            Write to ``dest`` itself; see `ND2Writer`.

        Returns
        -------
        FileWriter
            As an `ND2Writer`; this file must stay open until it is closed.

        Raises
        ------
        NotImplementedError
            If this is a legacy file.
        """
        from nd2._core.write.like import like

        self._check_open()
        return like(self._reader, dest, samples=samples, in_place=in_place)
