"""Writer options from the coordinates and attributes of a labeled array.

It understands the arrays of this package (``ND2File.to_xarray``, the xarray engine) and coordinates
of other origin: names on C and P, lengths on Z, Y and X, times on T.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from nd2._core.chunks import custom_data
from nd2._core.chunks.optics import MASKS
from nd2._core.chunks.picture_metadata import DAY_MS, UNIX_EPOCH
from nd2._core.chunks.recorded_data import STAGE
from nd2._core.frames.array import PIXEL_DIMS
from nd2._core.structures import ChannelMeta, Color, Metadata, Microscope, Position, StagePosition, TextInfo
from nd2._core.views.channels import positive, unique_names
from nd2._core.write.plan import significant_bits_range

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from nd2._core.write.plan import ChannelLike, WriterOptions

_MICROMETERS = {
    "m": 1e6,
    **dict.fromkeys(("mm", "millimeter"), 1e3),
    **dict.fromkeys(("um", "µm", "μm", "micron", "micrometer"), 1.0),
    **dict.fromkeys(("nm", "nanometer"), 1e-3),
}
_MILLISECONDS = {
    "ns": 1e-6,
    **dict.fromkeys(("us", "µs"), 1e-3),
    **dict.fromkeys(("ms", "millisecond"), 1.0),
    **dict.fromkeys(("s", "sec", "second"), 1e3),
    **dict.fromkeys(("min", "minute"), 6e4),
    **dict.fromkeys(("h", "hour"), 3.6e6),
}
_UNIT_SIGNS = {"micrometer": "µm", "degree_Celsius": "°C", "percent": "%", "degree": "°"}
_STAGE = dict(zip(("stage_x", "stage_y", "stage_z"), STAGE, strict=True))
_OWN = {"time", "position_name", "frame_present", *_STAGE}
_OPTICS = {
    "objectiveName": "objective",
    "objectiveMagnification": "magnification",
    "objectiveNumericalAperture": "numerical_aperture",
}
_HEX_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


def options(image: xr.DataArray, dims: Mapping[str, str]) -> WriterOptions:
    """Return the options that the coordinates and attributes of an array give.

    ``dims`` maps the name of each dimension to its axis.
    """
    by_axis = {axis: dim for dim, axis in dims.items()}
    stack, channel = by_axis.get("Z"), by_axis.get("C")
    options: dict[str, Any] = {
        **_times(image, by_axis, dims),
        "z": _lengths(image, stack),
        "voxel_size": _voxel_size(image, by_axis),
        "positions": _positions(image, by_axis.get("P"), stack),
        "channels": _channels(image, channel),
        "microscope": _microscopes(image, channel) or None,
        "stage": _stage(image, stack),
        "text_info": _text_info(image) or None,
        "columns": _columns(image, dims) or None,
        "exposure": _exposure(image, channel),
        "significant_bits": _significant_bits(image),
    }
    if software := str(image.attrs.get("software") or ""):
        options["custom"] = {custom_data.APP_INFO_TAG: custom_data.encode_software(software)}
    if "start" not in options:
        options["start"] = _start(image)
    return cast("WriterOptions", {key: v for key, v in options.items() if v is not None})


def _significant_bits(image: xr.DataArray) -> int | None:
    """Return the bit depth by the attributes, unless the image was converted to another type.

    An image without the attributes of its dataset still has its largest value.
    """
    bits = image.attrs.get("bit_depth")
    largest = image.attrs.get("valid_max")
    if bits is None and isinstance(largest, (int, np.integer)) and image.dtype.kind == "u":
        bits = int(largest).bit_length()
    if isinstance(bits, (int, np.integer)) and int(bits) in significant_bits_range(image.dtype):
        return int(bits)
    return None


def _start(image: xr.DataArray) -> datetime | None:
    """Return the time of the first frame by the attributes; a date without zone is UTC."""
    try:
        start = datetime.fromisoformat(str(image.attrs["acquisition_date"]))
    except (KeyError, ValueError):
        return None
    return start if start.tzinfo else start.replace(tzinfo=UTC)


def _exposure(image: xr.DataArray, dim: str | None) -> list[float | None] | None:
    """Return the exposure of each channel in milliseconds."""
    coordinate = image.coords.get("channel_exposure")
    if coordinate is None or coordinate.dtype.kind not in "iuf":
        return None
    scale = _scale(coordinate, _MILLISECONDS, 1.0)
    values = _per_channel(image, "channel_exposure", dim)
    return [None if value is None else _positive(value * scale) for value in values]


def sample_order(image: xr.DataArray, dim: str | None) -> str | None:
    """Return the order of the color samples by their labels, as "RGB"; None without labels."""
    if dim is None or dim not in image.coords:
        return None
    order = "".join(str(name)[:1].upper() for name in image[dim].values)
    if sorted(order) != ["B", "G", "R"]:
        raise ValueError(f"samples are labeled {image[dim].values.tolist()}: expected R, G and B")
    return order


def _scale(coordinate: xr.DataArray, scales: Mapping[str, float], default: float) -> float:
    unit = str(coordinate.attrs.get("units", coordinate.attrs.get("unit", "")))
    if not unit:
        return default
    known = unit if unit in scales else unit.removesuffix("s")
    if known not in scales:
        raise ValueError(f"coordinate {coordinate.name!r} has the unit {unit!r}")
    return scales[known]


def _lengths(image: xr.DataArray, dim: str | None) -> NDArray[np.float64] | None:
    """Return a coordinate in micrometers, the default unit; None for numbers of planes."""
    coordinate = None if dim is None else image.coords.get(dim)
    if coordinate is None or coordinate.dtype.kind not in "iuf" or coordinate.attrs.get("units") == "1":
        return None
    return np.asarray(coordinate.values, float) * _scale(coordinate, _MICROMETERS, 1.0)


def _voxel_size(image: xr.DataArray, by_axis: Mapping[str, str]) -> tuple[float, float] | None:
    """Return the steps of X and Y; None if they are pixel numbers, without a unit."""
    steps = []
    for axis in "XY":
        values = _lengths(image, by_axis.get(axis))
        if values is None or len(values) < 2:
            continue
        step = abs(float(values[-1] - values[0])) / (len(values) - 1)
        if not {"units", "unit"} & image.coords[by_axis[axis]].attrs.keys() and np.isclose(step, 1.0):
            continue
        # The exact size by the attributes, or else rounded against binary fractions.
        stated = np.ravel(image.attrs.get("voxel_size_um", ()))
        sizes = stated if stated.dtype.kind in "iuf" else ()
        exact = [float(size) for size in sizes if np.isclose(step, size, 1e-9, 0)]
        steps.append(exact[0] if exact else float(f"{step:.12g}"))
    return (steps[0], steps[-1]) if steps else None


def _milliseconds(coordinate: xr.DataArray, default: float) -> NDArray[np.float64]:
    """Return times in milliseconds: dates from the first one on, numbers by their unit."""
    values = coordinate.values
    if values.dtype.kind == "M":
        values = values - values.min()
    if values.dtype.kind == "m":
        return np.asarray(values / np.timedelta64(1, "ns"), float) / 1e6
    return np.asarray(values, float) * _scale(coordinate, _MILLISECONDS, default)


def _times(image: xr.DataArray, by_axis: Mapping[str, str], dims: Mapping[str, str]) -> dict[str, Any]:
    """Return recorded times of the frames, or else those of T; the planned step; the start, if they are dates."""
    loops = _loops(image, dims)
    options: dict[str, Any] = {}
    step = by_axis.get("T")
    coordinate = image.coords.get("time")
    each = coordinate is not None and set(coordinate.dims) <= set(loops)
    if not each:
        coordinate = None if step is None else image.coords.get(step)
    if coordinate is None or coordinate.dtype.kind not in "iufmM":
        return options
    if coordinate.attrs.get("units") == "1":  # counted steps, of which no time is known
        return options
    if coordinate.dtype.kind == "M" and coordinate.size:
        first = coordinate.values.min().astype("datetime64[ns]").astype(np.int64)
        options["start"] = UNIX_EPOCH + float(first) / 1e6 / DAY_MS
    # Arrays of `ND2File.to_xarray` count milliseconds, as those of nd2 do.
    times = _milliseconds(coordinate, 1.0 if _structures(image) else 1000.0)
    times = _spread(times, coordinate.dims, loops) if each else times
    first_frames = None
    if each and step is not None:
        first_of_others = tuple(slice(None) if dim == step else 0 for dim in loops)
        first_frames = times.reshape(tuple(loops.values()))[first_of_others]
    period = None if step is None else _period(image.coords.get(step), first_frames)
    if period is not None:
        options["period"] = period
        if not each and coordinate.attrs["source"] == "nominal":
            return options
    if np.isfinite(times).any():
        options["times"] = times
    return options


def _period(coordinate: xr.DataArray | None, recorded: NDArray[Any] | None) -> float | None:
    """Return the step of planned times in milliseconds; None if it varies, or if all times were recorded.

    ``recorded`` has the time of the first frame of each step, NaN where ``coordinate`` continues the others.
    """
    if coordinate is None or coordinate.attrs.get("source") not in ("nominal", "mixed"):
        return None
    times = _milliseconds(coordinate, 1000.0)
    if len(times) < 2:
        return None
    period = float(times[-1] - times[0]) / (len(times) - 1)
    if coordinate.attrs["source"] == "nominal" and not (times[0] == 0 and np.allclose(np.diff(times), period)):
        return None
    if recorded is not None and np.isfinite(recorded).any():
        if np.isnan(recorded[0]):
            period = float(times[1] - times[0])
        elif np.isnan(recorded[-1]):
            period = float(times[-1] - times[-2])
    return period if period > 0 else None


def _loops(image: xr.DataArray, dims: Mapping[str, str]) -> dict[Any, int]:
    return {dim: image.sizes[dim] for dim in image.dims if dims[str(dim)] not in PIXEL_DIMS}


def _spread(values: NDArray[Any], own: Sequence[Any], loops: Mapping[Any, int]) -> NDArray[Any]:
    """Return one value per frame from values that vary with some of the loops."""
    from xarray import Variable

    spread: NDArray[Any] = Variable(own, values).set_dims(loops).values  # type: ignore[no-untyped-call]
    return np.ravel(spread)


def _positions(image: xr.DataArray, dim: str | None, stack: str | None) -> list[Position] | None:
    if dim is None:
        return None
    count = image.sizes[dim]
    names: list[str | None] = [None] * count
    for key in ("position_name", dim):
        coordinate = image.coords.get(key)
        if coordinate is not None and coordinate.dims == (dim,) and coordinate.dtype.kind in "UOT":
            names = [str(name) or None for name in coordinate.values]
            break
    stage = np.zeros((3, count))
    for axis, key in enumerate(_STAGE):
        coordinate = image.coords.get(key)
        if coordinate is not None and dim in coordinate.dims:
            rest = {other: 0 for other in coordinate.dims if other != dim}
            stage[axis] = np.asarray(coordinate.isel(rest).values, float)
    if len(np.unique(stage[2])) > 1:
        stage[2] -= _first_height(image, stack)
    else:
        stage[2] = 0.0
    if not any(names) and not stage.any():
        return None
    return [
        Position(StagePosition(x, y, z), pfsOffset=0.0, name=name)
        for name, (x, y, z) in zip(names, stage.T.tolist(), strict=True)
    ]


def _first_height(image: xr.DataArray, stack: str | None) -> float:
    """Return z of the first plane relative to the home plane; 0 without a stack."""
    heights = _lengths(image, stack)
    return 0.0 if heights is None or not heights.min() <= 0 <= heights.max() else float(heights[0])


def _stage(image: xr.DataArray, stack: str | None) -> list[float] | None:
    """Return the stage position of the first frame, z of the home plane; None if unknown."""
    first = []
    for key in _STAGE:
        coordinate = image.coords.get(key)
        if coordinate is not None and coordinate.dtype.kind in "iuf" and coordinate.size:
            first.append(float(coordinate.values.flat[0]))
        elif key == "stage_z":
            first.append(0.0)
        else:
            return None
    first[2] -= _first_height(image, stack)
    return first if np.isfinite(first).all() else None


def _structures(image: xr.DataArray) -> Mapping[str, Any]:
    """Return the public structures that ``ND2File.to_xarray`` attaches."""
    attached = image.attrs.get("metadata")
    return attached if isinstance(attached, dict) else {}


def _channels(image: xr.DataArray, dim: str | None) -> list[ChannelLike] | None:
    count = 1 if dim is None else image.sizes[dim]
    coordinate = image.coords.get(dim if dim is not None else "C")
    names: list[str] | None = None
    if coordinate is not None and coordinate.dtype.kind in "UOT":
        names = [str(name) for name in np.atleast_1d(coordinate.values)]
    metadata = _structures(image).get("metadata")
    if isinstance(metadata, Metadata) and metadata.channels:
        by_name = {channel.channel.name: channel for channel in metadata.channels}
        unique = len(by_name) == len(metadata.channels)
        if names is not None and unique and set(names) <= set(by_name):
            return [by_name[name] for name in names]
        if len(metadata.channels) == count:
            return list(metadata.channels)
    if names is None or len(names) != count:
        return None
    stated = _stated_channels(image)
    names = [stated.get(name, {}).get("name", name) for name in names]
    colors, emission, excitation = (
        _per_channel(image, key, dim) for key in ("channel_color", "emission_wavelength", "excitation_wavelength")
    )
    if all(value is None for value in colors):
        return list(names)
    return [
        ChannelMeta(name, i, _color(colors[i]), _positive(emission[i]), _positive(excitation[i]))
        for i, name in enumerate(names)
    ]


def _per_channel(image: xr.DataArray, key: str, dim: str | None) -> list[Any]:
    coordinate, count = image.coords.get(key), 1 if dim is None else image.sizes[dim]
    if coordinate is None or coordinate.size != count:
        return [None] * count
    return list(np.atleast_1d(coordinate.values))


def _color(text: Any) -> Color:
    known = _HEX_COLOR.fullmatch(str(text))
    return Color(*bytes.fromhex(known[0][1:])) if known else Color(255, 255, 255)


def _positive(value: Any) -> float | None:
    return positive(None if value is None else float(value))


def _microscopes(image: xr.DataArray, dim: str | None) -> list[Microscope]:
    """Return the optics of each channel; empty if unknown."""
    attrs = {field: image.attrs[key] for field, key in _OPTICS.items() if image.attrs.get(key)}
    modality = _per_channel(image, "modality", dim)
    stated = _stated_channels(image)
    numbers = [
        {
            key: value
            for key, value in stated.get(name, {}).items()
            if key in Microscope.__annotations__ and isinstance(value, (int, float))
        }
        for name in _per_channel(image, dim or "C", dim)
    ]
    if not attrs and not any(numbers) and modality[0] is None:
        return []
    flags = [[flag for flag in str(text or "").split(", ") if flag in MASKS] for text in modality]
    return [
        Microscope(**{**optics, **attrs, "modalityFlags": names}) for optics, names in zip(numbers, flags, strict=True)
    ]


def _stated_channels(image: xr.DataArray) -> dict[str, Any]:
    """Return name and optics of each channel by ``nd2_metadata``, under its unique name."""
    try:
        channels = [
            {"name": channel["channel"]["name"], **channel["microscope"]}
            for channel in json.loads(image.attrs["nd2_metadata"])["channels"]
        ]
    except (KeyError, TypeError, ValueError):
        return {}
    names = [str(one["name"] or f"Channel {i}") for i, one in enumerate(channels)]
    return dict(zip(unique_names(names), channels, strict=True))


def _text_info(image: xr.DataArray) -> TextInfo:
    attached = _structures(image).get("text_info")
    if not attached:
        try:
            attached = json.loads(image.attrs.get("nd2_text_info", "{}"))
        except (TypeError, ValueError):
            attached = {}
    return cast("TextInfo", {key: text for key, text in attached.items() if key in TextInfo.__annotations__})


def _columns(image: xr.DataArray, dims: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Return the coordinates that vary with loops only, as columns of recorded data."""
    loops = _loops(image, dims)
    columns: dict[str, NDArray[Any]] = {}
    for key, coordinate in image.coords.items():
        name, own = str(key), coordinate.dims
        source = coordinate.attrs.get("source")
        if name in dims or source == "nominal" or not set(own) <= set(loops) or not (own or source == "recorded"):
            continue
        if coordinate.dtype.kind not in "biufUT" or (name in _OWN and name not in _STAGE):
            continue
        title = str(coordinate.attrs.get("long_name", name))
        unit = str(coordinate.attrs.get("units", ""))
        header = f"{title} [{_UNIT_SIGNS.get(unit, unit)}]" if unit else title
        values = coordinate.values
        if values.dtype.kind == "T":
            values = values.astype("U")
        columns[_STAGE.get(name, header)] = _spread(values, own, loops)
    return columns
