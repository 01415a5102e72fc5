"""Summary of an image: axes, channels in their colors, positions. Only coordinates are read."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.views.html import MAX_NAMES, block, listed, swatch, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr


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
    names = [str(name) for name in np.atleast_1d(image["C"].values)]

    def values(name: str) -> list[Any]:
        found = image.coords.get(name)
        return [None] * len(names) if found is None else list(np.atleast_1d(found.values))

    columns = [values(name) for name in ("channel_color", "emission_wavelength", "modality")]
    for name, color, emission, modality in list(zip(names, *columns, strict=True))[:MAX_NAMES]:
        wave = "" if emission is None or not emission > 0 else f"{emission:.4g} nm"
        yield name, str(color or ""), wave, str(modality or "")
    if len(names) > MAX_NAMES:
        yield f"and {len(names) - MAX_NAMES} more", "", "", ""
