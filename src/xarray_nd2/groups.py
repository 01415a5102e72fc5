"""A file as groups: the root, each position, labels, recorded data and events, tiles."""

from __future__ import annotations

from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from nd2._core import errors
from nd2._core.frames.grid import FrameGrid
from xarray_nd2.dataset.build import dataset_model, position_model
from xarray_nd2.dataset.coords import (
    Clock,
    TableColumn,
    column_attrs,
    column_names,
    frame_variable,
    position_names,
    recorded_coordinates,
    time_coordinate,
)
from xarray_nd2.dataset.model import VariableModel
from xarray_nd2.datasets import decoded, to_dataset, to_variable

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from nd2._core.chunks.experiment import LargeImage
    from nd2._core.event_types import ExperimentEvent
    from nd2._core.views.facts import Facts
    from xarray_nd2.dataset.coords import TimeMode
    from xarray_nd2.dataset.model import DatasetModel


def group_datasets(
    facts: Facts,
    *,
    group: str | None,
    squeeze: bool,
    time: TimeMode,
    dropped: Collection[str],
    **decoding: Any,
) -> dict[str, xr.Dataset]:
    """Open a file as datasets by the path of their group; of one group only, by the path ``/``."""
    model = dataset_model(facts, squeeze=squeeze, time=time, dropped=dropped)
    origin = {"source": model.attrs["source"]}
    only = None if group is None or not group.strip("/") else f"/{group.strip('/')}"
    positions = [f"/P{i}" for i in range(model.image.all_sizes.get("P", 1))]
    groups = {} if only else {"/": _root(model, squeeze=squeeze)}
    for index, path in enumerate(positions):
        if only in (None, path):
            part = replace(position_model(facts, model, index, squeeze=squeeze, time=time), attrs=origin)
            groups[path] = to_dataset(part, without_image="image" in dropped, **decoding)
    if model.labels and only in (None, "/labels"):
        dims = {dim for layer in model.labels.values() for dim in layer.dims}
        coords = {name: one for name, one in model.coords.items() if dims.issuperset(one.dims)}
        layers = replace(model, coords=coords, attrs=origin)
        groups["/labels"] = to_dataset(layers, without_image=True, **decoding)
    clock = Clock.from_facts(facts, time)
    if only in (None, "/events") and (events := _events(facts, clock)):
        table = {name: decoded(name, to_variable(variable), **decoding) for name, variable in events.items()}
        groups["/events"] = xr.Dataset(table, attrs=origin)
    tiles = facts.reader.large_image
    if tiles is not None and only in (None, "/tiles"):
        groups["/tiles"] = _tiles(tiles, origin)
    if only is None:
        return groups
    if only not in groups:
        others = {"labels": bool(model.labels), "events": bool(_events(facts, clock)), "tiles": tiles is not None}
        names = [*(path[1:] for path in positions), *compress(others, others.values())]
        raise errors.no_such("group", only[1:], names, path=facts.reader.source.url)
    return {"/": groups[only]}


def _root(model: DatasetModel, *, squeeze: bool) -> xr.Dataset:
    """Return what spans all positions: the attributes, and the names of the positions.

    There are no axes with labels here: every group would inherit them, also the table of events.
    """
    dataset = xr.Dataset(attrs=model.attrs)
    names = model.coords.get("position_name")
    if names is not None and names.dims:
        # An axis P of another length would conflict with that of the positions, which have one with squeeze=False.
        dims = ("position",) if "P" in model.image.dims and not squeeze else names.dims
        dataset["position_name"] = to_variable(replace(names, dims=dims))
    return dataset


def _events(facts: Facts, clock: Clock) -> dict[str, VariableModel]:
    """Return recorded data, one row per frame, and the events of the experiment; empty if there is neither.

    Columns that do not have a value for each frame are on an axis of their own.
    """
    reader = facts.reader
    events = reader.experiment_events
    if not facts.recorded and facts.frame_times is None and not events:
        return {}
    frames = FrameGrid.from_counts([("frame", reader.layout.frame_count)])
    table = time_coordinate(facts, frames, clock)
    grid = reader.layout.grid
    for name, size in reader.layout.loops:
        index = TableColumn(np.arange(size), grid.with_dims([name]))
        table[f"{name}_index"] = frame_variable(frames, index, {"long_name": f"index on {name}"})
    names = position_names(facts)
    if names is not None:
        named = TableColumn(np.asarray(names.values), grid.with_dims(names.dims))
        table["position_name"] = frame_variable(frames, named, names.attrs)
    columns = column_names(facts.recorded.values(), table)
    table |= recorded_coordinates(facts, frames, table)
    for identifier, column in facts.recorded.items():
        if columns[identifier] not in table and len(column.values):
            rows = (f"row_{len(column.values)}",)
            table[columns[identifier]] = VariableModel(rows, column.values, column_attrs(column))
    return table | _event_coords(events, clock)


def _event_coords(events: list[ExperimentEvent], clock: Clock) -> dict[str, VariableModel]:
    """Return the events of the experiment on the axis ``event``."""
    if not events:
        return {}
    seconds = clock.convert(np.array([event.time for event in events], np.float64))
    columns: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
        "event_time": (seconds, {"long_name": "time of the event", **clock.units}),
        "event_meaning": (np.array([int(event.meaning) for event in events]), {"long_name": "code"}),
        "event_description": (np.array([event.description for event in events], np.str_), {}),
        "event_data": (np.array([event.data or "" for event in events], np.str_), {}),
    }
    return {name: VariableModel(("event",), values, attrs) for name, (values, attrs) in columns.items()}


def _tiles(tiles: LargeImage, attrs: dict[str, Any]) -> xr.Dataset:
    """Return the grid of fields that a stitched image was made of."""
    number = np.arange(tiles.rows * tiles.columns).reshape(tiles.rows, tiles.columns)
    stated = {**vars(tiles), "stitched": int(tiles.stitched)}
    known = {key: value for key, value in stated.items() if key not in ("rows", "columns") and value not in ("", None)}
    return xr.Dataset(
        {"tile": (("tile_y", "tile_x"), number, {"long_name": "number of the field, row by row"})},
        coords={"tile_y": np.arange(tiles.rows), "tile_x": np.arange(tiles.columns)},
        attrs={**attrs, **known},
    )
