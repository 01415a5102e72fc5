"""Writers that napari calls to save layers: image layers are the channels of one image, labels its binary layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.views.channels import unique_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr

    from xarray_nd2.napari.regions import Layer

_USUAL = ("YX", "ZYX", "TZYX", "TPZYX")
"""Axes of layers whose axes have no names."""
_LOOPS = "TPZU"


def write_nd2(path: str, layers: Sequence[Layer]) -> list[str]:
    """Write layers as an ND2 file, and return its path; without a suffix, ``.nd2`` is appended.

    A file that exists is never replaced, whatever napari's dialog asked.
    """
    from nd2._core.write.arrays import imwrite

    path = _with_suffix(path, ".nd2")
    imwrite(path, to_dataset(layers))
    return [path]


def write_ome_zarr(path: str, layers: Sequence[Layer]) -> list[str]:
    """Write layers as OME-Zarr with several levels, and return its path; without a suffix, ``.zarr`` is appended.

    A folder that exists is never replaced.
    """
    from xarray_nd2.accessor import ND2Accessor

    path = _with_suffix(path, ".zarr")
    ND2Accessor(to_dataset(layers)).write_ome_zarr(path, levels="auto")
    return [path]


def _with_suffix(path: str, suffix: str) -> str:
    return path if Path(path).suffix else path + suffix


def to_dataset(layers: Sequence[Layer]) -> xr.Dataset:
    """Return layers as a dataset like that of the engine; nothing is computed.

    Names, colors, sizes of pixels and steps are those of the layers. Other metadata of the file from which the
    layers come are kept if their shape is still that of the file.
    """
    import xarray as xr

    images = [layer for layer in layers if layer[2] == "image"]
    if not images:
        raise ValueError("there is no image layer to write")
    color = [bool(options.get("rgb")) for _, options, _ in images]
    if any(color) and len(images) > 1:
        raise ValueError("an image in color must be the only image layer that is written")
    arrays = [_pixels(layer) for layer in images]
    _check_alike([options["name"] for _, options, _ in images], arrays)
    _, options, _ = images[0]
    dims = _dims(options, arrays[0].ndim - color[0])
    coords = _coords(options, dims, arrays[0].shape)
    if color[0]:
        pixels, image_dims = arrays[0][..., :3], (*dims, "S")
        coords["S"] = ["R", "G", "B"]
    else:
        loops = len(dims) - 2
        pixels, image_dims = np.stack(arrays, axis=loops), (*dims[:loops], "C", *dims[loops:])
        coords["C"] = unique_names([options["name"] for _, options, _ in images])
        coords["channel_color"] = ("C", [_color(options.get("colormap")) for _, options, _ in images])
    variables = {"image": (image_dims, pixels)}
    for layer in layers:
        if layer[2] == "labels":
            mask = _pixels(layer)
            if mask.shape != tuple(pixels.shape[image_dims.index(dim)] for dim in dims):
                raise ValueError(f"labels {layer[1]['name']!r} have another shape than the images")
            variables[f"labels_{layer[1]['name']}"] = (dims, mask)
    return _with_origin(options, xr.Dataset(variables, coords))


def _pixels(layer: Layer) -> Any:
    """Return the pixels of a layer in full resolution, as a dask array."""
    import dask.array as da

    data, options, kind = layer
    pixels: Any = da.asarray(data[0] if options.get("multiscale") else data)  # type: ignore[no-untyped-call]
    # ND2 takes object numbers of any integer type, but not booleans.
    return pixels.astype(np.uint8) if kind == "labels" and pixels.dtype == bool else pixels


def _check_alike(names: Sequence[str], arrays: Sequence[Any]) -> None:
    first = (arrays[0].shape, arrays[0].dtype)
    for name, array in zip(names, arrays, strict=True):
        if (array.shape, array.dtype) != first:
            raise ValueError(
                f"images of one file have one shape and one type, but {name!r} has {array.shape}, "
                f"{array.dtype}, and {names[0]!r} {first[0]}, {first[1]}: save them separately"
            )


def _dims(options: Mapping[str, Any], ndim: int) -> tuple[str, ...]:
    """Return the axis of each dimension: by the names of the axes, or else the usual ones."""
    names = tuple(str(name).upper() for name in options.get("axis_labels") or ())
    loops = names[:-2]
    if len(names) == ndim and names[-2:] == ("Y", "X") and len(set(loops)) == len(loops):
        loops = tuple("U" if name == "FILE" else name for name in loops)
        if all(name[0] in _LOOPS and (len(name) == 1 or name[1:].isdigit()) for name in loops):
            return (*loops, "Y", "X")
    usual = next((dims for dims in _USUAL if len(dims) == ndim), None)
    if usual is None:
        raise ValueError(
            f"a layer of {ndim} dimensions needs names of its axes, as layer.axis_labels = ('T', 'P', 'Z', 'Y', 'X')"
        )
    return tuple(usual)


def _coords(options: Mapping[str, Any], dims: Sequence[str], shape: Sequence[int]) -> dict[str, Any]:
    """Return the coordinates of the axes that have a unit of length or time."""
    coords: dict[str, Any] = {}
    units = options.get("units") or ("pixel",) * len(dims)
    starts = options.get("translate")
    starts = (0.0,) * len(dims) if starts is None else starts
    for dim, size, step, start, unit in zip(
        dims, shape, options.get("scale", (1.0,) * len(dims)), starts, units, strict=False
    ):
        if str(unit) not in ("pixel", "", "dimensionless") and dim[0] in "TZYX":
            start = 0.0 if dim in ("Y", "X") else float(start)
            coords[dim] = (dim, start + float(step) * np.arange(size), {"units": str(unit)})
    return coords


def _color(colormap: Any) -> str:
    """Return the color of the brightest values in a colormap, as layers store it."""
    colors = colormap.get("colors") if isinstance(colormap, dict) else None
    if colors is None:
        return "#FFFFFF"
    red, green, blue = (round(255 * float(part)) for part in np.asarray(colors)[-1][:3])
    return f"#{red:02X}{green:02X}{blue:02X}"


def _with_origin(options: Mapping[str, Any], dataset: xr.Dataset) -> xr.Dataset:
    """Add the metadata of the file from which a layer comes, if the axes are still those of the file."""
    metadata = options.get("metadata") or {}
    origin = metadata.get("dataset")
    if origin is None:
        return dataset
    if "position" in metadata and "P" in origin.dims:
        origin = origin.isel(P=metadata["position"])
    frames = {dim: n for dim, n in origin["image"].sizes.items() if dim not in ("C", "S")}
    if frames != {dim: n for dim, n in dataset["image"].sizes.items() if dim not in ("C", "S")}:
        return dataset
    channels = [str(name) for name in np.atleast_1d(origin["C"].values)] if "C" in origin.coords else []
    same = channels == [str(name) for name in np.atleast_1d(dataset.coords.get("C", []))]
    coords = {
        name: coordinate.variable  # by position: labels of an axis may differ by a rounding
        for name, coordinate in origin.coords.items()
        if name not in dataset.coords and ("C" not in coordinate.dims or same)
    }
    return dataset.assign_coords(coords).assign_attrs(origin.attrs)
