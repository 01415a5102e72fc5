"""The pixels of ``ND2File``: shape and type, and the ways to read them into NumPy, dask and xarray."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, SupportsInt

from nd2._core import errors
from nd2._core.file.handle import FileHandle
from nd2._core.frames.array import FrameArray
from nd2._core.readers.positions import position_index
from nd2._core.structures import Sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dask.array
    import numpy as np
    import xarray as xr
    from numpy.typing import DTypeLike, NDArray


class FilePixels(FileHandle):
    """The image of a file, as one array."""

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
        """Number of components of a channel: 1, or 3 for colour."""
        return self._reader.attributes.componentCount // (self._reader.attributes.channelCount or 1)

    @property
    def is_rgb(self) -> bool:
        """Whether the image is in colour: 3 or 4 components in a channel."""
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
            Sequence index of the frame, from 0; frames beyond the loops can be read, too.

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
        index, count = int(frame_index), self._reader.frame_count
        if not 0 <= index < count:
            raise errors.frame_range(index, count, path=self.path)
        self._check_open()
        return self._reader.frames.frame(index).squeeze()

    @cached_property
    def _array(self) -> FrameArray:
        return FrameArray.from_layout(self._reader.frames, self._reader.layout, tuple(self.sizes))

    def _at_position(self, position: int | str | None) -> tuple[FrameArray, int | None]:
        """Return the array of one position (all, if None or if the file has no positions), and its index."""
        array, layout = self._array, self._reader.layout
        if position is None:
            return array, None
        index = position_index(self._reader, position)
        return (array.fix("P", index) if layout.sizes.get("P") else array), index

    def asarray(
        self, position: int | str | None = None, *, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
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
        if copy is False:
            raise ValueError("the pixels are in a file: an array of them is always a copy")
        data = self.asarray()
        return data if dtype is None else data.astype(dtype, copy=False)

    def to_dask(
        self, wrapper: bool = True, copy: bool = True, *, chunks: Any = None
    ) -> dask.array.Array:
        """Return a dask array that reads when it is computed; the file may be closed before that.

        Parameters
        ----------
        wrapper, copy : bool
            Accepted for compatibility with nd2; the array always works alone, and never shares memory with the file.
        chunks : optional
            Chunks as dask takes them; ``"auto"`` groups frames. By default one block a frame.

        Returns
        -------
        dask.array.Array, shape ``self.shape``
        """
        from nd2._core.views.dask import to_dask

        return to_dask(self._independent(self._array), chunks)

    def to_xarray(
        self,
        delayed: bool = True,
        squeeze: bool = True,
        position: int | str | None = None,
        copy: bool = True,
    ) -> xr.DataArray:
        """Return a labelled array.

        Parameters
        ----------
        delayed : bool
            Whether the pixels are a dask array that reads when it is computed; else they are read now.
        squeeze : bool
            Whether axes of size 1 are dropped.
        position : int or str, optional
            Index or name of the only position to take.
        copy : bool
            Accepted for compatibility with nd2; the array never shares memory with the file.

        Returns
        -------
        xarray.DataArray
            T in milliseconds, Z, Y and X in micrometers, names on P, C and S. ``attrs["metadata"]`` holds what the
            file says. For recorded times and units see ``xarray.open_dataset(path, engine="nd2")``.
        """
        from nd2._core.views.dask import to_dask
        from nd2._core.views.xarray import to_xarray

        array, index = self._at_position(position)
        data = to_dask(self._independent(array)) if delayed else self.asarray(position)
        return to_xarray(data, self._reader, array.dims, squeeze=squeeze, position=index)

    def _independent(self, array: FrameArray) -> FrameArray:
        """Return the same array over a source of its own, which lives when this file is closed."""
        return array.with_source(self._reader.source.reopen())
