"""The metadata of OME-Zarr (OME-NGFF 0.5) as plain dictionaries: axes, scales, display, plates, series, labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.views.channels import channels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nd2._core.readers import Reader
    from nd2._core.views.placement import Placement

VERSION = "0.5"

_AXES = {
    "t": {"name": "t", "type": "time", "unit": "millisecond"},
    "c": {"name": "c", "type": "channel"},
    "z": {"name": "z", "type": "space", "unit": "micrometer"},
    "y": {"name": "y", "type": "space", "unit": "micrometer"},
    "x": {"name": "x", "type": "space", "unit": "micrometer"},
}
# The largest plates have 32 rows (A to AF) and 48 columns: PT0 is a point, not a well.
_WELL = re.compile(r"^([A-Z]|A[A-F])0*([1-9]|[1-3]\d|4[0-8])(?:[_\- ].*)?$", re.IGNORECASE)
_SAMPLES = (("Red", "FF0000"), ("Green", "00FF00"), ("Blue", "0000FF"))


@dataclass(frozen=True, slots=True)
class ImageAxes:
    """Axes of an image in the order of the format, those of size 1 left out, but for y and x.

    Attributes
    ----------
    names : str
        Such as ``"tczyx"``.
    shape : tuple of int
        Size of each.
    scale : tuple of float
        Distance of two neighbours on each, in milliseconds and micrometers.
    """

    names: str
    shape: tuple[int, ...]
    scale: tuple[float, ...]

    @classmethod
    def of(cls, reader: Reader, placement: Placement) -> ImageAxes:
        """Return the axes of every image of a file. Colour samples count as channels."""
        layout, voxel = reader.layout, reader.voxel_size
        sizes = {
            "t": placement.times,
            "c": layout.channels * layout.samples,
            "z": placement.planes,
            "y": layout.height,
            "x": layout.width,
        }
        scales = {
            "t": time_step(reader),
            "c": 1.0,
            "z": voxel.z or 1.0,
            "y": voxel.y or 1.0,
            "x": voxel.x or 1.0,
        }
        names = "".join(name for name, size in sizes.items() if size > 1 or name in "yx")
        return cls(names, tuple(sizes[n] for n in names), tuple(scales[n] for n in names))

    def without(self, name: str) -> ImageAxes:
        """Return the same axes but one."""
        kept = [i for i, other in enumerate(self.names) if other != name]
        return ImageAxes(
            "".join(self.names[i] for i in kept),
            tuple(self.shape[i] for i in kept),
            tuple(self.scale[i] for i in kept),
        )

    def level_shape(self, level: int) -> tuple[int, ...]:
        """Return the shape of a level of the pyramid: y and x halved ``level`` times, rounded up."""
        return tuple(
            -(-size // 2**level) if name in "yx" else size
            for name, size in zip(self.names, self.shape, strict=True)
        )


def time_step(reader: Reader) -> float:
    """Return the mean distance of two time points in milliseconds; 1.0 where it is not known."""
    for loop in reader.experiment:
        parameters: Any = loop.parameters
        if loop.type == "NETimeLoop":
            parameters = parameters.periods[0] if parameters.periods else None
        if loop.type in ("TimeLoop", "NETimeLoop") and parameters is not None:
            return float(parameters.periodDiff.avg or parameters.periodMs or 1.0)
    return 1.0


def multiscales(axes: ImageAxes, name: str, levels: int) -> list[dict[str, Any]]:
    """Return the block that lists the levels of an image, the full one first, at the paths ``0``, ``1``, ..."""
    datasets = []
    for level in range(levels):
        factor = 2**level
        halved = [n in "yx" for n in axes.names]
        steps: list[dict[str, Any]] = [
            {
                "type": "scale",
                "scale": [s * factor if h else s for s, h in zip(axes.scale, halved, strict=True)],
            }
        ]
        if level:  # a pixel of a coarser level is centred between those that it is the mean of
            shift = [
                s * (factor - 1) / 2 if h else 0.0 for s, h in zip(axes.scale, halved, strict=True)
            ]
            steps.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    return [{"name": name, "axes": [_AXES[n] for n in axes.names], "datasets": datasets}]


def omero(reader: Reader) -> dict[str, Any]:
    """Return how viewers should show the channels: names, colours, range of values."""
    colour = reader.layout.samples > 1
    if reader.dtype.kind == "f":
        start, end = 0.0, 1.0
    else:
        start, end = 0.0, float(2**reader.attributes.bitsPerComponentSignificant - 1)
    top = 1.0 if reader.dtype.kind == "f" else float(np.iinfo(reader.dtype).max)
    window = {"start": start, "min": 0.0, "end": min(end, top) or top, "max": top}
    shown = []
    known = channels(reader)
    for channel in known:
        prefix = f"{channel.name} " if len(known) > 1 else ""
        parts = (
            [(f"{prefix}{name}", hex_) for name, hex_ in _SAMPLES]
            if colour
            else [(channel.name, channel.hex)]
        )
        shown += [
            {"label": label, "color": hex_, "active": True, "window": window}
            for label, hex_ in parts
        ]
    return {"channels": shown, "rdefs": {"model": "color"}}


# --------------------------------------------------------------------------------------------------------- plates


@dataclass(frozen=True, slots=True)
class Field:
    """Where one position stands on a plate: ``row/column/field`` is the path of its image."""

    row: str
    column: str
    field: int

    @property
    def well(self) -> str:
        """Path of the well."""
        return f"{self.row}/{self.column}"

    @property
    def path(self) -> str:
        """Path of the image."""
        return f"{self.well}/{self.field}"


def plate_fields(names: Sequence[str | None]) -> list[Field] | None:
    """Return the place of each position on a plate, by its name; None where the names are not all those of wells.

    Names are a row's letters and a column's number, ``B02``; several fields of a well repeat its name, or add to it,
    ``B02_0005``.
    """
    found = [_WELL.match(name or "") for name in names]
    if not names or None in found:
        return None
    count: dict[tuple[str, str], int] = {}
    fields = []
    for match in found:
        assert match is not None
        well = (match[1].upper(), match[2])
        fields.append(Field(*well, count.setdefault(well, 0)))
        count[well] += 1
    return fields


def plate(name: str, fields: Sequence[Field]) -> dict[str, Any]:
    """Return the block that lists rows, columns and wells of a plate."""
    rows = sorted({field.row for field in fields}, key=lambda row: (len(row), row))
    columns = sorted({field.column for field in fields}, key=int)
    wells = dict.fromkeys((field.row, field.column) for field in fields)
    return {
        "name": name,
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": [
            {
                "path": f"{row}/{column}",
                "rowIndex": rows.index(row),
                "columnIndex": columns.index(column),
            }
            for row, column in wells
        ],
        "field_count": max(field.field for field in fields) + 1,
    }


# --------------------------------------------------------------------------------------------------------- labels


def label_name(index: int, name: str) -> str:
    """Return the name of the group of a binary layer."""
    return f"label_{index}_{re.sub(r'[^A-Za-z0-9_.-]', '', name.replace(' ', '_'))}"


def image_label(color: int | None) -> dict[str, Any]:
    """Return the block that says that an image is a mask, with its colour (stored as 0x00BBGGRR)."""
    block: dict[str, Any] = {"source": {"image": "../../"}}
    if color is not None:
        rgb = [color & 255, color >> 8 & 255, color >> 16 & 255]
        block["colors"] = [{"label-value": 1, "rgba": [*rgb, 255]}]
    return block
