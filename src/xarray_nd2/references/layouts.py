"""A file as Zarr groups: one group, one for each position, or an OME-Zarr image."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from nd2._core.export import zarr_documents
from nd2._core.io.urls import file_stem, redact
from nd2._core.values import record
from nd2._core.views.facts import Facts
from xarray_nd2.dataset.build import dataset_model, position_model
from xarray_nd2.references.arrays import ZarrArray, ZarrGroup, image_array
from xarray_nd2.references.check import check_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nd2._core.frames.array import FrameArray
    from nd2._core.readers import Reader
    from xarray_nd2.dataset.model import DatasetModel, VariableModel

LayoutName = Literal["flat", "positions", "ome-zarr"]

MAX_INLINE = 8 << 20
"""Bytes up to which a coordinate that varies from frame to frame is written with the references."""

SOURCE_SIZE, SOURCE_VERSION = "nd2_source_size", "nd2_source_version"
"""Attributes that show later whether the file is still the one that was described."""

_OME_ORDER = "TCSZYX"


@record
class LayoutOptions:
    """Content and target of references, as the user chose them; see `to_kerchunk`."""

    url: str | None = None
    layout: LayoutName = "flat"
    inline_coords: bool | int = True
    squeeze: bool = True
    check: bool = True


def describe(reader: Reader, options: LayoutOptions, *, stored_order: bool) -> list[ZarrGroup]:
    """Describe a file as groups, the root first.

    With ``stored_order``, axes are in the order of the bytes (channels last), without a transpose codec.
    """
    if options.layout not in ("flat", "positions", "ome-zarr"):
        raise ValueError(f"layout must be 'flat', 'positions' or 'ome-zarr', not {options.layout!r}")
    facts = Facts(reader)
    model = dataset_model(reader, facts, squeeze=options.squeeze, labels=False)
    url = _public_url(reader.source.url if options.url is None else options.url)
    model, left_out = _inline_coords(model, options.inline_coords)
    _, size, version = reader.source.identity
    attrs = {**model.attrs, "source": url, SOURCE_SIZE: int(size), SOURCE_VERSION: version}
    if left_out:
        attrs["coordinates_left_out"] = left_out
    model = replace(model, attrs=attrs)

    def group(path: str, part: DatasetModel) -> ZarrGroup:
        image = image_array(part.image, url, part.image_attrs)
        image = image if stored_order else image.with_dims(part.image.dims)
        values = {
            name: ZarrArray.from_values(variable.dims, variable.values, variable.attrs)
            for name, variable in part.coords.items()
        }
        return ZarrGroup.from_image(path, part.attrs, image, values)

    if options.layout == "ome-zarr":
        groups = ome_groups(facts, model, lambda image, _: [image_array(image, url, {})])
    elif options.layout == "positions" and "P" in model.image.dims:
        count = model.image.sizes["P"]
        parts = [group(f"P{i}", position_model(facts, model, i)) for i in range(count)]
        groups = [ZarrGroup("", attrs), *parts]
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
    if url != url.encode(errors="replace").decode():
        raise ValueError(f"references are UTF-8, which cannot hold the path {url!r}: rename the file, or link to it")
    return url


def _inline_coords(model: DatasetModel, inline_coords: bool | int) -> tuple[DatasetModel, list[str]]:
    """Return a dataset with the coordinates to write, in memory, and the names of those that are too large."""
    if inline_coords is False:
        return replace(model, coords={}), []
    limit = MAX_INLINE if inline_coords is True else inline_coords
    sizes = model.image.sizes
    kept: dict[str, VariableModel] = {}
    left_out = []
    for name, variable in model.coords.items():
        if "Y" in variable.dims and len(variable.dims) > 1:
            continue  # a picture, such as a layer of labels
        large = 8 * math.prod(sizes[dim] for dim in variable.dims) > limit
        if large and variable.dims != (name,):
            left_out.append(name)
        else:
            kept[name] = replace(variable, values=np.asarray(variable.values))
    return replace(model, coords=kept), left_out


def ome_groups(
    facts: Facts, model: DatasetModel, describe_image: Callable[[FrameArray, int | None], Sequence[ZarrArray]]
) -> list[ZarrGroup]:
    """Describe a dataset as OME-Zarr: the image in the root, or one image group for each position.

    Parameters
    ----------
    describe_image : callable
        Returns the levels of an image, given with the index of its position (None if there are no
        positions).
    """

    def group(path: str, image: FrameArray, position: int | None) -> ZarrGroup:
        axes = _ome_axes(image.dims)
        levels = [
            replace(array.with_dims(tuple(axes)), dims=tuple(axes.values()))
            for array in describe_image(image, position)
        ]
        names = "".join(axes.values())
        described = zarr_documents.ImageAxes.from_shape(names, levels[0].shape, facts, image.grid.steps("T"))
        stem, order = file_stem(str(model.attrs["source"])), str(image.frames.pixels.sample_order)
        block = zarr_documents.image_block(described, stem, facts, len(levels), order)
        arrays = {str(number): array for number, array in enumerate(levels)}
        return ZarrGroup(path, {"ome": block, **model.attrs}, arrays)

    if "P" not in model.image.dims:
        return [group("", model.image, None)]
    names = [str(i) for i in range(model.image.sizes["P"])]
    root, series = zarr_documents.collection(names)
    images = [model.image.fix("P", i).drop_dims("P") for i in range(len(names))]
    return [
        ZarrGroup("", {"ome": root, **model.attrs}),
        ZarrGroup("OME", {"ome": series}),
        *(group(name, image, i) for i, (name, image) in enumerate(zip(names, images, strict=True))),
    ]


def _ome_axes(dims: tuple[str, ...]) -> dict[str, str]:
    """Return the axes in the order of OME-Zarr (time, channel, space), each with its name there."""
    names = {dim: "c" if dim == "S" else dim.lower() for dim in dims}
    odd = [dim for dim in dims if dim not in _OME_ORDER]
    if odd:
        raise ValueError(f"OME-Zarr has no axis for {', '.join(odd)}; references have it with layout='flat'")
    if "C" in dims and "S" in dims:
        raise ValueError("OME-Zarr has one axis for channels: it cannot hold several color channels; use layout='flat'")
    return {dim: names[dim] for dim in sorted(dims, key=_OME_ORDER.index)}
