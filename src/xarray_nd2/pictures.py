"""Summaries of images, composites in color, and figures with a scale bar."""

from __future__ import annotations

import functools
import io
import math
import operator
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from nd2._core import errors
from nd2._core.export.zarr_documents import ROWS, plate_fields
from nd2._core.frames.array import PIXEL_DIMS
from nd2._core.views.channels import channel_indices, composite_channels, positive
from nd2._core.views.picture import blend, contrast_limits, fitting_shape, middle_steps, scale_bar, stretch, to_8bit
from nd2._core.views.summary import MAX_NAMES, block, listed, swatch, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Channels = int | str | Sequence[int | str] | None

_FALLBACK = ("#00FF00", "#FF00FF", "#00FFFF", "#FF0000", "#0000FF", "#FFFF00", "#FFFFFF")


def as_text(image: xr.DataArray) -> str:
    """Return the lines of a summary."""
    sizes = " x ".join(f"{dim} {size}" for dim, size in image.sizes.items())
    lines = [f"{sizes or 'one pixel'} ({image.dtype})"]
    lines += [f"  {axis}: {' '.join(filter(None, words))}" for axis, _, *words in _axes(image)]
    for channel in _channels(image):
        lines.append("  channel: " + ", ".join(filter(None, channel)))
    return "\n".join(lines)


def as_html(image: xr.DataArray, source: str) -> str:
    """Return tables of the axes and channels; all text is escaped."""
    axes = (tuple(map(escape, row)) for row in _axes(image, all_axes=True))
    channels = (
        (escape(name), swatch(color) if color else "", *map(escape, rest)) for name, color, *rest in _channels(image)
    )
    parts = [f"<div><strong>nd2</strong> {escape(source)} ({escape(str(image.dtype))})</div>"]
    parts.append(table(("axis", "size", "step", ""), axes))
    parts.append(table(("channel", "", "emission", "modality"), channels))
    return block(parts)


def _axes(image: xr.DataArray, *, all_axes: bool = False) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, size, step and names of each axis; by default only of axes with a step or names."""
    for dim, size in image.sizes.items():
        step, names = _step(image, dim), ""
        if str(dim)[0] == "P":
            names = _names(image.coords.get("position_name", image.coords.get(dim)))
        if step or names or all_axes:
            yield str(dim), str(size), step, names


def _step(image: xr.DataArray, dim: Any) -> str:
    """Return the mean distance of neighbors on an axis with its unit; empty if it is not meaningful."""
    coord = image.coords.get(dim)
    if coord is None or coord.size < 2 or str(dim)[0] not in "TZYX":
        return ""
    if coord.dtype.kind == "M":
        seconds = (coord.values[-1] - coord.values[0]) / np.timedelta64(1, "s")
        return f"{seconds / (coord.size - 1):.4g} s"
    unit = coord.attrs.get("units", "")
    if coord.dtype.kind not in "iuf" or unit in ("", "1"):
        return ""
    step = abs(float(coord[-1] - coord[0])) / (coord.size - 1)
    return f"{step:.4g} {'µm' if unit == 'micrometer' else unit}"


def _names(coord: xr.DataArray | None) -> str:
    if coord is None or coord.dtype.kind not in "OUT":
        return ""
    return listed(map(str, np.atleast_1d(coord.values)))


def _channels(image: xr.DataArray) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, color, emission and modality of each channel."""
    if "C" not in image.coords:
        return
    names = _channel_names(image)
    columns = [_channel_values(image, name) for name in ("channel_color", "emission_wavelength", "modality")]
    for name, color, emission, modality in list(zip(names, *columns, strict=True))[:MAX_NAMES]:
        wave = "" if emission is None or not emission > 0 else f"{emission:.4g} nm"
        yield name, str(color or ""), wave, str(modality or "")
    if len(names) > MAX_NAMES:
        yield f"and {len(names) - MAX_NAMES} more", "", "", ""


def one_frame(image: xr.DataArray, indexers: Mapping[str, int | str], channels: Channels = None) -> xr.DataArray:
    """Return one frame of an image in memory: by default the first one, and of a stack the middle plane."""
    for axis in ("Y", "X"):
        if axis not in image.dims:
            raise errors.no_such("axis", axis, map(str, image.dims))
    frames = {dim: size for dim, size in image.sizes.items() if dim not in PIXEL_DIMS}
    for axis in indexers:
        if axis not in frames:
            raise errors.no_such("frame axis", axis, map(str, frames))
    chosen_items = {axis: _item(image, axis, item) for axis, item in indexers.items()}
    middle = dict(zip(frames, middle_steps((str(dim), size) for dim, size in frames.items()), strict=True))
    picture = image.isel({**middle, **chosen_items})
    if "C" not in picture.dims:
        picture = picture.expand_dims("C")
    if channels is not None:
        chosen = [channels] if isinstance(channels, (int, str)) else channels
        picture = picture.isel(C=channel_indices(chosen, _channel_names(picture)))
    return picture.compute()


