"""What the ecosystem layer says of a file, before any library: variables, coordinates, attributes.

``DatasetModel`` is what the engine turns into an ``xarray.Dataset``, and what every emitter of references writes down
beside the image. It imports neither xarray nor zarr.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._array import FrameArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nd2._readers import Reader

SAMPLE_LABELS = ("B", "G", "R")
"""Names of colour samples in the order in which files store them."""

LONG_NAMES = {
    "T": "time since the start of the acquisition",
    "Z": "height relative to the home plane",
    "P": "position",
    "C": "channel",
    "Y": "vertical distance from the first row",
    "X": "horizontal distance from the first column",
    "S": "colour sample",
}


@dataclass(frozen=True)
class VariableModel:
    """A coordinate: its axes, its values (ready in memory), and its attributes."""

    dims: tuple[str, ...]
    values: NDArray[Any]
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetModel:
    """One file as a labelled dataset.

    Attributes
    ----------
    image : FrameArray
        The pixels, samples of colour in stored order (blue, green, red).
    coords : dict of str to VariableModel
        Coordinates; those of axes that were dropped are scalars.
    attrs : dict
        Attributes of the dataset: str, numbers and lists of numbers only.
    image_attrs : dict
        Attributes of the image.
    """

    image: FrameArray
    coords: dict[str, VariableModel]
    attrs: dict[str, Any]
    image_attrs: dict[str, Any]


def dataset_model(reader: Reader, *, squeeze: bool = True) -> DatasetModel:
    """Describe a file as a dataset.

    Parameters
    ----------
    reader : Reader
        The file.
    squeeze : bool
        Whether axes of size 1 other than Y and X are dropped; else there are T, P, Z, C, Y and X, and S for colour.
    """
    layout = reader.layout.with_all_loops()
    sizes = layout.all_sizes
    dims = tuple(dim for dim, size in sizes.items() if not squeeze or size > 1 or dim in ("Y", "X"))
    known = dict(reader.layout.loops)
    coords = {
        dim: _as_coordinate(dim, variable, dims)
        for dim, variable in _axis_values(reader).items()
        if dim in dims or dim in known or dim == "C"
    }
    image = FrameArray.of(reader.frames, layout, dims)
    return DatasetModel(image, coords, dataset_attrs(reader), _image_attrs(reader))


def _as_coordinate(dim: str, variable: VariableModel, dims: tuple[str, ...]) -> VariableModel:
    attrs = {"long_name": LONG_NAMES.get(dim[0], dim), **variable.attrs}
    if dim in dims:
        return VariableModel((dim,), variable.values, attrs)
    return VariableModel((), variable.values[0], attrs)


def _axis_values(reader: Reader) -> dict[str, VariableModel]:
    """Return the coordinate of every axis."""
    layout, voxel = reader.layout.with_all_loops(), reader.voxel_size
    loops = {
        name: loop for (name, _), loop in zip(reader.layout.loops, reader.experiment, strict=True)
    }
    values: dict[str, VariableModel] = {}
    for name, count in layout.loops:
        loop: Any = loops.get(name)
        if name[0] == "T":
            values[name] = _time_axis(reader, name, loop, count)
        elif name[0] == "Z":
            home, step = (
                (loop.parameters.homeIndex, loop.parameters.stepUm) if loop else (0, voxel.z)
            )
            heights = (np.arange(count) - home) * float(step)
            values[name] = VariableModel((name,), heights, {"units": "micrometer"})
        else:
            values[name] = VariableModel((name,), np.arange(count))
    values["C"] = VariableModel(("C",), np.array(unique_channel_names(reader), dtype=np.str_))
    for dim, count, step in (("Y", layout.height, voxel.y), ("X", layout.width, voxel.x)):
        calibrated = is_calibrated(reader)
        values[dim] = VariableModel(
            (dim,),
            np.arange(count) * (step if calibrated else 1.0),
            {"units": "micrometer"} if calibrated else {},
        )
    if layout.samples > 1:
        values["S"] = VariableModel(("S",), np.array(SAMPLE_LABELS[: layout.samples]))
    return values


def _time_axis(reader: Reader, name: str, loop: Any, count: int) -> VariableModel:
    """Return the time of the first frame of each step: as recorded, or as planned where nothing was recorded."""
    layout = reader.layout
    step = 1
    for other, size in reversed(layout.loops):
        if other == name:
            break
        step *= size
    recorded = reader.frame_times
    first = np.arange(count) * step
    if (
        recorded is not None
        and count
        and first[-1] < len(recorded)
        and np.isfinite(recorded[first]).all()
    ):
        return VariableModel((name,), recorded[first] / 1000, {"units": "s", "source": "recorded"})
    nominal = np.zeros(count) if loop is None else _nominal_times(loop, count)
    return VariableModel((name,), nominal / 1000, {"units": "s", "source": "nominal"})


def _nominal_times(loop: Any, count: int) -> NDArray[np.float64]:
    """Return the planned time of each step in milliseconds; phases follow each other."""
    periods = loop.parameters.periods if loop.type == "NETimeLoop" else [loop.parameters]
    times: list[NDArray[np.float64]] = []
    start = 0.0
    for period in periods:
        n = period.count if loop.type == "NETimeLoop" else count
        step = period.periodDiff.avg or period.periodMs
        times.append(start + np.arange(n) * float(step))
        start += max(float(period.durationMs), n * float(step))
    return np.concatenate([*times, np.zeros(0)])[:count]


def is_calibrated(reader: Reader) -> bool:
    """Return whether the file says how large a pixel is."""
    channels = getattr(reader.metadata, "channels", None) or []
    return bool(channels) and all(channels[0].volume.axesCalibrated[:2])


def unique_channel_names(reader: Reader) -> list[str]:
    """Return a name for each channel, made unique with a suffix where names repeat."""
    channels = getattr(reader.metadata, "channels", None) or []
    names = [channel.channel.name or f"Channel {i}" for i, channel in enumerate(channels)]
    if len(names) != reader.layout.channels:
        names = [f"Channel {i}" for i in range(reader.layout.channels)]
    seen: dict[str, int] = {}
    unique: list[str] = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        candidate = name if seen[name] == 1 else f"{name} ({seen[name]})"
        while candidate in unique:
            candidate += "'"
        unique.append(candidate)
    return unique


def to_json(value: Any) -> str:
    """Write structures as JSON text that any parser reads: what is not finite becomes null."""

    def plain(item: Any) -> Any:
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            return {f.name: plain(getattr(item, f.name)) for f in dataclasses.fields(item)}
        if hasattr(item, "_asdict"):
            return plain(item._asdict())
        if isinstance(item, dict):
            return {str(key): plain(part) for key, part in item.items()}
        if isinstance(item, (list, tuple)):
            return [plain(part) for part in item]
        if isinstance(item, float):
            return item if np.isfinite(item) else None
        return item

    return json.dumps(plain(value), ensure_ascii=False)


def dataset_attrs(reader: Reader) -> dict[str, Any]:
    """Return the attributes of the dataset: flat, and of types that netCDF and Zarr hold."""
    attributes, text = reader.attributes, reader.text_info
    attrs: dict[str, Any] = {
        "source": reader.source.url,
        "format_version": ".".join(map(str, reader.version)),
        "bit_depth": int(attributes.bitsPerComponentSignificant),
        "voxel_size_um": [float(v) for v in reader.voxel_size],
        "nd2_attributes": to_json(attributes),
        "nd2_experiment": to_json(reader.experiment),
        "nd2_metadata": to_json(reader.metadata),
        "nd2_text_info": to_json(text),
    }
    channels = getattr(reader.metadata, "channels", None) or []
    if channels:
        optics = channels[0].microscope
        known = {
            "objective": optics.objectiveName,
            "magnification": optics.objectiveMagnification,
            "numerical_aperture": optics.objectiveNumericalAperture,
        }
        attrs.update({key: value for key, value in known.items() if value is not None})
    return attrs


def _image_attrs(reader: Reader) -> dict[str, Any]:
    bits = int(reader.attributes.bitsPerComponentSignificant)
    attrs: dict[str, Any] = {"long_name": "intensity"}
    if np.issubdtype(reader.dtype, np.integer):
        attrs["valid_max"] = (1 << bits) - 1
    return attrs
