"""From a file to its dataset as values, and to the dataset of one of its positions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.export.ome import ome_xml
from nd2._core.frames.array import FrameArray
from nd2._core.views.facts import EXPOSURE_COLUMNS, STAGE_COLUMNS
from nd2._core.views.jsonable import json_text
from xarray_nd2.dataset.coords import Clock, FrameValues, axis_coordinate, coordinates, label_layers
from xarray_nd2.dataset.model import DatasetModel

if TYPE_CHECKING:
    from collections.abc import Collection

    from nd2._core.views.facts import Facts
    from xarray_nd2.dataset.coords import TimeMode

_OPENING = (
    "CustomData|AcqTimesCache",
    "CustomDataVar|CustomDataV2_0",
    "CustomDataVar|AppInfo_V1_0",
    "CustomDataVar|BinaryMetadata_v1",
    "CustomData|BinaryMetadata_v2",
    *(f"CustomData|{name}" for name in (*STAGE_COLUMNS, *EXPOSURE_COLUMNS)),
)
"""Chunks that opening reads in addition to those that every reader needs: read together, they cost one request."""
_MAX_PREFETCH = 1 << 20


def dataset_model(
    facts: Facts,
    *,
    squeeze: bool = True,
    position: int | str | None = None,
    time: TimeMode = "relative",
    dropped: Collection[str] = (),
    labels: bool = True,
) -> DatasetModel:
    """Describe a file as a dataset, with times on the clock of the acquisition, or since the first frame."""
    reader = facts.reader
    frames, layout = reader.frames, reader.layout.with_all_loops()
    reader.prefetch(_OPENING, _MAX_PREFETCH)
    attrs = dataset_attrs(facts)
    image = FrameArray.from_layout(frames, layout)
    # Names of positions need P.
    axes = facts.axes(position, without=[name for name in dropped if name != "P"])
    if position is not None:
        image = image.fix("P", int(axes["P"].values[0]))
    # S is an axis of color images only.
    kept = ("Y", "X") if squeeze else (*image.grid.names, "C", "Y", "X")
    image = image.with_dims([dim for dim, n in image.all_sizes.items() if n > 1 or dim in kept])
    image_attrs = {"long_name": "intensity", "valid_max": facts.max_value}
    return DatasetModel(
        image,
        coordinates(facts, image, axes, Clock.from_facts(facts, time), dropped),
        attrs,
        {name: value for name, value in image_attrs.items() if value is not None},
        label_layers(facts, image, dropped) if labels else {},
    )


def position_model(
    facts: Facts, model: DatasetModel, index: int, *, squeeze: bool = True, time: TimeMode = "relative"
) -> DatasetModel:
    """Return the part of a dataset at one position, without labels, and without the axis P if ``squeeze``.

    Columns are not read again: values in memory are sliced. Only the axes of time are those of the
    position itself.
    """
    image = model.image.fix("P", index)
    if squeeze:
        image = image.drop_dims("P")
    axes, clock = facts.axes(index), Clock.from_facts(facts, time)
    coords = {}
    for name, variable in model.coords.items():
        if name[0] == "T" and name in axes:
            coords[name] = axis_coordinate(name, axes[name], clock).drop_dims(image.dims)
        elif "P" not in variable.dims:
            coords[name] = variable
        elif isinstance(variable.values, FrameValues):
            values = FrameValues(variable.values.column, image.grid)
            coords[name] = replace(variable, dims=values.dims, values=values)
        else:
            part = np.take(variable.values, [index], axis=variable.dims.index("P"))
            if name != "frame_present" or not part.all():
                coords[name] = replace(variable, values=part).drop_dims(image.dims)
    return replace(model, image=image, coords=coords, labels={})


def dataset_attrs(facts: Facts) -> dict[str, Any]:
    """Return the attributes of the dataset, without those that are unknown.

    They are flat, and of types that netCDF and Zarr hold; structures are JSON text.
    """
    reader, optics = facts.reader, facts.optics
    pixel = facts.pixel_size
    attrs: dict[str, Any] = {
        "source": reader.source.url,
        "format_version": ".".join(map(str, reader.version)),
        "acquisition_date": facts.start_text,
        "software": facts.software,
        "objective": optics and optics.objectiveName,
        "magnification": optics and optics.objectiveMagnification,
        "numerical_aperture": optics and optics.objectiveNumericalAperture,
        "bit_depth": facts.significant_bits,
        "voxel_size_um": pixel and [*pixel, facts.z_step or 1.0],
        "nd2_attributes": json_text(reader.attributes),
        "nd2_experiment": json_text(reader.experiment),
        "nd2_metadata": json_text(reader.metadata),
        "nd2_text_info": json_text(reader.text_info),
        "ome_xml": ome_xml(reader, facts, planes=False),
    }
    return {key: value for key, value in attrs.items() if key == "source" or value not in (None, "")}
