"""A file as Zarr groups: one group, one for each position, or an OME-Zarr image."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nd2._core.export import zarr_documents
from nd2._core.io.urls import redact
from xarray_nd2.dataset.model import DatasetModel, dataset_model
from xarray_nd2.references.arrays import ZarrArray, ZarrGroup, image_array
from xarray_nd2.references.check import check_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from nd2._core.frames.array import FrameArray
    from nd2._core.readers import Reader
    from xarray_nd2.dataset.variable import VariableModel

LayoutName = Literal["flat", "positions", "ome-zarr"]

MAX_INLINE = 8 << 20
"""Bytes up to which a coordinate that varies from frame to frame is written with the references."""

SOURCE_SIZE, SOURCE_VERSION = "nd2_source_size", "nd2_source_version"
"""Attributes that show later whether the file is still the one that was described."""

_OME_ORDER = "TCSZYX"
_SAMPLE_COLORS = {"R": "FF0000", "G": "00FF00", "B": "0000FF"}
_COLORS = ("00FF00", "FF00FF", "00FFFF", "FF0000", "0000FF", "FFFF00", "FFFFFF")


@dataclass(frozen=True)
class LayoutOptions:
    """What references hold and where they lead, as the user chose it; see `to_kerchunk`."""

    url: str | None = None
    layout: LayoutName = "flat"
    inline_coords: bool | int = True
    squeeze: bool = True
    check: bool = True


def describe(reader: Reader, options: LayoutOptions, *, stored_order: bool) -> list[ZarrGroup]:
    """Describe a file as groups, the root first.

    With ``stored_order``, axes run as the bytes lie (channels last) and need no transpose codec.

    Raises
    ------
    ValueError
        If the file is damaged, its frames are not Zarr chunks, or the URL holds a credential.
    """
    if options.layout not in ("flat", "positions", "ome-zarr"):
        raise ValueError(
            f"layout must be 'flat', 'positions' or 'ome-zarr', not {options.layout!r}"
        )
    model = dataset_model(reader, squeeze=options.squeeze, labels=False)
    url = _public_url(reader.source.url if options.url is None else options.url)
    coords, left_out = _inline_coords(model, options.inline_coords)
    _, size, version = reader.source.identity
    attrs = {**model.attrs, "source": url, SOURCE_SIZE: int(size), SOURCE_VERSION: version}
    if left_out:
        attrs["coordinates_left_out"] = left_out
    model = replace(model, coords=coords, attrs=attrs)

    def group(path: str, part: DatasetModel) -> ZarrGroup:
        image = image_array(part.image, url, part.image_attrs)
        image = image if stored_order else image.with_dims(part.image.dims)
        values = {
            name: ZarrArray.from_values(variable.dims, variable.values, variable.attrs)
            for name, variable in part.coords.items()
        }
        return ZarrGroup.from_image(path, part.attrs, image, values)

    if options.layout == "ome-zarr":
        groups = ome_groups(model, lambda image: image_array(image, url, {}))
    elif options.layout == "positions" and "P" in model.image.dims:
        parts = position_models(model)
        groups = [ZarrGroup("", attrs), *(group(f"P{i}", part) for i, part in enumerate(parts))]
    else:
        groups = [group("", model)]
    if options.check:
        check_frames(reader, model.image.grid.frames().reshape(-1))
    return groups


def _public_url(url: str) -> str:
    """Return a URL that may be written; one that holds a credential is refused."""
    if not url:
        raise ValueError("the file object has no name; pass url=, where readers find the file")
    if redact(url) != url:
        raise ValueError(
            "the URL holds a credential, which must not enter references: pass "
            f"url={redact(url)!r}, and give the credential when the references are read"
        )
    return url


def _inline_coords(
    model: DatasetModel, inline_coords: bool | int
) -> tuple[dict[str, VariableModel], list[str]]:
    """Return the coordinates to write, in memory, and the names of those that are too large."""
    if inline_coords is False:
        return {}, []
    limit = MAX_INLINE if inline_coords is True else inline_coords
    sizes = model.image.sizes
    kept, left_out = {}, []
    for name, variable in model.coords.items():
        if "Y" in variable.dims and len(variable.dims) > 1:
            continue  # a picture, such as a layer of labels
        large = 8 * math.prod(sizes[dim] for dim in variable.dims) > limit
        if large and variable.dims != (name,):
            left_out.append(name)
        else:
            kept[name] = replace(variable, values=np.asarray(variable.values))
    return kept, left_out


def position_models(model: DatasetModel) -> list[DatasetModel]:
    """Return the parts of a dataset at each position, without the axis P; the dataset itself where it has none."""
    if "P" not in model.image.dims:
        return [model]
    return [_at_position(model, i) for i in range(model.image.sizes["P"])]


def _at_position(model: DatasetModel, index: int) -> DatasetModel:
    """Return the part of a dataset at one position, without the axis P."""
    image = model.image.fix("P", index).drop_dims("P")
    coords = {
        name: variable
        if "P" not in variable.dims
        else replace(
            variable,
            dims=tuple(dim for dim in variable.dims if dim != "P"),
            values=np.take(np.asarray(variable.values), index, axis=variable.dims.index("P")),
        )
        for name, variable in model.coords.items()
    }
    return replace(model, image=image, coords=coords)


def ome_groups(
    model: DatasetModel, describe_image: Callable[[FrameArray], ZarrArray]
) -> list[ZarrGroup]:
    """Describe a dataset as OME-Zarr: the image in the root, or one image group for each position.

    Raises
    ------
    ValueError
        If there is an axis that OME-Zarr does not have.
    """

    def group(path: str, part: DatasetModel) -> ZarrGroup:
        axes = _ome_axes(part.image.dims)
        image = replace(
            describe_image(part.image).with_dims(tuple(axes)), dims=tuple(axes.values())
        )
        attrs = {"ome": _image_block(part, axes, image.shape), **part.attrs}
        return ZarrGroup(path, attrs, {"0": image})

    parts = position_models(model)
    if "P" not in model.image.dims:
        return [group("", parts[0])]
    names = [str(i) for i in range(len(parts))]
    root, series = zarr_documents.collection(names)
    return [
        ZarrGroup("", {"ome": root, **model.attrs}),
        ZarrGroup("OME", {"ome": series}),
        *(group(name, part) for name, part in zip(names, parts, strict=True)),
    ]


def _ome_axes(dims: tuple[str, ...]) -> dict[str, str]:
    """Return the axes in the order of OME-Zarr (time, channel, space), each with its name there."""
    names = {dim: "c" if dim == "S" else dim.lower() for dim in dims}
    odd = [dim for dim in dims if dim not in _OME_ORDER]
    if odd:
        raise ValueError(f"OME-Zarr has no axis for {', '.join(odd)}; use layout='flat'")
    if "C" in dims and "S" in dims:
        raise ValueError(
            "OME-Zarr has one axis for channels: it cannot hold several color channels; "
            "use layout='flat'"
        )
    return {dim: names[dim] for dim in sorted(dims, key=_OME_ORDER.index)}


def _image_block(
    model: DatasetModel, axes: dict[str, str], shape: tuple[int, ...]
) -> dict[str, Any]:
    """Return the ``ome`` attributes of an image; unequal steps become their mean."""
    steps = [_step(model.coords.get(dim)) for dim in axes]
    units = [model.coords[dim].attrs.get("units") if dim in model.coords else None for dim in axes]
    image = zarr_documents.ImageAxes(
        "".join(axes.values()),
        shape,
        tuple(steps),
        tuple("second" if unit == "s" else unit for unit in units),
    )
    stem = os.path.splitext(os.path.basename(str(model.attrs.get("source", ""))))[0]
    bits = int(model.image_attrs.get("valid_max", 1)).bit_length()
    shown = _shown_channels(model)
    block = {
        "version": zarr_documents.VERSION,
        "multiscales": zarr_documents.multiscales(image, stem),
    }
    return (
        {**block, "omero": zarr_documents.omero(shown, model.image.dtype, bits)} if shown else block
    )


def _step(variable: VariableModel | None) -> float:
    """Return the mean distance between two items of an axis; 1 where it is unknown."""
    if variable is None or variable.values.dtype.kind == "U" or variable.values.shape < (2,):
        return 1.0
    values = np.asarray(variable.values, float)
    step = abs(float(values[-1] - values[0])) / (len(values) - 1)
    return step if np.isfinite(step) and step > 0 else 1.0


def _shown_channels(model: DatasetModel) -> list[tuple[str, str]]:
    """Return label and color of each channel, or of each color sample in stored order."""
    sampled = "S" in model.image.dims
    variable = model.coords.get("S" if sampled else "C")
    if variable is None:
        return []
    labels = np.atleast_1d(np.asarray(variable.values)).tolist()
    if sampled:
        return [(label, _SAMPLE_COLORS[label]) for label in labels]
    colors = model.coords.get("channel_color")
    if colors is None:
        return [(label, _COLORS[i % len(_COLORS)]) for i, label in enumerate(labels)]
    hexes = np.atleast_1d(np.asarray(colors.values)).tolist()
    return [(label, color.lstrip("#")) for label, color in zip(labels, hexes, strict=True)]
