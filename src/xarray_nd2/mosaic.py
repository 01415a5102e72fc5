"""Mosaics: the fields of an image in their places on the stage, lazily."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from nd2._core.frames.selection import as_index, select, simplify
from xarray_nd2.datasets import LazyIndex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

_MAX_SIDE = 1 << 24
"""Pixels of the longer side of a mosaic; positions further apart are a mistake."""


def mosaic(image: xr.DataArray, attrs: Mapping[Any, Any], pixel_to_stage: ArrayLike | None = None) -> xr.DataArray:
    """Place the fields of an image by their stage positions; see ``ds.nd2.mosaic``.

    ``attrs`` are those of the dataset: ``nd2_metadata`` gives the matrix from pixels to the stage.
    """
    if "P" not in image.dims:
        raise ValueError("there is no axis P: the image has one position only")
    pixel = _pixel_size(image)
    stage = np.stack([_of_positions(image, name) for name in ("stage_x", "stage_y")], axis=1)
    if not np.isfinite(stage).all():
        raise ValueError("the place of some positions is unknown")
    matrix = _matrix(attrs, pixel) if pixel_to_stage is None else np.asarray(pixel_to_stage, float)
    if matrix.shape != (2, 2) or not np.linalg.det(matrix):
        raise ValueError(f"pixel_to_stage must be a regular matrix of 2 x 2 numbers, not {matrix}")
    offsets = np.linalg.solve(matrix, (stage - stage[0]).T).T
    corners = np.round(offsets - offsets.min(axis=0)).astype(np.int64)  # columns x, y
    width, height = (corners.max(axis=0) + [image.sizes[dim] for dim in ("X", "Y")]).tolist()
    if max(width, height) > _MAX_SIDE:
        raise ValueError(f"the positions make a mosaic of {width} x {height} pixels: too far from each other")
    fields = _Fields(image.variable, corners[:, 1], corners[:, 0], height, width)
    variable = xr.Variable(fields.dims, LazyIndex(fields), image.attrs)
    coords: dict[Any, Any] = {
        name: coord for name, coord in image.coords.items() if "P" not in coord.dims and name not in ("Y", "X")
    }
    for dim, size, step in (("Y", height, pixel[1]), ("X", width, pixel[0])):
        coords[dim] = xr.Variable(dim, np.arange(size) * step, image[dim].attrs)
    return xr.DataArray(variable, coords, name=image.name)


def _pixel_size(image: xr.DataArray) -> NDArray[np.float64]:
    """Return the size of a pixel in micrometers, x and y."""
    for dim in ("X", "Y"):
        if dim not in image.coords or not image[dim].attrs.get("units") or image.sizes[dim] < 2:
            raise ValueError("the size of a pixel is unknown, so that no field has a place")
    return np.array([abs(float(image[dim][1] - image[dim][0])) for dim in ("X", "Y")])


def _of_positions(image: xr.DataArray, name: str) -> NDArray[np.float64]:
    """Return a coordinate of the stage at each position: that of the first frame there."""
    if name not in image.coords or "P" not in image[name].dims:
        raise ValueError(f"there is no {name} of each position, so that no field has a place")
    coordinate = image[name]
    first = coordinate.isel({dim: 0 for dim in coordinate.dims if dim != "P"})
    return np.asarray(first.values, np.float64)


def _matrix(attrs: Mapping[Any, Any], pixel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shift on the stage (x, y) in micrometers for a pixel to the right, and one down.

    Without such metadata, the stage and the image have the same axes.
    """
    try:
        volume = json.loads(attrs["nd2_metadata"])["channels"][0]["volume"]
        affine = volume["pixelToStageTransformationMatrix"]
        matrix = np.array([affine[:2], affine[3:5]], np.float64)
    except (KeyError, TypeError, ValueError, IndexError):
        return np.diag(pixel)
    usable = matrix.shape == (2, 2) and np.isfinite(matrix).all() and np.linalg.det(matrix)
    return matrix if usable else np.diag(pixel)


class _Fields(BackendArray):
    """A large image made of fields; indexing reads only the selected part. Later fields cover earlier ones.

    ``rows`` and ``columns`` are the place of the first pixel of each field, shape (P,).
    """

    def __init__(
        self, image: xr.Variable, rows: NDArray[np.int64], columns: NDArray[np.int64], height: int, width: int
    ) -> None:
        self.image, self.rows, self.columns = image, rows, columns
        self.dims = tuple(str(dim) for dim in image.dims if dim != "P")
        sizes = {**image.sizes, "Y": height, "X": width}
        self.shape = tuple(sizes[dim] for dim in self.dims)
        self.dtype = image.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        selection = select(key, self.dims, self.shape)
        picks = dict(zip(self.dims, map(as_index, selection.picks), strict=True))
        wanted = {dim: np.arange(size)[picks[dim]] for dim, size in zip(self.dims, self.shape, strict=True)}
        out = np.zeros([len(where) for where in wanted.values()], self.dtype)
        for field in range(self.image.sizes["P"]):
            places: dict[Any, Any] = {}
            for dim, first in (("Y", self.rows[field]), ("X", self.columns[field])):
                inside = wanted[dim] - first
                places[dim] = np.flatnonzero((inside >= 0) & (inside < self.image.sizes[dim]))
                picks[dim] = as_index(simplify(inside[places[dim]]))
            if not all(map(len, places.values())):
                continue
            part = self.image.isel({**picks, "P": field}).transpose(*self.dims).values
            index = [places.get(dim, np.arange(len(wanted[dim]))) for dim in self.dims]
            out[np.ix_(*index)] = part
        return out.reshape(selection.shape)
