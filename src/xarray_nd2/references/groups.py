"""One file as a hierarchy of Zarr groups, before any library: one group, one for each position, or an OME-Zarr image."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nd2._core.io.urls import redact
from xarray_nd2.dataset.model import DatasetModel, VariableModel, dataset_model
from xarray_nd2.references import ome_zarr
from xarray_nd2.references.check import check_frames
from xarray_nd2.references.zarr_array import ZarrModel, zarr_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nd2._core.frames.array import FrameArray
    from nd2._core.readers import Reader

Grouping = Literal["flat", "positions", "ome-zarr"]

INLINE_LIMIT = 8 << 20
"""Bytes up to which a coordinate that varies from frame to frame is written beside the references."""

SOURCE_SIZE, SOURCE_VERSION = "nd2_source_size", "nd2_source_version"
"""Attributes that tell later whether the file is still the one that was described."""


@dataclass(frozen=True)
class GroupModel:
    """One Zarr group.

    Attributes
    ----------
    path : str
        Place in the hierarchy; empty for the root.
    attrs : dict
        Its attributes.
    image : ZarrModel, optional
        Its image.
    image_name : str
        Name of the image's array.
    image_dims : tuple of str
        Names of the image's axes.
    image_attrs : dict
        Attributes of the image.
    coords : dict of str to VariableModel
        Coordinates of the image.
    """

    path: str
    attrs: Mapping[str, Any]
    image: ZarrModel | None = None
    image_name: str = "image"
    image_dims: tuple[str, ...] = ()
    image_attrs: Mapping[str, Any] = field(default_factory=dict)
    coords: Mapping[str, VariableModel] = field(default_factory=dict)

    @property
    def array_attrs(self) -> dict[str, Any]:
        """Attributes of the image's array, with the names of the coordinates that are no axes as CF has them."""
        others = " ".join(name for name in self.coords if name not in self.image_dims)
        return {**self.image_attrs, **({"coordinates": others} if others else {})}

    @property
    def prefix(self) -> str:
        """Beginning of the keys of all that is in the group."""
        return f"{self.path}/" if self.path else ""


def hierarchy(
    reader: Reader,
    *,
    layout: Grouping = "flat",
    stored_order: bool,
    url: str | None = None,
    inline_coords: bool | int = True,
    squeeze: bool = True,
    check: bool = True,
) -> tuple[str, list[GroupModel]]:
    """Describe a file as groups, the root first, and return them with the file's URL.

    Parameters
    ----------
    reader : Reader
        The file.
    layout : {"flat", "positions", "ome-zarr"}
        One group for all; a group for each position; an OME-Zarr image, or one for each position.
    stored_order : bool
        Whether axes run as the bytes lie (channels last), so that no transpose codec is needed.
    url : str, optional
        Where readers find the file; by default where ``reader`` has it from.
    inline_coords : bool or int
        Whether there are coordinates; a number is the most bytes that one which varies from frame to frame may take.
    squeeze : bool
        Whether axes of size 1 other than Y and X are dropped.
    check : bool
        Whether every frame's place is compared with the head of its chunk.

    Raises
    ------
    ValueError
        If the file is damaged, its frames are no Zarr chunks, or the URL holds a credential.
    """
    model = dataset_model(reader, squeeze=squeeze, labels=False)
    address = _public_url(url if url is not None else reader.source.url)
    coords, left_out = _written_coords(model, inline_coords)
    attrs = {**model.attrs, "source": address, **source_attrs(reader)}
    if left_out:
        attrs["coordinates_left_out"] = left_out
    model = replace(model, coords=coords, attrs=attrs)
    if layout == "ome-zarr":
        groups = ome_groups(model, zarr_model)
    elif layout == "positions" and "P" in model.image.dims:
        groups = [GroupModel("", model.attrs)]
        groups += [
            _group(f"P{i}", part, stored_order) for i, part in enumerate(position_models(model))
        ]
    else:
        groups = [_group("", model, stored_order)]
    if check:
        check_frames(reader, model.image.grid.frames().reshape(-1))
    return address, groups


def source_attrs(reader: Reader) -> dict[str, Any]:
    """Return the attributes that tell later whether the file is still the same: size, and ETag or mtime."""
    _, size, version = reader.source.identity
    return {SOURCE_SIZE: int(size), SOURCE_VERSION: version}


def _public_url(url: str) -> str:
    """Return a URL that may be written down; one that holds a credential is refused."""
    if not url:
        raise ValueError("the file object has no name: say with url= where readers find the file")
    if redact(url) != url:
        raise ValueError(
            f"the URL holds a credential, which must not enter references: pass url={redact(url)!r}, "
            "and give the credential when the references are read"
        )
    return url


def _group(path: str, model: DatasetModel, stored_order: bool) -> GroupModel:
    """Describe a dataset as one group."""
    stored = zarr_model(model.image)
    image = stored if stored_order else stored.with_dims(model.image.dims)
    return GroupModel(
        path, model.attrs, image, "image", image.dims, model.image_attrs, model.coords
    )


def _written_coords(
    model: DatasetModel, inline_coords: bool | int
) -> tuple[dict[str, VariableModel], list[str]]:
    """Return the coordinates that are written, in memory, and the names of those that are too large for it."""
    if inline_coords is False:
        return {}, []
    limit = INLINE_LIMIT if inline_coords is True else inline_coords
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
    model: DatasetModel, describe: Callable[[FrameArray], ZarrModel]
) -> list[GroupModel]:
    """Describe a dataset as OME-Zarr: the image in the root, or one image group for each position.

    Parameters
    ----------
    model : DatasetModel
        The file.
    describe : callable
        What describes an image as a Zarr array.

    Raises
    ------
    ValueError
        If there is an axis that OME-Zarr does not have.
    """
    parts = position_models(model)
    if "P" not in model.image.dims:
        return [_ome_group("", parts[0], describe)]
    names = [str(i) for i in range(len(parts))]
    return [
        GroupModel("", {**ome_zarr.collection_attrs(), **model.attrs}),
        GroupModel("OME", ome_zarr.series_attrs(names)),
        *(_ome_group(name, part, describe) for name, part in zip(names, parts, strict=True)),
    ]


def _ome_group(
    path: str, model: DatasetModel, describe: Callable[[FrameArray], ZarrModel]
) -> GroupModel:
    axes = ome_zarr.axes(model.image.dims)
    names = tuple(axes.values())
    attrs = {**ome_zarr.image_attrs(model, names), **model.attrs}
    image = describe(model.image).with_dims(tuple(axes))
    return GroupModel(path, attrs, image, "0", names)
