"""What the ecosystem layer says of a file, before any library: variables, coordinates, attributes.

``DatasetModel`` is what the engine turns into an ``xarray.Dataset``, and what every emitter of references writes down
beside the image. It imports neither xarray nor zarr.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.frames.array import FrameArray
from nd2._core.readers.positions import position_index
from xarray_nd2.dataset.attrs import dataset_attrs, image_attrs
from xarray_nd2.dataset.axis_coords import axis_coordinates, channel_coordinates, position_names
from xarray_nd2.dataset.clock import Clock, TimeMode
from xarray_nd2.dataset.frame_coords import (
    presence,
    recorded_coordinates,
    stage_coordinates,
    time_coordinate,
)
from xarray_nd2.dataset.labels import label_layers
from xarray_nd2.dataset.variable import VariableModel

if TYPE_CHECKING:
    from collections.abc import Collection

    from nd2._core.io import ByteSource
    from nd2._core.readers import Reader

__all__ = ["DatasetModel", "VariableModel", "dataset_model"]

STAGE = ("stage_x", "stage_y", "stage_z")

_OPENING = (
    "CustomData|AcqTimesCache",
    "CustomDataVar|CustomDataV2_0",
    "CustomDataVar|AppInfo_V1_0",
    "CustomDataVar|BinaryMetadata_v1",
    "CustomData|BinaryMetadata_v2",
)
"""Chunks that opening reads beside those that every reader needs: asked for together, they cost one request."""
_LONG = 1 << 20


@dataclass(frozen=True)
class DatasetModel:
    """One file, or one position of it, as a labelled dataset.

    Attributes
    ----------
    image : FrameArray
        The pixels, samples of colour in stored order (blue, green, red; in legacy files red, green, blue).
    coords : dict of str to VariableModel
        Coordinates; those of axes that were dropped are scalars. ``S`` names the samples in stored order.
    attrs : dict
        Attributes of the dataset: str, numbers and lists of numbers only.
    image_attrs : dict
        Attributes of the image.
    labels : dict of str to VariableModel
        Binary layers, by the name of their variable.
    """

    image: FrameArray
    coords: dict[str, VariableModel]
    attrs: dict[str, Any]
    image_attrs: dict[str, Any]
    labels: dict[str, VariableModel] = field(default_factory=dict)

    def with_source(self, source: ByteSource) -> DatasetModel:
        """Return the same dataset, read from another source of the same bytes."""
        return replace(
            self,
            image=self.image.with_source(source),
            coords={name: variable.with_source(source) for name, variable in self.coords.items()},
            labels={name: variable.with_source(source) for name, variable in self.labels.items()},
        )


def dataset_model(
    reader: Reader,
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
    reader : Reader
        The file.
    squeeze : bool
        Whether axes of size 1 other than Y and X are dropped; else there are T, P, Z, C, Y and X, and S for colour.
    position : int or str, optional
        Index or name of the only position.
    time : {"relative", "absolute"}
        Whether times are seconds on the clock of the acquisition, or seconds since the instant of the first frame.
    dropped : collection of str
        Variables that are not wanted; what only they need is not read.
    labels : bool
        Whether binary layers are there.

    Raises
    ------
    IndexError, ValueError
        If there is no such position; if instants are asked for, and the file does not say them.
    """
    image = _image(reader, squeeze, position)
    stored = [chunk for name in _OPENING if (chunk := reader.chunk_address(name)) is not None]
    reader.source.prefetch([(c.position, c.extent) for c in stored if c.extent < _LONG])
    clock = Clock.of(reader, time)
    axes = axis_coordinates(reader, image, clock, {*dropped} - {"P"})
    known = {*dict(reader.layout.loops), *image.dims, "C"}
    coords = {name: axes[name].on(image.dims) for name in axes if name in known}
    coords |= {name: v.on(image.dims) for name, v in channel_coordinates(reader).items()}
    names = position_names(reader)
    if names is not None:
        positions = coords[names.dims[0]]
        here = np.asarray(names.values)[np.asarray(positions.values)]
        coords["position_name"] = VariableModel(positions.dims, np.asarray(here), names.attrs)
    coords |= _frame_coordinates(reader, image, clock, {*coords, *dropped, *image.all_sizes})
    return DatasetModel(
        image,
        {name: variable for name, variable in coords.items() if name not in dropped},
        dataset_attrs(reader),
        image_attrs(reader),
        label_layers(reader, image, dropped) if labels else {},
    )


def _image(reader: Reader, squeeze: bool, position: int | str | None) -> FrameArray:
    layout = reader.layout.with_all_loops()
    image = FrameArray.from_layout(reader.frames, layout)
    if position is not None:
        image = image.fix("P", position_index(reader, position))
    # S is an axis of color images only.
    kept = ("Y", "X") if squeeze else (*image.grid.names, "C", "Y", "X")
    return image.with_dims([dim for dim, n in image.all_sizes.items() if n > 1 or dim in kept])


def _frame_coordinates(
    reader: Reader, image: FrameArray, clock: Clock, taken: Collection[str]
) -> dict[str, VariableModel]:
    """Return the coordinates on the frame axes, without those whose names are taken or not wanted."""
    found: dict[str, VariableModel] = {}
    if "time" not in taken:
        times = time_coordinate(reader, image.grid, clock)
        found |= {} if times is None else {"time": times}
    recorded = recorded_coordinates(reader, image.grid, {"image", "time", "frame_present"})
    found |= {name: variable for name, variable in recorded.items() if name not in taken}
    wanted = [name for name in STAGE if name not in recorded and name not in taken]
    found |= stage_coordinates(reader, image.grid, wanted)
    if "frame_present" not in taken:
        present = presence(reader, image)
        found |= {} if present is None else {"frame_present": present}
    return found
