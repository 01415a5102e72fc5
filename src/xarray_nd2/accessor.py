"""``dataset.nd2``: what xarray has no place for, of datasets that came from an ND2 file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from nd2._core import errors
from xarray_nd2 import pictures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from nd2._core.file import ND2File


@xr.register_dataset_accessor("nd2")  # type: ignore[no-untyped-call]
class ND2Accessor:
    """The file behind a dataset, its events, its positions by name, and pictures for a look.

    Parameters
    ----------
    dataset : xarray.Dataset
        A dataset of the engine ``"nd2"``, or a selection of one.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def file(self, *, storage_options: Mapping[str, Any] | None = None) -> ND2File:
        """Open the file that the dataset came from; the caller closes it.

        Parameters
        ----------
        storage_options : Mapping, optional
            Options for the file system of a URL; a dataset does not keep them, as they may hold credentials.

        Raises
        ------
        ValueError
            If the dataset does not say where it came from (it was opened from a file object without a name).
        """
        from nd2._core.file import ND2File

        dataset = self._dataset
        source = dataset.encoding.get("source") or dataset.attrs.get("source")
        if not source:
            raise ValueError("the dataset does not say which file it came from")
        return ND2File(source, storage_options=storage_options)

    @property
    def events(self) -> pd.DataFrame:
        """The recorded data and events of the whole file, one row a frame and one an event, as ``ND2File.events``."""
        import pandas as pd

        with self.file() as file:
            return pd.DataFrame(file.events(orient="list"))

    def sel_position(self, name: str) -> xr.Dataset:
        """Select the position of a name; of several of that name, the first.

        Parameters
        ----------
        name : str
            Name of the position, as the file has it.

        Raises
        ------
        ValueError
            If there is no position of that name.
        """
        names = self._dataset.coords.get("position_name")
        known = [] if names is None else np.atleast_1d(names.values).tolist()
        if names is None or name not in known:
            raise errors.no_such("position", name, known)
        return self._dataset.isel({dim: known.index(name) for dim in names.dims})

    def rgb(
        self, channels: int | str | Sequence[int | str] | None = None, **indexers: int
    ) -> xr.DataArray:
        """Return one picture in color, 8 bits a sample, for a look: each channel in its own color, stretched.

        Parameters
        ----------
        channels : int, str, or sequence of these, optional
            Indices or names of the channels to show; by default all.
        **indexers : int
            Index on the axes of the frames (``T=3, Z=0``); by default the first time and position, the middle plane.

        Returns
        -------
        xarray.DataArray
            Axes Y, X, S (red, green, blue), uint8. Each channel is stretched from its 0.1 to its 99.9 percentile.

        Raises
        ------
        ValueError
            If there is no channel of that name, or no such axis.
        IndexError
            If there is no channel of that index.
        """
        return pictures.composite(pictures.one_frame(self._dataset, indexers, channels))

    def plot(
        self, channels: int | str | Sequence[int | str] | None = None, **indexers: int
    ) -> Figure:
        """Draw one frame: each channel beside the composite, with a scale bar.

        Parameters
        ----------
        channels, **indexers
            See `rgb`.

        Returns
        -------
        matplotlib.figure.Figure
            Not shown: notebooks show what a cell returns, ``fig.savefig`` writes it.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return pictures.figure(pictures.one_frame(self._dataset, indexers, channels))

    def thumbnail(
        self,
        size: int = 256,
        channels: int | str | Sequence[int | str] | None = None,
        **indexers: int,
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
        return pictures.thumbnail(pictures.one_frame(self._dataset, indexers, channels), size)
