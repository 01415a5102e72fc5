"""Documents of Zarr 3 and OME-Zarr (OME-NGFF 0.5) as dictionaries, for exports and references."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import count
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from nd2._core.values import record
from nd2._core.views.channels import stored_rgb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nd2._core.views.facts import Facts
    from nd2._core.views.placement import Placement

VERSION = "0.5"
"""Version of OME-NGFF."""

# OME-Zarr does not define p, an axis of positions, which only viewers are shown.
_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space", "p": "position"}
_UNITS = {"t": "millisecond", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
# The largest plates have 32 rows (A to AF) and 48 columns: PT0 is not a well.
_WELL = re.compile(r"^([A-Z]|A[A-F])0*([1-9]|[1-3]\d|4[0-8])(?:[_\- ].*)?$", re.IGNORECASE)
ROWS = [*ascii_uppercase, *("A" + letter for letter in ascii_uppercase[:6])]
"""Names of the rows of a plate."""
_SAMPLES = {"R": ("Red", "FF0000"), "G": ("Green", "00FF00"), "B": ("Blue", "0000FF")}


def group_document(attrs: Mapping[str, Any], members: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the ``zarr.json`` of a group; ``members`` maps paths to documents, for consolidated metadata."""
    document = {"zarr_format": 3, "node_type": "group", "attributes": dict(attrs)}
    if members is None:
        return document
    consolidated = {"kind": "inline", "must_understand": False, "metadata": dict(members)}
    return {**document, "consolidated_metadata": consolidated}


def array_document(
    *,
    shape: Sequence[int],
    chunks: Sequence[int],
    dtype: np.dtype[Any],
    codecs: Sequence[Mapping[str, Any]],
    dims: Iterable[str],
    attrs: Mapping[str, Any] | None = None,
    separator: str = ".",
) -> dict[str, Any]:
    """Return the ``zarr.json`` of an array; with ``separator="."`` its chunks are in one folder, cheap to list."""
    fill_value: Any = {"f": 0.0, "b": False, "U": ""}.get(dtype.kind, 0)
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": "string" if dtype.kind == "U" else dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(n, 1) for n in chunks]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": separator}},
        "fill_value": fill_value,
        "codecs": list(codecs),
        "attributes": dict(attrs or {}),
        "dimension_names": list(dims),
    }


