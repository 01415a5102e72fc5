"""Metadata of OME-Zarr 0.5: axes, scales, channels and their colours, for images that stay where they are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.export.zarr_documents import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xarray_nd2.dataset.model import DatasetModel

_ORDER = "TCSZYX"
_KINDS = {
    "t": {"type": "time", "unit": "second"},
    "c": {"type": "channel"},
    "z": {"type": "space", "unit": "micrometer"},
    "y": {"type": "space", "unit": "micrometer"},
    "x": {"type": "space", "unit": "micrometer"},
}
_SAMPLE_COLORS = {"R": "FF0000", "G": "00FF00", "B": "0000FF"}
_COLORS = ("00FF00", "FF00FF", "00FFFF", "FF0000", "0000FF", "FFFF00", "FFFFFF")


def axes(dims: Iterable[str]) -> dict[str, str]:
    """Return the axes of an image in the order of OME-Zarr (time, channel, space), each with its name there.

    Raises
    ------
    ValueError
        If there is an axis that OME-Zarr does not have.
    """
    dims = tuple(dims)
    names = {dim: "c" if dim == "S" else dim.lower() for dim in dims}
    odd = [dim for dim in dims if names[dim] not in _KINDS]
    if odd:
        raise ValueError(f"OME-Zarr has no axis for {', '.join(odd)}; use layout='flat'")
    if "C" in dims and "S" in dims:
        raise ValueError(
            "OME-Zarr has one axis for channels: it cannot hold several colour channels; use layout='flat'"
        )
    return {dim: names[dim] for dim in sorted(dims, key=_ORDER.index)}


def image_attrs(model: DatasetModel, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the attributes of the group of an image whose array is ``0``.

    Times and heights that are not equally spaced cannot be said by a scale, which is that of the mean step.
    """
    calibrated = {
        name: "units" in model.coords[name.upper()].attrs if name.upper() in model.coords else False
        for name in names
    }
    multiscale = {
        "name": os.path.splitext(os.path.basename(str(model.attrs.get("source", ""))))[0],
        "axes": [
            {"name": name, **(_KINDS[name] if calibrated[name] else {"type": _KINDS[name]["type"]})}
            for name in names
        ],
        "datasets": [
            {
                "path": "0",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [_step(model, name) for name in names]}
                ],
            }
        ],
    }
    ome: dict[str, Any] = {"version": VERSION, "multiscales": [multiscale]}
    channels = _channels(model)
    if channels:
        ome["omero"] = {"channels": channels, "rdefs": {"model": "color"}}
    return {"ome": ome}


def _step(model: DatasetModel, name: str) -> float:
    """Return the distance of two items of an axis; 1 where it is not known."""
    variable = model.coords.get(name.upper())
    if name == "c" or variable is None:
        return 1.0
    values = np.asarray(variable.values).astype(float)
    if values.size < 2:
        return 1.0
    step = abs(float(values[-1] - values[0])) / (len(values) - 1)
    return step if np.isfinite(step) and step > 0 else 1.0


def _channels(model: DatasetModel) -> list[dict[str, Any]]:
    """Return how viewers show each channel: name, colour, and the whole range of values."""
    sampled = "S" in model.image.dims
    variable = model.coords.get("S" if sampled else "C")
    if variable is None:
        return []
    labels = [str(label) for label in np.atleast_1d(np.asarray(variable.values))]
    colors = model.coords.get("channel_color")
    given = (
        []
        if sampled or colors is None
        else [str(c) for c in np.atleast_1d(np.asarray(colors.values))]
    )
    top = float(model.image_attrs.get("valid_max", 1))
    return [
        {
            "label": label,
            "color": _SAMPLE_COLORS.get(label)
            if sampled
            else (given[i].lstrip("#") if i < len(given) else _COLORS[i % len(_COLORS)]),
            "active": True,
            "window": {"min": 0.0, "max": top, "start": 0.0, "end": top},
        }
        for i, label in enumerate(labels)
    ]


def collection_attrs() -> dict[str, Any]:
    """Return the attributes of a root that holds one image for each position."""
    return {"ome": {"version": VERSION, "bioformats2raw.layout": 3}}


def series_attrs(names: list[str]) -> dict[str, Any]:
    """Return the attributes of the group ``OME`` beside the images of a collection."""
    return {"ome": {"version": VERSION, "series": names}}
