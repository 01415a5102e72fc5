"""``ND2File``: one object for all that an ND2 file holds. It delegates: nothing is parsed or computed here."""

from __future__ import annotations

from nd2._core.compat import PrivateMembers
from nd2._core.file.exports import FileExports
from nd2._core.file.metadata import FileMetadata
from nd2._core.file.pixels import FilePixels
from nd2._core.io.urls import file_name


class ND2File(FileMetadata, FilePixels, FileExports, PrivateMembers):
    """An open ND2 file.

    Opening reads the file's signature; everything else is read when it is asked for, and kept. Pixels are read by
    positional reads, so that one object serves any number of threads. Arrays made from it (dask, xarray) do not need
    it any more: it may be closed.

    Parameters
    ----------
    path : str, os.PathLike, BinaryIO
        A local path, a URL that fsspec knows (``s3://``, ``https://``, ``memory://``, chained ones too), or an open
        binary file.
    validate_frames : bool
        Check that every frame and every other chunk is where the file's map says, and look for those that are not, as
        after bytes were lost or inserted. Frames that are not found count as missing, with a warning. Opening reads the
        head of every frame then; what an index knows of the frames' places is not used.
    search_window : int
        How many kilobytes (of 1000 bytes) before and behind its place a chunk is looked for.
    storage_options : Mapping, optional
        Options for the file system of a URL.
    index : str, os.PathLike or True, optional
        Path or URL of the file's index (see `save_index`), with which a remote file opens by one small read; True for
        the one beside the file.
    flat_frames : bool
        Put all frames of the file on one axis ``U``, in their order, whatever its loops say: the way to frames that no
        loop reaches, as after a crash or an edit.
    rescue : bool
        Open what is left of a file that was cut short, or whose map, head or attributes are lost: the file is scanned for
        frames and metadata. What is lost is said by a warning and by `rescued`; an index is not used.

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

    # What a debugger or a notebook asks for must be there for a damaged file, too, and for one that failed to open.

    def __repr__(self) -> str:
        name = f"{type(self).__name__} at {id(self):#x}"
        try:
            name += f": {file_name(self.path)!r}"
            if self.closed:
                return f"<{name} (closed)>"
            return f"<{name} {self.dtype}: {dict(self.sizes)}>"
        except Exception as error:
            return f"<{name} ({type(error).__name__})>"

    def _repr_html_(self) -> str:
        from html import escape

        from nd2._core.views.html import file_table

        try:
            if not self.closed:
                return file_table(self._reader)
        except Exception as error:
            return f"<pre>{escape(repr(self))}\n{escape(str(error))}</pre>"
        return f"<pre>{escape(repr(self))}</pre>"