def bytes_codec(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the codec that converts samples to bytes."""
    if dtype.itemsize == 1:
        return {"name": "bytes"}
    return {"name": "bytes", "configuration": {"endian": "little"}}


@record
class ImageAxes:
    """Axes of an image in the order of OME-Zarr: time, channel, space.

    ``scale`` is the distance between neighbors on each axis; 1, with the unit None, if it is unknown.
    """

    names: str
    shape: tuple[int, ...]
    scale: tuple[float, ...]
    units: tuple[str | None, ...]

    @classmethod
    def from_facts(cls, facts: Facts, placement: Placement) -> ImageAxes:
        """Return the axes of all images, without those of size 1 other than y and x; samples count as channels."""
        layout = facts.reader.layout
        sizes = {
            "t": placement.times,
            "c": layout.channels * layout.samples,
            "z": placement.planes,
            "y": layout.height,
            "x": layout.width,
        }
        names = "".join(name for name, size in sizes.items() if size > 1 or name in "yx")
        shape = tuple(sizes[name] for name in names)
        return cls.from_shape(names, shape, facts, placement.first_frames)

    @classmethod
    def from_shape(cls, names: str, shape: tuple[int, ...], facts: Facts, time_points: NDArray[np.intp]) -> ImageAxes:
        """Return axes with the distances of a file; ``time_points`` are the first frames of the time points."""
        x, y = facts.pixel_size or (None, None)
        step = facts.time_step(time_points) if len(time_points) > 1 else None
        distances = {"t": step, "z": facts.z_step, "y": y, "x": x}
        scale = tuple(distances.get(name) or 1.0 for name in names)
        return cls(names, shape, scale, tuple(_UNITS[name] if distances.get(name) else None for name in names))

    @property
    def label_axes(self) -> ImageAxes:
        """The axes of labels, which have no channels."""
        kept = [i for i, name in enumerate(self.names) if name != "c"]
        return ImageAxes(
            "".join(self.names[i] for i in kept),
            tuple(self.shape[i] for i in kept),
            tuple(self.scale[i] for i in kept),
            tuple(self.units[i] for i in kept),
        )

    def prepend(self, name: str, size: int) -> ImageAxes:
        """Return the axes with another one in front, whose distances are unknown."""
        return ImageAxes(name + self.names, (size, *self.shape), (1.0, *self.scale), (None, *self.units))

    def level_shape(self, level: int) -> tuple[int, ...]:
        """Return the shape of a pyramid level: y and x halved ``level`` times, rounded up."""
        return tuple(
            -(-size // 2**level) if name in "yx" else size for name, size in zip(self.names, self.shape, strict=True)
        )


def image_block(axes: ImageAxes, name: str, facts: Facts, levels: int = 1, sample_order: str = "RGB") -> dict[str, Any]:
    """Return the attribute ``ome`` of an image."""
    block = {"version": VERSION, "multiscales": multiscales(axes, name, levels), "omero": omero(facts, sample_order)}
    return {key: value for key, value in block.items() if value is not None}


def multiscales(axes: ImageAxes, name: str, levels: int) -> list[dict[str, Any]]:
    """Return the block that lists the levels of an image: ``0`` (full size), ``1``, ..."""
    datasets = []
    for level in range(levels):
        factors = [2**level if name in "yx" else 1 for name in axes.names]
        scale = [step * factor for step, factor in zip(axes.scale, factors, strict=True)]
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if level:  # a pixel of a coarser level is at the center of the pixels that it averages
            shift = [s * (f - 1) / 2 for s, f in zip(axes.scale, factors, strict=True)]
            steps.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    described = [
        {"name": axis, "type": _TYPES[axis], **({} if unit is None else {"unit": unit})}
        for axis, unit in zip(axes.names, axes.units, strict=True)
    ]
    return [{"name": name, "axes": described, "datasets": datasets}]


def omero(facts: Facts, sample_order: str) -> dict[str, Any] | None:
    """Return how viewers show channels: label, color (RRGGBB), range of values; None if the range is unknown."""
    limits = facts.display_range
    if limits is None:
        return None
    low, high = limits
    window = {"start": low, "min": low, "end": high, "max": high}
    return {
        "channels": [
            {"label": label, "color": color, "active": shown, "window": window}
            for label, color, shown in _channel_labels(facts, sample_order)
        ],
        "rdefs": {"model": "color"},
    }


def _channel_labels(facts: Facts, sample_order: str) -> list[tuple[str, str, bool]]:
    """Return label and color of each channel, or of each color sample, and whether viewers show it first."""
    if not facts.is_color:
        shown = facts.composite_channels
        return [(channel.name, channel.hex, i in shown) for i, channel in enumerate(facts.channels)]
    several = len(facts.channels) > 1
    prefixes = [f"{channel.name} " if several else "" for channel in facts.channels]
    samples = [_SAMPLES[letter] for letter in sample_order]
    return [(f"{prefix}{name}", color, True) for prefix in prefixes for name, color in samples]


def collection(names: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attribute ``ome`` of a root with several images, and that of its group ``OME``."""
    root = {"version": VERSION, "bioformats2raw.layout": 3}
    return root, {"version": VERSION, "series": list(names)}


@record
class Field:
    """One position of a plate; ``row/column/field`` is the path of its image."""

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
    """Return the field of each position; None unless all names are names of wells.

    The name of a well is the letters of its row and the number of its column (``B02``). Several
    fields of a well have the same name, or append to it (``B02_0005``).
    """
    found = [_WELL.match(name or "") for name in names]
    wells = [(match[1].upper(), match[2]) for match in found if match is not None]
    if not wells or len(wells) < len(names):
        return None
    numbers: defaultdict[tuple[str, str], Iterator[int]] = defaultdict(count)
    return [Field(*well, next(numbers[well])) for well in wells]


def plate(name: str, fields: Sequence[Field]) -> dict[str, Any]:
    """Return the block that lists the wells of a plate; with all rows and columns, viewers show each in its place."""
    rows = ROWS[: max(ROWS.index(field.row) for field in fields) + 1]
    columns = [str(number + 1) for number in range(max(int(field.column) for field in fields))]
    wells = dict.fromkeys((field.row, field.column) for field in fields)
    return {
        "name": name,
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": [
            {"path": f"{row}/{column}", "rowIndex": rows.index(row), "columnIndex": columns.index(column)}
            for row, column in wells
        ],
        "field_count": max(field.field for field in fields) + 1,
    }


def label_name(index: int, name: str) -> str:
    """Return the name of the group of a binary layer."""
    return f"label_{index}_{re.sub(r'[^A-Za-z0-9_.-]', '', name.replace(' ', '_'))}"


def image_label(color: int | None) -> dict[str, Any]:
    """Return the block that marks an image as labels; ``color`` is 0x00BBGGRR."""
    block: dict[str, Any] = {"source": {"image": "../../"}}
    if color is not None:
        block["colors"] = [{"label-value": 1, "rgba": [*stored_rgb(color), 255]}]
    return block
