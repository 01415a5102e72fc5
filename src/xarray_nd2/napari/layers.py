"""The layers of a file, as napari's readers return them: ``(data, options, type)``."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from nd2._core import errors
from nd2._core.open import open_reader
from nd2._core.views.channels import is_bright_field
from nd2._core.views.dask import to_dask
from nd2._core.views.facts import Facts
from nd2._core.views.jsonable import plain
from nd2._core.views.picture import contrast_limits
from nd2._core.views.pyramid import Pyramid
from xarray_nd2.dataset.build import dataset_model
from xarray_nd2.datasets import in_rgb_order, to_dataset
from xarray_nd2.napari.regions import Layer, region_layers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from nd2._core.frames.array import FrameArray
    from nd2._core.frames.selection import LazyArray
    from nd2._core.open import OpenOptions
    from xarray_nd2.dataset.coords import FrameValues
    from xarray_nd2.dataset.model import DatasetModel

Positions = Literal["axis", "layers"]

MAX_PLANE = 4096
"""Larger planes, in pixels of the longer side, are shown by levels: many graphics cards take no larger image."""
_SAMPLE_BYTES = 16 << 20
"""Only some rows of larger frames are read for the contrast."""
_BANDS, _BAND_ROWS = 8, 4
_IMAGE_BYTES, _LABEL_BYTES = 256 << 20, 64 << 20
"""Bytes of frames and levels to keep in memory, for the image of a file and for each of its binary layers."""
_SAMPLE_SIDE = 512


def read_layers(path: Any, *, positions: Positions = "axis", **options: Unpack[OpenOptions]) -> list[Layer]:
    """Return the layers of a file for napari; their pixels are read when they are shown.

    Parameters
    ----------
    path : str, os.PathLike, BinaryIO
        Local path, URL that fsspec supports, or open binary file.
    positions : {"axis", "layers"}
        Whether stage positions are an axis with a slider, or one set of layers for each position, placed by
        the position of the stage.
    **options
        As `nd2.ND2File` takes them: ``storage_options``, ``index``, ``rescue`` ...

    Returns
    -------
    list of (data, options, type)
        One image for each channel, or for each image in color; labels for each binary layer; shapes for regions
        of interest. Channels that composites leave out, such as bright field, come first and are hidden.
        ``options["metadata"]`` holds the file's metadata, its events, and the file as an ``xarray.Dataset``.

    Raises
    ------
    OSError
        If the file cannot be opened, or is not ND2.
    ValueError
        If it is damaged, or ``positions`` is neither of these.

    Examples
    --------
    >>> for data, options, kind in read_layers("plate.nd2", positions="layers"):  # doctest: +SKIP
    ...     viewer.add_layer(napari.layers.Layer.create(data, options, kind))
    """
    if positions not in ("axis", "layers"):
        raise ValueError(f"positions must be 'axis' or 'layers', not {positions!r}")
    with ExitStack() as failure:
        reader = failure.enter_context(open_reader(path, **options))
        facts = Facts(reader)
        model = dataset_model(facts)
        image = in_rgb_order(model.image)
        levels = _levels(image)
        labels = [
            (layer.attrs, _levels(cast("FrameValues", layer.values), nearest=True, limit=_LABEL_BYTES))
            for layer in model.labels.values()
        ]
        limits = _sampled_limits(levels, image)
        whole = _Part(facts, model.image, _metadata(facts, model), levels, limits, labels)
        parts = [whole] if positions == "axis" else whole.positions()
        layers = [layer for part in parts for layer in part.layers()]
        failure.pop_all()  # the layers keep the source
    reader.source.settle()
    return layers


def add_layers(viewer: Any, path: Any, *, positions: Positions = "axis", **options: Unpack[OpenOptions]) -> list[Any]:
    """Add the layers of a file to a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    path, positions, **options
        As `read_layers` takes them.

    Returns
    -------
    list of napari.layers.Layer
        The layers that were added.

    Raises
    ------
    ImportError
        If napari is not installed.
    OSError, ValueError
        As in `read_layers`.

    Examples
    --------
    >>> viewer = napari.Viewer()  # doctest: +SKIP
    >>> add_layers(viewer, "s3://bucket/plate.nd2", storage_options={"anon": True})  # doctest: +SKIP
    """
    with errors.requirement("napari", "napari", "to show layers"):
        from napari.layers import Layer
    layers = [Layer.create(*layer) for layer in read_layers(path, positions=positions, **options)]
    for layer in layers:
        viewer.add_layer(layer)
    return layers


def _metadata(facts: Facts, model: DatasetModel) -> dict[str, Any]:
    """Return the metadata that all layers of a file share."""
    reader = facts.reader
    return {
        "source": reader.source.url,
        "acquisition_date": facts.start_text,
        "software": facts.software,
        "attributes": plain(reader.attributes),
        "experiment": plain(reader.experiment),
        "metadata": plain(reader.metadata),
        "text_info": plain(reader.text_info),
        "events": [plain(event) for event in reader.experiment_events],
        "dataset": to_dataset(model),
    }


@dataclass(frozen=True)
class _Part:
    """A file, or one position of it, as layers; they have the axes of its image.

    All positions share levels and ranges of values: memory is bounded for the file as a whole, and channels can be
    compared.
    """

    facts: Facts
    image: FrameArray
    metadata: Mapping[str, Any]
    levels: Pyramid
    limits: list[tuple[float, float]]
    labels: list[tuple[dict[str, Any], Pyramid]]
    position: int | None = None

    def positions(self) -> list[_Part]:
        """Return the part at each position; the file itself if it has no positions."""
        if "P" not in self.facts.loops:
            return [self]
        return [self._position(index) for index in range(self.image.all_sizes["P"])]

    def _position(self, index: int) -> _Part:
        named = {"position": index, "position_name": self.facts.position_names[index]}
        image = self.image.fix("P", index).drop_dims("P")
        return replace(self, image=image, metadata={**self.metadata, **named}, position=index)

    def layers(self) -> list[Layer]:
        """Return images, labels and regions, from bottom to top."""
        axes = _axes(self.facts, self.image, self._place())
        layers = [
            *self._images(axes),
            *(self._labels(attrs, levels, axes) for attrs, levels in self.labels),
            *region_layers(self.facts, self.image, axes, self.position),
        ]
        for _, options, _ in layers:
            options["metadata"] = {**self.metadata, **options.get("metadata", {})}
            if self.position is not None:
                position = self.metadata["position_name"] or f"position {self.position}"
                options["name"] = f"{options['name']} [{position}]"
        return layers

    def _arrays(self, levels: Pyramid, **picks: int) -> list[Any]:
        """Return the levels of this part as dask arrays, at an index of the axes that are given."""
        if self.position is not None:
            picks["P"] = self.position
        key = tuple(picks.get(dim, slice(None)) for dim in levels.dims)
        arrays = []
        for number in range(levels.levels):
            level = levels.level(number).narrow(key)
            whole = tuple(
                size if dim in ("Y", "X") else part
                for dim, size, part in zip(level.dims, level.shape, level.chunks, strict=True)
            )
            arrays.append(to_dask(level, whole if levels.levels == 1 else level.chunks))
        return arrays

    def _place(self) -> tuple[float, float]:
        """Return where the corner of the image is, y and x in micrometers; 0 if positions are an axis."""
        if self.position is None:
            return (0.0, 0.0)
        return self.facts.corner(self.image.grid.first) or (0.0, 0.0)

    def _images(self, axes: Mapping[str, Any]) -> list[Layer]:
        """Return one layer for each channel, first those that composites leave out."""
        facts = self.facts
        channels = facts.channels
        shown = facts.composite_channels
        layers: list[Layer] = []
        for c in sorted(range(len(channels)), key=shown.__contains__):
            channel = channels[c]
            covers = is_bright_field(channel.modality) or c not in shown
            options = {
                "name": channel.unique_name,
                "visible": c in shown,
                "metadata": {"channel": plain(channel.meta)},
                **axes,
            }
            arrays = self._arrays(self.levels, C=c)
            if facts.is_color:
                layers.append(_layer(_bright(arrays, facts), {**options, "rgb": True}, "image"))
                continue
            gray = {
                "rgb": False,
                "colormap": "gray" if channel.hex == "FFFFFF" else f"#{channel.hex}",
                "blending": "translucent_no_depth" if covers else "additive",
                "contrast_limits": self.limits[c],
            }
            layers.append(_layer(arrays, {**options, **gray}, "image"))
        return layers

    def _labels(self, attrs: Mapping[str, Any], levels: Pyramid, axes: Mapping[str, Any]) -> Layer:
        known = {"channel": attrs.get("channel"), "color": attrs.get("color")}
        options = {"name": attrs["long_name"], "opacity": 0.5, "metadata": {"binary_layer": known}, **axes}
        return _layer(self._arrays(levels), options, "labels")


def _axes(facts: Facts, image: FrameArray, place: tuple[float, float]) -> dict[str, Any]:
    """Return the options of layers that say where axes are: item ``i`` at ``translate + i * scale``, in a unit of pint.

    ``place`` is the corner of the image, y and x in micrometers.
    """
    dims = tuple(dim for dim in image.dims if dim not in "CS")
    scale, translate, units = zip(*(_axis(facts, image, dim, place) for dim in dims), strict=True)
    return {"scale": scale, "translate": translate, "units": units, "axis_labels": dims}


def _axis(facts: Facts, image: FrameArray, dim: str, place: tuple[float, float]) -> tuple[float, float, str]:
    """Return scale, translation and unit of an axis."""
    unknown = 1.0, 0.0, "pixel"
    if dim in ("Y", "X"):
        if facts.pixel_size is None:
            return unknown
        x, y = facts.pixel_size
        return (y, place[0], "um") if dim == "Y" else (x, place[1], "um")
    count = image.sizes[dim]
    if dim[0] == "Z":
        heights = facts.heights(dim, count)
        # Viewers count upward: a stack that goes down has the distance of its planes, but not their heights.
        first, step = float(heights[0]), float(heights[1] - heights[0])
        return (abs(step), first if step > 0 else 0.0, "um") if step else unknown
    if dim[0] == "T":
        frames = image.grid.steps(dim)
        step_ms = facts.time_step(frames)
        times = facts.step_times(frames)
        if step_ms is not None and times.source is not None:
            return step_ms / 1000, float(times.values[0]) / 1000, "s"
    return unknown


def _levels(planes: LazyArray, *, nearest: bool = False, limit: int = _IMAGE_BYTES) -> Pyramid:
    y = planes.dims.index("Y")
    large = max(planes.shape[y : y + 2]) > MAX_PLANE
    return Pyramid(planes, None if large else 1, nearest=nearest, limit=limit)


def _layer(arrays: list[Any], options: dict[str, Any], kind: str) -> Layer:
    multiscale = len(arrays) > 1
    # The pyramid caches frames: a second cache would cost memory, and 90 ms for a step of a slider.
    options = {**options, "multiscale": multiscale, "cache": False}
    return arrays if multiscale else arrays[0], options, kind


def _bright(arrays: list[Any], facts: Facts) -> list[Any]:
    """Scale color images of fewer than 16 significant bits: viewers do not adjust their contrast, so they look dark."""
    spare = 8 * arrays[0].dtype.itemsize - facts.significant_bits
    return [array << spare for array in arrays] if facts.max_value and spare > 0 else arrays


def _sampled_limits(levels: Pyramid, image: FrameArray) -> list[tuple[float, float]]:
    """Return the range of values to show of each channel, by a sample of the frame in the middle.

    A viewer shows this frame first. It is kept, so that showing it reads nothing more.
    """
    index = _middle(image)
    dims = image.dims[len(index) :]
    steps = {dim: max(-(-image.sizes[dim] // _SAMPLE_SIDE), 1) for dim in "YX"}
    pixels = image.frames.pixels
    if pixels.codec != "raw" or pixels.frame_bytes <= _SAMPLE_BYTES:
        whole = levels.level(0)[(*index, ...)]
        values = whole[tuple(slice(None, None, steps.get(dim, 1)) for dim in dims)]
    else:
        starts = np.linspace(0, pixels.height - _BAND_ROWS, _BANDS).astype(int)
        rows = (starts[:, None] + np.arange(_BAND_ROWS)).reshape(-1)
        parts = {"Y": rows, "X": slice(None, None, steps["X"])}
        values = image.read((*index, *(parts.get(dim, slice(None)) for dim in dims)))
    return [contrast_limits(channel) for channel in (values if "C" in dims else values[None])]


def _middle(image: FrameArray) -> tuple[int, ...]:
    """Return the index of the frame that is nearest to the middle of those that the file holds."""
    shape = image.grid.shape
    middle = tuple((size - 1) // 2 for size in shape)
    frames = image.grid.frames()
    held = np.flatnonzero(image.frames.table.present(int(frames.max()) + 1)[frames])
    if not shape or not len(held):
        return middle
    nearest = held[np.abs(held - np.ravel_multi_index(middle, shape)).argmin()]
    return tuple(map(int, np.unravel_index(nearest, shape)))
