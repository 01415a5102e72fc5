"""Datasets of xarray out of the model of a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xarray_nd2.array import lazy, samples_are_reversed

if TYPE_CHECKING:
    from xarray_nd2.dataset.model import DatasetModel, VariableModel

_BAND_BYTES = 64 << 20

# Written as texts of any length: of those of fixed width zarr warns that Zarr 3 has no standard for them. Writers of
# netCDF take that since xarray 2026.9.
_RECENT = tuple(int(part) for part in xr.__version__.split(".")[:2]) >= (2026, 9)
_TEXT: dict[str, Any] = {"dtype": np.dtypes.StringDType()} if _RECENT else {}


def to_dataset(
    model: DatasetModel,
    *,
    without_image: bool = False,
    decode_times: Any = True,
    use_cftime: bool | None = None,
) -> xr.Dataset:
    """Make the dataset of a model; what lies in the file stays there until it is asked for."""
    variables: dict[str, xr.Variable] = {}
    if not without_image:
        variables["image"] = xr.Variable(
            model.image.dims,
            lazy(model.image),
            model.image_attrs,
            encoding={
                "preferred_chunks": preferred_chunks(model),
                "source": model.attrs["source"],
            },
        )
    variables |= {name: to_variable(layer) for name, layer in model.labels.items()}
    coords = {
        name: decoded(name, to_variable(variable), decode_times, use_cftime)
        for name, variable in model.coords.items()
    }
    if "S" in coords and samples_are_reversed(model.image):
        coords["S"] = coords["S"][::-1]
    dataset = xr.Dataset(variables, coords=coords, attrs=model.attrs)
    dataset.encoding["source"] = model.attrs["source"]
    return dataset


def to_variable(variable: VariableModel) -> xr.Variable:
    """Make a variable of xarray."""
    values: Any = variable.values
    encoding = _TEXT if values.dtype.kind == "U" else {}
    if not variable.in_memory:
        values = lazy(values)
    return xr.Variable(variable.dims, values, dict(variable.attrs), encoding)


def decoded(
    name: str, variable: xr.Variable, decode_times: Any = True, use_cftime: bool | None = None
) -> xr.Variable:
    """Decode times since an instant; everything else is as it should be."""
    if isinstance(decode_times, Mapping):
        decode_times = decode_times.get(name, True)
    if " since " not in variable.attrs.get("units", "") or decode_times is False:
        return variable
    options = {} if use_cftime is None else {"use_cftime": use_cftime}
    result: xr.Variable = xr.conventions.decode_cf_variable(
        name,
        variable,
        concat_characters=False,
        mask_and_scale=False,
        decode_times=decode_times,
        decode_endianness=False,
        decode_timedelta=False,
        **options,
    )
    return result


def preferred_chunks(model: DatasetModel) -> dict[str, int]:
    """Return the chunks that suit the file: a frame, or bands of rows where a frame is larger than 64 MiB."""
    pixels = model.image.frames.pixels
    rows = max(min(_BAND_BYTES // max(pixels.row_bytes, 1), pixels.height), 1)
    sizes = dict(zip(model.image.dims, model.image.shape, strict=True))
    whole = {"C", "X", "S"}
    chunks = {dim: size if dim in whole else 1 for dim, size in sizes.items()}
    banded = pixels.codec == "raw" and math.prod(pixels.shape) * pixels.dtype.itemsize > _BAND_BYTES
    return {**chunks, "Y": rows if banded else pixels.height}
