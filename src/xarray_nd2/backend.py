"""The engine: ``xarray.open_dataset(file, engine="nd2")``."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint
from xarray.core import indexing

from nd2._format.chunks import LEGACY_MAGIC_BYTES, MAGIC_BYTES
from nd2._io import open_source
from nd2._io.open import is_url
from nd2._probe import first_bytes
from nd2._readers import open_reader
from xarray_nd2._model import DatasetModel, dataset_model
from xarray_nd2.array import ND2BackendArray

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nd2._array import FrameArray

_BAND_BYTES = 64 << 20


class ND2BackendEntrypoint(BackendEntrypoint):
    """Opens Nikon ND2 files as datasets, lazily.

    The dataset's variable ``image`` has the axes of the acquisition (of T, P, Z, in the file's order), then C, Y, X, and
    S for colour. Opening reads the chunk map and the metadata, no pixel; indexing reads the frames and rows that the
    selection touches.
    """

    description = "Open Nikon ND2 microscopy files (.nd2)"
    open_dataset_parameters: ClassVar[tuple[str, ...]] = (
        "filename_or_obj",
        "drop_variables",
        "storage_options",
        "squeeze",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        squeeze: bool = True,
    ) -> xr.Dataset:
        """Open a file as a dataset.

        Parameters
        ----------
        filename_or_obj : str, os.PathLike, BinaryIO
            Local path, URL that fsspec knows, or open binary file.
        drop_variables : str or iterable of str, optional
            Variables to leave out.
        storage_options : Mapping, optional
            Options for the file system of a URL.
        squeeze : bool
            Whether axes of size 1 other than Y and X are dropped.

        Returns
        -------
        xarray.Dataset

        Raises
        ------
        OSError
            If the file cannot be opened, or is not ND2.
        ValueError
            If it is damaged.
        """
        dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
        source = open_source(filename_or_obj, storage_options)
        try:
            model = dataset_model(open_reader(source), squeeze=squeeze)
            # The image reads through a source that opens when it is needed: nothing is held between opening and the
            # first read, and what xarray closes can still be read, as its copies in other processes can.
            pixels = source.reopened()
        finally:
            source.close()
        dataset = _to_dataset(model, model.image.over(pixels), dropped)
        dataset.set_close(pixels.release)
        return dataset

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return whether a file is ND2: by its first bytes, or for a URL by its name."""
        if is_url(filename_or_obj):
            return str(filename_or_obj).lower().endswith(".nd2")
        try:
            return first_bytes(filename_or_obj) in (MAGIC_BYTES, LEGACY_MAGIC_BYTES)
        except (OSError, TypeError, ValueError):
            return isinstance(filename_or_obj, (str, os.PathLike)) and os.fspath(
                filename_or_obj
            ).lower().endswith(".nd2")


def _to_dataset(model: DatasetModel, image: FrameArray, dropped: set[str]) -> xr.Dataset:
    variables: dict[str, xr.Variable] = {}
    if "image" not in dropped:
        variables["image"] = xr.Variable(
            model.image.dims,
            indexing.LazilyIndexedArray(ND2BackendArray(image)),
            model.image_attrs,
            encoding={
                "preferred_chunks": preferred_chunks(model),
                "source": model.attrs["source"],
            },
        )
    coords = {
        name: xr.Variable(
            variable.dims,
            variable.values[::-1] if name == "S" and variable.dims else variable.values,
            dict(variable.attrs),
        )
        for name, variable in model.coords.items()
        if name not in dropped
    }
    return xr.Dataset(variables, coords=coords, attrs=model.attrs)


def preferred_chunks(model: DatasetModel) -> dict[str, int]:
    """Return the chunks that suit the file: a frame, or bands of rows where a frame is larger than 64 MiB."""
    pixels = model.image.frames.pixels
    rows = max(min(_BAND_BYTES // max(pixels.row_bytes, 1), pixels.height), 1)
    sizes = dict(zip(model.image.dims, model.image.shape, strict=True))
    whole = {"C", "X", "S"}
    chunks = {dim: size if dim in whole else 1 for dim, size in sizes.items()}
    banded = pixels.codec == "raw" and math.prod(pixels.shape) * pixels.dtype.itemsize > _BAND_BYTES
    return {**chunks, "Y": rows if banded else pixels.height}