def _shown(picture: xr.DataArray) -> list[int]:
    """Return which channels a composite shows by default."""
    return composite_channels(
        [str(text).split(", ") for text in _channel_values(picture, "modality", "")],
        [str(text) for text in _channel_values(picture, "channel_color", "")],
        [positive(value) for value in _channel_values(picture, "emission_wavelength")],
    )


def _item(image: xr.DataArray, axis: str, item: int | str) -> int:
    """Return the index on an axis of an index, or of the name of a position."""
    size = image.sizes[axis]
    if isinstance(item, str):
        names = image.coords.get("position_name")
        known = [] if names is None or names.dims != (axis,) else names.values.tolist()
        if item not in known:
            raise errors.no_such("position", item, known)
        return int(known.index(item))
    try:
        item = operator.index(item)
    except TypeError:
        raise errors.not_integer(f"the index on axis {axis!r}", item) from None
    if not -size <= item < size:
        raise IndexError(f"index {item} is out of range for axis {axis!r} of size {size}")
    return item


def _channel_values(image: xr.DataArray, name: str, default: Any = None) -> list[Any]:
    """Return a coordinate of each channel; the default for each if there is no such coordinate."""
    if name not in image.coords:
        return [default] * image.sizes.get("C", 1)
    values: list[Any] = np.atleast_1d(image[name].values).tolist()
    return values


def _channel_names(image: xr.DataArray) -> list[str]:
    """Return the name of each channel; empty texts if they are unknown."""
    return [str(name) for name in _channel_values(image, "C", "")]


def composite(picture: xr.DataArray, channels: Channels = None) -> xr.DataArray:
    """Add channels in their colors, as 8-bit RGB; bright field hides others, so it is included on request only."""
    if channels is None:
        picture = picture.isel(C=_shown(picture))
    layers = _layers(picture)
    rgb = np.minimum(layers.sum(axis=0), 1) if layers.ndim == 4 else blend(layers, _colors(picture))
    coords = {name: picture.coords[name] for name in ("Y", "X") if name in picture.coords}
    return xr.DataArray(
        to_8bit(rgb), dims=("Y", "X", "S"), coords={**coords, "S": ["R", "G", "B"]}, attrs={"long_name": "composite"}
    )


def _layers(picture: xr.DataArray) -> NDArray[np.float32]:
    """Return each channel as numbers from 0 to 1, shape (C, Y, X), or (C, Y, X, 3) for those in color."""
    order = [dim for dim in PIXEL_DIMS if dim in picture.dims]
    values = picture.transpose(*order).values
    if "S" in order and values.shape[-1] >= 3:
        # The contrast of color images is not adjusted.
        top = np.iinfo(values.dtype).max if values.dtype.kind in "ui" else 1.0
        return stretch(values[..., :3], (0.0, min(top, float(picture.attrs.get("valid_max", top)))))
    if "S" in order:
        values = values[..., 0]
    return np.stack([stretch(channel, contrast_limits(channel)) for channel in values])


def _colors(picture: xr.DataArray) -> NDArray[np.float64]:
    """Return the color of each channel as red, green and blue from 0 to 1; white for a single one."""
    count = picture.sizes["C"]
    texts = _channel_values(picture, "channel_color")
    if None in texts:
        texts = ["#FFFFFF"] if count == 1 else [_FALLBACK[i % len(_FALLBACK)] for i in range(count)]
    return np.array([[int(text[i : i + 2], 16) for i in (1, 3, 5)] for text in texts]) / 255


def figure(picture: xr.DataArray, channels: Channels = None) -> Figure:
    """Draw each channel in gray, and the composite."""
    figure_class = _figure_class()
    layers = list(_layers(picture))
    titles = _channel_names(picture)
    panels: list[tuple[str, NDArray[Any]]] = [*zip(titles, layers, strict=True)] if len(layers) > 1 else []
    mixed = composite(picture, channels).values
    panels.append(("composite" if panels else "".join(titles), mixed))
    columns = min(len(panels), 4)
    rows = math.ceil(len(panels) / columns)
    height, width = picture.sizes["Y"], picture.sizes["X"]
    panel_width = 3.2
    panel_height = min(max(panel_width * height / max(width, 1), 0.6), 9.6)
    fig = figure_class(figsize=(panel_width * columns, (panel_height + 0.35) * rows), layout="constrained")
    for i, (title, values) in enumerate(panels):
        axes = fig.add_subplot(rows, columns, i + 1)
        _show(axes, values, picture)
        axes.set_title(title, fontsize=9)
    return fig


