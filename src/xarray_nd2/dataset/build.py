"""From a file to its dataset as values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nd2._core.frames.array import FrameArray
from xarray_nd2.dataset.attrs import dataset_attrs, image_attrs
from xarray_nd2.dataset.clock import Clock
from xarray_nd2.dataset.coords import axis_coordinates, coordinates
from xarray_nd2.dataset.labels import label_layers
from xarray_nd2.dataset.lazy import FrameValues
from xarray_nd2.dataset.model import DatasetModel

if TYPE_CHECKING:
    from collections.abc import Collection

    from nd2._core.readers import Reader
    from nd2._core.views.facts import Facts
    from xarray_nd2.dataset.clock import TimeMode
    from xarray_nd2.dataset.model import VariableModel

_OPENING = (
    "CustomData|AcqTimesCache",
    "CustomDataVar|CustomDataV2_0",
    "CustomDataVar|AppInfo_V1_0",
    "CustomDataVar|BinaryMetadata_v1",
    "CustomData|BinaryMetadata_v2",
    "CustomData|X",
    "CustomData|Y",
    "CustomData|Z",
    "CustomData|Camera_ExposureTime1",
    "CustomData|Camera_ExposureTime2",
)
"""Chunks that opening reads in addition to those that every reader needs: read together, they cost one request."""
_MAX_PREFETCH = 1 << 20


def dataset_model(
    reader: Reader,
    facts: Facts,
    *,
    squeeze: bool = True,
    position: int | str | None = None,
    time: TimeMode = "relative",
    dropped: Collection[str] = (),
    labels: bool = True,
) -> DatasetModel:
    """Describe a file as a dataset.

    Parameters
    ----------
    time : {"relative", "absolute"}
        Whether times are seconds on the clock of the acquisition, or seconds since the instant of the first frame.
    """
    image = _image(reader, facts, squeeze, position)
    chunks = [chunk for name in _OPENING if (chunk := reader.chunk_address(name)) is not None]
    reader.source.prefetch([(c.position, c.extent) for c in chunks if c.extent < _MAX_PREFETCH])
    coords = coordinates(reader, facts, image, Clock.from_facts(facts, time), dropped)
    return DatasetModel(
        image,
        coords,
        dataset_attrs(reader, facts),
        image_attrs(facts),
        label_layers(reader, image, dropped) if labels else {},
    )


def position_model(
    facts: Facts, model: DatasetModel, index: int, *, squeeze: bool = True, time: TimeMode = "relative"
) -> DatasetModel:
    """Return the part of a dataset at one position, without labels, and without the axis P if ``squeeze``.

    Columns are not read again: values in memory are sliced. Only the axes of time are those of the
    position itself.
    """
    image = model.image.fix("P", index) if "P" in model.image.grid.names else model.image
    if squeeze:
        image = image.drop_dims("P")
    axes = axis_coordinates(facts, image, Clock.from_facts(facts, time))
    coords = {}
    for name, variable in model.coords.items():
        if name[0] == "T" and name in axes:
            coords[name] = axes[name].drop_dims(image.dims)
        elif "P" not in variable.dims:
            coords[name] = variable
        else:
            part = _position_part(variable, image, index)
            if name != "frame_present" or not np.asarray(part.values).all():
                coords[name] = part
    return replace(model, image=image, coords=coords, labels={})


def _position_part(variable: VariableModel, image: FrameArray, index: int) -> VariableModel:
    """Return the part of a variable with an axis P that belongs to the image of one position."""
    dims = tuple(dim for dim in variable.dims if dim != "P" or dim in image.dims)
    if isinstance(variable.values, FrameValues):
        return replace(variable, dims=dims, values=FrameValues(variable.values.column, image.grid))
    pick = [index] if "P" in dims else index
    values = np.take(np.asarray(variable.values), pick, axis=variable.dims.index("P"))
    return replace(variable, dims=dims, values=np.asarray(values))


def _image(reader: Reader, facts: Facts, squeeze: bool, position: int | str | None) -> FrameArray:
    layout = reader.layout.with_all_loops()
    image = FrameArray.from_layout(reader.frames, layout)
    if position is not None:
        image = image.fix("P", facts.position_index(position))
    # S is an axis of color images only.
    kept = ("Y", "X") if squeeze else (*image.grid.names, "C", "Y", "X")
    return image.with_dims([dim for dim, n in image.all_sizes.items() if n > 1 or dim in kept])
