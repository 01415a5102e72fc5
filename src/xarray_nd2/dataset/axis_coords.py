"""Coordinates along one axis: times, heights, positions, channels, pixels, and what is known of each channel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_nd2.dataset.variable import VariableModel

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from nd2._core.frames.array import FrameArray
    from nd2._core.readers import Reader
    from xarray_nd2.dataset.clock import Clock

LONG_NAMES = {
    "Z": "height relative to the home plane",
    "P": "position",
    "C": "channel",
    "Y": "vertical distance from the first row",
    "X": "horizontal distance from the first column",
    "S": "colour sample",
}


def axis_coordinates(
    reader: Reader, image: FrameArray, clock: Clock, dropped: Collection[str] = ()
) -> dict[str, VariableModel]:
    """Return the coordinate of every axis that the file has; each is one-dimensional.

    Parameters
    ----------
    reader : Reader
        The file.
    image : FrameArray
        Its image, or that of one position.
    clock : Clock
        How times are told.
    dropped : collection of str
        Axes whose coordinate is not wanted: times are not read for them.
    """
    loops = {
        name: loop for (name, _), loop in zip(reader.layout.loops, reader.experiment, strict=True)
    }
    values: dict[str, VariableModel] = {}
    grid = image.grid
    for name, count in zip(grid.names, grid.counts, strict=True):
        loop = loops.get(name)
        if name in dropped:
            continue
        if name[0] == "T":
            values[name] = _times(reader, name, loop, grid.steps(name), clock)
        elif name[0] == "Z":
            values[name] = _heights(reader, name, loop, count)
        elif name[0] == "P":
            index = reader.layout.grid.indices(grid.steps(name)).get(name, np.zeros(count, int))
            values[name] = VariableModel((name,), index)
        else:
            values[name] = VariableModel((name,), np.arange(count))
    pixels = image.frames.pixels
    values["C"] = VariableModel(("C",), np.array(unique_channel_names(reader), dtype=np.str_))
    voxel, calibrated = reader.voxel_size, is_calibrated(reader)
    for dim, count, size in (("Y", pixels.height, voxel.y), ("X", pixels.width, voxel.x)):
        places = np.arange(count) * (size if calibrated else 1.0)
        values[dim] = VariableModel((dim,), places, {"units": "micrometer"} if calibrated else {})
    if pixels.samples > 1:
        order = tuple(pixels.sample_order)
        values["S"] = VariableModel(("S",), np.array(order[: pixels.samples]))
    for dim, variable in values.items():
        variable.attrs.setdefault("long_name", LONG_NAMES.get(dim[0], dim))
    return values


def _times(
    reader: Reader, name: str, loop: Any, first: NDArray[np.intp], clock: Clock
) -> VariableModel:
    """Return the time of the first frame of each step: as recorded, or as planned where nothing was recorded."""
    attrs = {"long_name": "time of the first frame of each step", **clock.units}
    recorded = reader.frame_times
    if recorded is not None and len(first) and first[-1] < len(recorded):
        times = recorded[first]
        if np.isfinite(times).all():
            values = clock.convert(times / 1000)
            return VariableModel((name,), values, {**attrs, "source": "recorded"})
    nominal = np.zeros(len(first)) if loop is None else _nominal_times(loop, len(first))
    return VariableModel((name,), nominal / 1000, {**attrs, "source": "nominal"})


def _nominal_times(loop: Any, count: int) -> NDArray[np.float64]:
    """Return the planned time of each step in milliseconds; phases follow each other."""
    phased = loop.type == "NETimeLoop"
    times: list[NDArray[np.float64]] = []
    start = 0.0
    for period in loop.parameters.periods if phased else [loop.parameters]:
        n = period.count if phased else count
        step = float(period.periodDiff.avg or period.periodMs)
        times.append(start + np.arange(n) * step)
        start += max(float(period.durationMs), n * step)
    return np.concatenate([*times, np.zeros(0)])[:count]


def _heights(reader: Reader, name: str, loop: Any, count: int) -> VariableModel:
    """Return the height of each plane over home, as Nikon's own reader places the stage."""
    if loop is None:
        return VariableModel((name,), np.zeros(count), {"units": "micrometer"})
    home, step = loop.parameters.homeIndex, float(loop.parameters.stepUm)
    return VariableModel((name,), (np.arange(count) - home) * step, {"units": "micrometer"})


def is_calibrated(reader: Reader) -> bool:
    """Return whether the file says how large a pixel is."""
    channels = _channels(reader)
    return bool(channels) and all(channels[0].volume.axesCalibrated[:2])


def _channels(reader: Reader) -> list[Any]:
    return getattr(reader.metadata, "channels", None) or []


def unique_channel_names(reader: Reader) -> list[str]:
    """Return a name for each channel, made unique with a suffix where names repeat."""
    names = [channel.channel.name or f"Channel {i}" for i, channel in enumerate(_channels(reader))]
    if len(names) != reader.layout.channels:
        names = [f"Channel {i}" for i in range(reader.layout.channels)]
    unique: list[str] = []
    for i, name in enumerate(names):
        candidate, number = name, 1
        # A suffix must not make a name that another channel has.
        while candidate in (names[:i] + unique if number == 1 else names + unique):
            number += 1
            candidate = f"{name} ({number})"
        unique.append(candidate)
    return unique


def channel_coordinates(reader: Reader) -> dict[str, VariableModel]:
    """Return what is known of each channel: wavelengths in nanometers, colour, modality; each on the axis C.

    Empty where the metadata and the image do not agree on the number of channels.
    """
    channels = _channels(reader)
    if len(channels) != reader.layout.channels:
        return {}
    emission = [channel.channel.emissionLambdaNm for channel in channels]
    excitation = [channel.channel.excitationLambdaNm for channel in channels]
    colors = [channel.channel.color for channel in channels]
    modality = [", ".join(channel.microscope.modalityFlags) for channel in channels]
    wave = {"units": "nm"}
    return {
        "emission_wavelength": VariableModel(
            ("C",), _numbers(emission), {"long_name": "emission wavelength", **wave}
        ),
        "excitation_wavelength": VariableModel(
            ("C",), _numbers(excitation), {"long_name": "excitation wavelength", **wave}
        ),
        "channel_color": VariableModel(
            ("C",),
            np.array([f"#{color.r:02X}{color.g:02X}{color.b:02X}" for color in colors]),
            {"long_name": "display colour of the channel"},
        ),
        "modality": VariableModel(
            ("C",), np.array(modality), {"long_name": "modality of the acquisition"}
        ),
    }


def _numbers(values: list[float | None]) -> NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def position_names(reader: Reader) -> VariableModel | None:
    """Return the name of each position as the file has it, on the axis P; None where no position has a name."""
    for (name, _), loop in zip(reader.layout.loops, reader.experiment, strict=True):
        if loop.type == "XYPosLoop":
            names = [point.name or "" for point in loop.parameters.points]
            if any(names):
                attrs = {"long_name": "name of the position"}
                return VariableModel((name,), np.array(names, np.str_), attrs)
    return None