def thumbnail(picture: xr.DataArray, size: int, channels: Channels = None) -> Figure:
    """Draw the composite alone, ``size`` pixels on its longer side."""
    figure_class = _figure_class()
    values = composite(picture, channels).values
    height, width = fitting_shape(values.shape[:2], size)
    fig = figure_class(figsize=(width / 100, height / 100), dpi=100)
    axes = fig.add_axes((0, 0, 1, 1))
    _show(axes, values, picture)
    return fig


def plate(image: xr.DataArray, indexers: Mapping[str, int], channels: Channels, size: int) -> Figure:
    """Draw the positions of a plate in their wells, all with the same limits; see ``ds.nd2.plate``."""
    figure_class = _figure_class()
    if "P" not in image.dims or "position_name" not in image.coords:
        raise ValueError("there is no axis of positions with names")
    names = [str(name) for name in image["position_name"].values]
    fields = plate_fields(names)
    if fields is None:
        raise ValueError(f"the names of positions are not names of wells, such as B02: {names[:5]}")
    # From the first to the last one, so that empty rows and columns are shown.
    numbers = [ROWS.index(field.row) for field in fields]
    rows = ROWS[min(numbers) : max(numbers) + 1]
    numbers = [int(field.column) for field in fields]
    columns = range(min(numbers), max(numbers) + 1)
    grid = math.ceil(math.sqrt(max(field.field for field in fields) + 1))
    step = max(math.ceil(max(image.sizes["Y"], image.sizes["X"]) * grid / size), 1)
    small = image.isel(Y=slice(None, None, step), X=slice(None, None, step))
    pictures = [one_frame(small.isel(P=place), indexers, channels) for place in range(image.sizes["P"])]
    # One image of all, so that all have the same limits.
    stacked = xr.concat(pictures, "Y", coords="minimal", compat="override", join="override", combine_attrs="override")
    colored = composite(stacked.drop_vars("Y", errors="ignore"), channels).values
    height, width = small.sizes["Y"], small.sizes["X"]
    tall, wide = height * grid + 2, width * grid + 2
    canvas = np.full((tall * len(rows), wide * len(columns), 3), 48, np.uint8)
    for place, field in enumerate(fields):
        y = rows.index(field.row) * tall + field.field // grid * height + 1
        x = columns.index(int(field.column)) * wide + field.field % grid * width + 1
        canvas[y : y + height, x : x + width] = colored[place * height : (place + 1) * height]
    scale = 1.2 / max(tall, wide)
    shape = (canvas.shape[1] * scale + 0.6, canvas.shape[0] * scale + 0.5)
    fig = figure_class(figsize=shape, layout="constrained")
    axes = fig.add_subplot()
    axes.imshow(canvas, interpolation="antialiased")
    axes.set_xticks([(i + 0.5) * wide - 0.5 for i in range(len(columns))], map(str, columns))
    axes.set_yticks([(i + 0.5) * tall - 0.5 for i in range(len(rows))], rows)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.set_frame_on(False)
    return fig


@functools.cache
def _figure_class() -> type[Figure]:
    """Return a figure that notebooks show; matplotlib's own needs pyplot for that."""
    with errors.requirement("matplotlib", "plot", "to draw"):
        from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        def _repr_png_(self) -> bytes:
            out = io.BytesIO()
            self.savefig(out, format="png")
            return out.getvalue()

    return NotebookFigure


def _show(axes: Axes, values: NDArray[Any], picture: xr.DataArray) -> None:
    axes.imshow(values, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
    axes.set_axis_off()
    bar = _scale_bar(picture)
    if bar is None:
        return
    pixels, text = bar
    height, width = values.shape[:2]
    right, bottom = 0.96 * width, 0.94 * height
    # Dark behind light, so that the bar is seen on any picture.
    for line, color in ((4.5, "black"), (2.5, "white")):
        axes.plot([right - pixels, right], [bottom, bottom], color=color, lw=line, solid_capstyle="butt")
    label = axes.text(right - pixels / 2, bottom - 0.02 * height, text, color="white", ha="center", va="bottom", size=8)
    from matplotlib.patheffects import withStroke

    label.set_path_effects([withStroke(linewidth=1.5, foreground="black")])
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)


def _scale_bar(picture: xr.DataArray) -> tuple[float, str] | None:
    """Return the length in pixels and the text of a scale bar; None if the size of a pixel is unknown."""
    x = picture.coords.get("X")
    if x is None or "units" not in x.attrs or x.size < 2:
        return None
    return scale_bar(float(x[1] - x[0]), x.size)
