"""Pictures for a look: composites in colour, and figures with a scale bar."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from nd2._core import errors
from nd2._core.frames.array import PIXEL_DIMS
from nd2._core.views.channels import channel_indices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_LOW, _HIGH = 0.1, 99.9
_FALLBACK = ("#00FF00", "#FF00FF", "#00FFFF", "#FF0000", "#0000FF", "#FFFF00", "#FFFFFF")


def one_frame(
    dataset: xr.Dataset,
    indexers: Mapping[str, int],
    channels: int | str | Sequence[int | str] | None = None,
) -> xr.DataArray:
    """Return the image at one point of every frame axis, in memory, axes C, Y, X and S.

    Axes that are not indexed are taken at their first item, stacks at their middle plane; all channels, unless some are
    chosen.

    Raises
    ------
    ValueError
        If an axis is not one of the image, or is no frame axis; if there is no channel of that name.
    IndexError
        If there is no channel of that index.
    """
    image = dataset["image"]
    frames = {dim: size for dim, size in image.sizes.items() if dim not in PIXEL_DIMS}
    for axis in indexers:
        if axis not in frames:
            raise errors.no_such("frame axis", axis, map(str, frames))
    middle = {dim: size // 2 if str(dim)[0] == "Z" else 0 for dim, size in frames.items()}
    picture = image.isel({**middle, **indexers})
    if "C" not in picture.dims:
        picture = picture.expand_dims("C")
    if channels is not None:
        chosen = [channels] if isinstance(channels, (int, str)) else channels
        picture = picture.isel(C=channel_indices(chosen, _channel_names(picture)))
    return picture.compute()


def _channel_names(picture: xr.DataArray) -> list[str]:
    """Return the name of each channel; empty texts where the dataset does not say them."""
    if "C" not in picture.coords:
        return [""] * picture.sizes["C"]
    return [str(name) for name in np.atleast_1d(picture["C"].values)]


def composite(picture: xr.DataArray) -> xr.DataArray:
    """Add the channels of a picture, each in its colour, as 8-bit red, green and blue.

    Parameters
    ----------
    picture : DataArray
        Axes C, Y, X, and S for channels that are in colour themselves.
    """
    total = np.zeros((picture.sizes["Y"], picture.sizes["X"], 3))
    for channel, color in zip(_channels(picture), _colors(picture), strict=True):
        total += channel if channel.ndim == 3 else channel[..., None] * color
    coords = {name: picture.coords[name] for name in ("Y", "X") if name in picture.coords}
    return xr.DataArray(
        (np.clip(total, 0, 1) * 255 + 0.5).astype(np.uint8),
        dims=("Y", "X", "S"),
        coords={**coords, "S": ["R", "G", "B"]},
        attrs={"long_name": "composite"},
    )


def _channels(picture: xr.DataArray) -> list[NDArray[np.float64]]:
    """Return each channel as numbers from 0 to 1; those in colour with their samples."""
    order = [dim for dim in PIXEL_DIMS if dim in picture.dims]
    values = picture.transpose(*order).values
    if "S" in order:
        values = values[..., : 3 if values.shape[-1] >= 3 else 1]
        top = np.iinfo(values.dtype).max if values.dtype.kind in "ui" else 1.0
        if values.shape[-1] == 1:
            return [_stretched(channel[..., 0]) for channel in values]
        # Colour is shown as it was taken, unless fewer bits are used than stored.
        top = min(top, float(picture.attrs.get("valid_max", top)))
        return [np.clip(channel / top, 0, 1) for channel in values]
    return [_stretched(channel) for channel in values]


def _stretched(channel: NDArray[Any]) -> NDArray[np.float64]:
    """Stretch a channel from its low to its high percentile; values that are not finite are 0."""
    values: NDArray[np.float64] = np.nan_to_num(channel, posinf=0.0, neginf=0.0).astype(float)
    low, high = np.percentile(values, (_LOW, _HIGH)) if values.size else (0.0, 1.0)
    return np.clip((values - low) / (high - low if high > low else 1.0), 0, 1)


def _colors(picture: xr.DataArray) -> list[NDArray[np.float64]]:
    """Return the colour of each channel as red, green and blue from 0 to 1; white for a single one."""
    count = picture.sizes["C"]
    if "channel_color" in picture.coords:
        texts = np.atleast_1d(picture["channel_color"].values).tolist()
    else:
        texts = ["#FFFFFF"] if count == 1 else [_FALLBACK[i % len(_FALLBACK)] for i in range(count)]
    return [np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255 for text in texts]


# ------------------------------------------------------------------------------------------------------------ figures


def figure(picture: xr.DataArray) -> Figure:
    """Draw each channel in grey beside the composite."""
    figure_class = _figure_class()
    channels = _channels(picture)
    titles = _channel_names(picture)
    panels: list[tuple[str, NDArray[Any]]] = []
    if len(channels) > 1:
        panels = list(zip(titles, channels, strict=True))
    panels.append(("composite" if panels else "".join(titles), composite(picture).values))
    columns = min(len(panels), 4)
    rows = math.ceil(len(panels) / columns)
    height, width = picture.sizes["Y"], picture.sizes["X"]
    panel_width = 3.2
    panel_height = min(max(panel_width * height / max(width, 1), 0.6), 9.6)
    fig = figure_class(
        figsize=(panel_width * columns, (panel_height + 0.35) * rows), layout="constrained"
    )
    for i, (title, values) in enumerate(panels):
        axes = fig.add_subplot(rows, columns, i + 1)
        _show(axes, values, picture)
        axes.set_title(title, fontsize=9)
    return fig


def thumbnail(picture: xr.DataArray, size: int) -> Figure:
    """Draw the composite alone, ``size`` pixels on its longer side."""
    figure_class = _figure_class()
    values = composite(picture).values
    scale = size / max(values.shape[:2])
    shape = [max(side * scale, 1.0) for side in values.shape[:2]]
    fig = figure_class(figsize=(shape[1] / 100, shape[0] / 100), dpi=100)
    axes = fig.add_axes((0, 0, 1, 1))
    _show(axes, values, picture)
    return fig


def _figure_class() -> type[Figure]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise errors.missing_package("matplotlib", "plot", "to draw") from error
    return Figure


def _show(axes: Axes, values: NDArray[Any], picture: xr.DataArray) -> None:
    axes.imshow(values, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
    axes.set_axis_off()
    bar = scale_bar(picture)
    if bar is None:
        return
    pixels, text = bar
    height, width = values.shape[:2]
    right, bottom = 0.96 * width, 0.94 * height
    # Dark behind light, so that the bar is seen on any picture.
    for line, color in ((4.5, "black"), (2.5, "white")):
        axes.plot(
            [right - pixels, right], [bottom, bottom], color=color, lw=line, solid_capstyle="butt"
        )
    label = axes.text(
        right - pixels / 2,
        bottom - 0.02 * height,
        text,
        color="white",
        ha="center",
        va="bottom",
        size=8,
    )
    from matplotlib.patheffects import withStroke

    label.set_path_effects([withStroke(linewidth=1.5, foreground="black")])
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)


def scale_bar(picture: xr.DataArray) -> tuple[float, str] | None:
    """Return the length in pixels and the text of a scale bar; None where pixels have no known size.

    The bar is a round number of micrometers (or of nanometers, millimeters), near a fifth of the width.
    """
    x = picture.coords.get("X")
    if x is None or "units" not in x.attrs or x.size < 2:
        return None
    pixel = float(x[1] - x[0])
    about = pixel * x.size / 5
    if not (math.isfinite(about) and about > 0):
        return None
    power = 10.0 ** math.floor(math.log10(about))
    length = max(step * power for step in (1, 2, 5) if step * power <= about)
    for factor, unit in ((1e-3, "mm"), (1.0, "µm"), (1e3, "nm")):
        if length * factor >= 1 or unit == "nm":
            return length / pixel, f"{length * factor:g} {unit}"
    return None
