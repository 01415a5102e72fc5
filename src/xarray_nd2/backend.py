"""The engine: ``xarray.open_dataset(file, engine="nd2")``."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import xarray as xr
from xarray.backends import BackendEntrypoint

from nd2._core import errors
from nd2._core.io.source import is_magic
from nd2._core.io.urls import is_url
from nd2._core.open import open_reader, read_magic
from nd2._core.views.facts import Facts
from xarray_nd2 import accessor
from xarray_nd2.dataset.build import dataset_model
from xarray_nd2.datasets import to_dataset
from xarray_nd2.groups import group_datasets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Unpack

    from nd2._core.open import OpenOptions
    from xarray_nd2.dataset.coords import TimeMode

_ND2_URL = re.compile(r"\.nd2($|[?#]|::)", re.IGNORECASE)

__all__ = ["ND2BackendEntrypoint", "accessor"]


class ND2BackendEntrypoint(BackendEntrypoint):
    """Opens Nikon ND2 files as datasets, lazily.

    The dataset's variable ``image`` has the axes of the acquisition (of T, P, Z, in the file's order), then C,
    Y, X, and S for color. Opening reads the chunk map and the metadata, but no pixels. Indexing reads only
    the frames and rows of the selection.
    """

    description = "Open Nikon ND2 microscopy files (.nd2)"
    supports_groups = True

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        mask_and_scale: Any = True,
        decode_times: Any = True,
        concat_characters: Any = True,
        decode_coords: Any = True,
        drop_variables: str | Iterable[str] | None = None,
        use_cftime: bool | None = None,
        decode_timedelta: Any = None,
        group: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        index: str | os.PathLike[str] | Literal[True] | None = None,
        squeeze: bool = True,
        position: int | str | None = None,
        validate_frames: bool = False,
        search_window: int = 100,
        rescue: bool = False,
        flat_frames: bool = False,
        time: TimeMode = "relative",
        **unknown: Any,
    ) -> xr.Dataset:
        """Open a file as a dataset.

        Parameters
        ----------
        filename_or_obj : str, os.PathLike, BinaryIO, fsspec.core.OpenFile
            Local path, URL that fsspec supports, or open binary file.
        mask_and_scale, concat_characters, decode_coords, decode_timedelta
            Accepted as xarray passes them; nothing in a file is encoded in these ways.
        decode_times, use_cftime
            With ``time="absolute"``: whether and how seconds since the first frame are decoded as dates; see xarray.
        drop_variables : str or iterable of str, optional
            Variables to leave out; data that only they need are not read.
        group : str, optional
            Group of the tree to open instead (see `open_groups_as_dict`): ``P0``, ``events``, ...
        storage_options : Mapping, optional
            Options for the file system of a URL.
        index : str, os.PathLike or True, optional
            Path or URL of the file's sidecar index (see ``nd2.save_index``); True for the one next to the file.
        squeeze : bool
            Whether axes of size 1 other than Y and X are dropped; otherwise the image has all of T, P, Z, C, Y and X.
        position : int or str, optional
            Index or name of the only position to open.
        validate_frames : bool
            Whether each frame's place is checked, and searched nearby if the file's map is wrong.
        search_window : int
            Distance of that search in kilobytes (1000 bytes).
        rescue : bool
            Whether a file that was cut short, or whose map is lost, is opened as far as it goes.
        flat_frames : bool
            Whether all frames are put on one axis ``U``, and the loops ignored.
        time : {"relative", "absolute"}
            Whether times are seconds on the clock of the acquisition, as recorded, or instants (``datetime64``, UTC).
        **unknown
            Any other option raises an error, which suggests similar options.

        Returns
        -------
        xarray.Dataset

        Raises
        ------
        TypeError
            If there is no such option.
        OSError
            If the file cannot be opened, or is not ND2.
        ValueError
            If it is damaged, has no such group or position, or does not have the time of its first frame; if ``group``
            and ``position`` are given.
        IndexError
            If it has no position of that index.
        """
        _refuse(unknown, self.open_dataset_parameters)
        if group is not None and position is not None:
            raise ValueError("give group or position, not both")
        options: OpenOptions = {
            "storage_options": storage_options,
            "index": index,
            "flat_frames": flat_frames,
            "validate_frames": validate_frames,
            "search_window": search_window,
            "rescue": rescue,
        }
        if group is not None:
            groups = self.open_groups_as_dict(
                filename_or_obj,
                decode_times=decode_times,
                drop_variables=drop_variables,
                use_cftime=use_cftime,
                group=group,
                squeeze=squeeze,
                time=time,
                **options,
            )
            return groups["/"]
        reader = open_reader(filename_or_obj, **options)
        dropped = _names(drop_variables)
        try:
            model = dataset_model(Facts(reader), squeeze=squeeze, position=position, time=time, dropped=dropped)
        except BaseException:
            reader.close()
            raise
        # The source opens again when it is needed: nothing is held between opening and the first read,
        # and what xarray closes can still be read, as its copies in other processes can.
        source = reader.source
        source.settle()
        del reader  # the map of a file of a million frames takes as much memory as the dataset
        dataset = to_dataset(model, without_image="image" in dropped, decode_times=decode_times, use_cftime=use_cftime)
        dataset.set_close(source.release)
        return dataset

    # Without ``self`` and ``unknown``.
    open_dataset_parameters: ClassVar[tuple[str, ...]] = tuple(signature(open_dataset).parameters)[1:-1]

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        mask_and_scale: Any = True,
        decode_times: Any = True,
        concat_characters: Any = True,
        decode_coords: Any = True,
        drop_variables: str | Iterable[str] | None = None,
        use_cftime: bool | None = None,
        decode_timedelta: Any = None,
        group: str | None = None,
        squeeze: bool = True,
        time: TimeMode = "relative",
        **options: Unpack[OpenOptions],
    ) -> dict[str, xr.Dataset]:
        """Open a file as datasets by the path of their group; see `open_datatree`.

        Parameters
        ----------
        filename_or_obj, drop_variables, squeeze, time
            See `open_dataset`.
        group : str, optional
            The only group to open; its path is ``/`` then.
        mask_and_scale, decode_times, concat_characters, decode_coords, use_cftime, decode_timedelta
            See `open_dataset`.
        **options
            ``storage_options``, ``index``, ``validate_frames``, ``search_window``, ``rescue`` and ``flat_frames`` of
            `open_dataset`; any other option is refused with a TypeError.

        Returns
        -------
        dict of str to xarray.Dataset
            ``/`` what all positions share; ``/P0``, ``/P1`` ... each position as ``open_dataset(position=...)`` gives
            it; ``/labels`` the binary layers; ``/events`` the table of recorded data and the events; ``/tiles`` the
            fields of a stitched image. The last three exist only if the file has them.
        """
        known = [name for name in self.open_dataset_parameters if name != "position"]
        _refuse([name for name in options if name not in known], known)
        with ExitStack() as failure:
            reader = failure.enter_context(open_reader(filename_or_obj, **options))
            groups = group_datasets(
                Facts(reader),
                group=group,
                squeeze=squeeze,
                time=time,
                dropped=_names(drop_variables),
                decode_times=decode_times,
                use_cftime=use_cftime,
            )
            failure.pop_all()  # the datasets keep the source, as in `open_dataset`
        reader.source.settle()
        for dataset in groups.values():
            dataset.set_close(reader.source.release)
        return groups

    def open_datatree(self, filename_or_obj: Any, **options: Any) -> xr.DataTree:
        """Open a file as a tree: the positions, the labels, the events, the tiles.

        Parameters
        ----------
        filename_or_obj : str, os.PathLike, BinaryIO, fsspec.core.OpenFile
            Local path, URL that fsspec supports, or open binary file.
        **options
            See `open_groups_as_dict`.

        Returns
        -------
        xarray.DataTree
        """
        groups = self.open_groups_as_dict(filename_or_obj, **options)
        tree = xr.DataTree.from_dict(groups)
        tree.set_close(next(iter(groups.values())).close)
        return tree

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return whether a file is ND2: by its first bytes, or by its name if a request would be needed."""
        path = _remote_path(filename_or_obj)
        if path is not None:
            return _ND2_URL.search(path) is not None
        place = None
        try:
            if hasattr(filename_or_obj, "tell") and hasattr(filename_or_obj, "seek"):
                place = filename_or_obj.tell()
            return is_magic(read_magic(filename_or_obj))
        except (OSError, TypeError, ValueError):
            named = isinstance(filename_or_obj, (str, os.PathLike))
            return named and os.fspath(filename_or_obj).lower().endswith(".nd2")
        finally:
            if place is not None:
                filename_or_obj.seek(place)


def _refuse(unknown: Iterable[str], known: Iterable[str]) -> None:
    for name in unknown:
        raise errors.no_such("option", name, known, kind=TypeError)


def _names(drop_variables: str | Iterable[str] | None) -> frozenset[str]:
    return frozenset({drop_variables} if isinstance(drop_variables, str) else drop_variables or ())


def _remote_path(file: Any) -> str | None:
    """Return the path of a file that only a request could read; None for local files and memory."""
    if is_url(file):
        return str(file)
    fs, path = getattr(file, "fs", None), getattr(file, "path", None)
    if fs is None or not isinstance(path, str):
        return None
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    return None if protocols & {"file", "memory"} else path
