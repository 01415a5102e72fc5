"""The plan of a file, made before its first byte is written: sizes, pixel layout, loops, channels.

Callers give plain values or the public value types; the plan holds the latter.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

import numpy as np

from nd2._core import errors
from nd2._core import structures as s
from nd2._core.format.pixels import PixelLayout, padded_row_bytes
from nd2._core.frames.array import PIXEL_DIMS
from nd2._core.frames.grid import Layout
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from nd2._core.event_types import ExperimentEvent
    from nd2._core.format.pixels import Codec, SampleOrder
    from nd2._core.region_types import ROI

Compression: TypeAlias = Literal["zlib"] | None
ChannelLike: TypeAlias = "str | s.ChannelMeta | s.Channel"
PositionLike: TypeAlias = "str | s.Position | Sequence[float]"

_LOOP_AXES = "TPZU"
_COLORS = tuple(
    s.Color(*rgb) for rgb in ((0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 0, 255), (0, 255, 255), (255, 255, 0))
)
_WHITE = s.Color(255, 255, 255)
_MAX_FRAMES = 1 << 31


class WriterOptions(TypedDict, total=False):
    """Options of `ND2Writer`; its docstring describes them."""

    channels: Sequence[ChannelLike] | None
    microscope: s.Microscope | Sequence[s.Microscope] | None
    exposure: Sequence[float | None] | None
    voxel_size: Sequence[float] | None
    positions: Sequence[PositionLike] | None
    times: ArrayLike | None
    period: float | None
    z: ArrayLike | None
    stage: Sequence[float] | None
    start: datetime | float | None
    significant_bits: int | None
    compression: Compression
    text_info: s.TextInfo | None
    custom: Mapping[str, Any] | None
    columns: Mapping[str, ArrayLike] | None
    rois: Sequence[ROI] | Mapping[int, ROI] | None
    events: Sequence[ExperimentEvent] | None
    labels: Mapping[str, ArrayLike] | None
    samples: SampleOrder
    version: tuple[int, int]
    in_place: bool
    overwrite: bool


@record
class Plan:
    """Geometry of a file, its loops (outermost first) and its channels.

    ``z_home`` is z of the home plane of the stack in micrometers, ``exposures_ms`` empty if unknown.
    """

    attributes: s.Attributes
    loops: list[s.ExpLoop]
    channels: list[s.Channel]
    pixels: PixelLayout
    layout: Layout
    frame_count: int
    z_home: float = 0.0
    exposures_ms: Sequence[float | None] = ()


def make(sizes: Mapping[str, int], dtype: DTypeLike, options: WriterOptions, *, any_dtype: bool = False) -> Plan:
    """Plan a file from plain values; `ND2Writer` describes them.

    With ``any_dtype``, samples may be of a type that ND2 files cannot hold: for exports of arrays.
    """
    positions, z, period = options.get("positions"), options.get("z"), options.get("period")
    voxel_size, compression = options.get("voxel_size"), options.get("compression")
    significant_bits = options.get("significant_bits")
    sample = np.dtype(dtype).newbyteorder("<") if any_dtype else _sample_type(dtype)
    if compression not in (None, "zlib"):
        raise ValueError(f"compression {compression!r}: None and 'zlib' are known")
    channels, height, width, samples = (sizes.get(axis, 1) for axis in PIXEL_DIMS)
    row_bytes = padded_row_bytes(width, channels * samples, sample.itemsize)
    codec: Codec = "zlib" if compression else "raw"
    layout = PixelLayout(height, width, channels, samples, sample, row_bytes, codec)
    loops = [(name, size) for name, size in sizes.items() if name not in PIXEL_DIMS]
    frame_count = math.prod(size for _, size in loops)
    if voxel_size is not None and np.shape(voxel_size) not in ((2,), (3,)):
        raise ValueError(f"voxel_size must be (x, y) or (x, y, z) in micrometers, not {voxel_size!r}")
    z_step = float(voxel_size[2]) if voxel_size is not None and len(voxel_size) > 2 else 0.0
    built: list[s.ExpLoop] = []
    home = 0.0
    for nesting, (name, count) in enumerate(loops):
        if name[0] == "T":
            built.append(_time_loop(count, nesting, period if name == "T" else None))
        elif name[0] == "P":
            built.append(_position_loop(count, nesting, positions))
        elif name[0] == "Z":
            loop, home = _stack(count, nesting, z, z_step)
            built.append(loop)
        else:
            built.append(s.CustomLoop(count, nesting))
    bits, allowed = 8 * sample.itemsize, significant_bits_range(sample)
    if significant_bits is not None and significant_bits not in allowed:
        raise ValueError(
            f"{significant_bits} significant bits in samples of {sample}: readers take other than "
            f"{allowed[0]} to {allowed[-1]} for another type"
        )
    attributes = s.Attributes(
        bitsPerComponentInMemory=bits,
        bitsPerComponentSignificant=significant_bits or bits,
        componentCount=layout.channels * layout.samples,
        heightPx=layout.height,
        pixelDataType="float" if sample.kind == "f" else "unsigned",
        sequenceCount=frame_count,
        widthBytes=layout.row_bytes,
        widthPx=layout.width,
        compressionLevel=0.0 if compression else None,
        compressionType="lossless" if compression else None,
        channelCount=layout.channels,
    )
    for name, axis, value in (("positions", "P", positions), ("z", "Z", z), ("period", "T", period)):
        if value is not None and axis not in sizes:  # it would be lost
            raise ValueError(f"{name} were given, but sizes have no axis {axis!r}")
    described = _channels(layout, options, attributes)
    exposures = options.get("exposure") or ()
    if exposures and len(exposures) != layout.channels:
        raise ValueError(f"{len(exposures)} exposures for an axis C of {layout.channels}")
    return Plan(
        attributes, built, described, layout, Layout.from_experiment(built, attributes), frame_count, home, exposures
    )


def resolve_sizes(
    sizes: Mapping[str, int] | None, shape: Sequence[int] | None, axes: Sequence[str] | None
) -> dict[str, int]:
    """Return name and size of each axis from either form, checked."""
    if sizes is None:
        if shape is None or axes is None:
            raise ValueError("give sizes, as {'T': 10, 'Y': 512, 'X': 512}, or shape and axes")
        if len(shape) != len(axes) or len(set(axes)) != len(axes):
            raise ValueError(f"axes {axes!r} do not name the {len(shape)} axes of shape {shape}")
        sizes = dict(zip(axes, shape, strict=True))
    resolved = {str(name): int(size) for name, size in sizes.items()}
    for name, size in resolved.items():
        loop = name[:1] in _LOOP_AXES and (name[1:] == "" or name[1:].isdecimal())
        if not name or not (loop or name in PIXEL_DIMS):
            raise ValueError(f"axis {name!r} is not one of T, P, Z, U (loops), C, Y, X, S: rename it")
        if size < 1:
            raise ValueError(f"axis {name!r} has size {size}")
    if "Y" not in resolved or "X" not in resolved:
        raise ValueError(f"the axes {''.join(resolved)!r} lack Y and X")
    if resolved.get("S", 1) not in (1, 3):
        raise ValueError(f"{resolved['S']} samples of a pixel: a file holds 1, or 3 for color")
    frames = math.prod(size for name, size in resolved.items() if name not in PIXEL_DIMS)
    if frames >= _MAX_FRAMES:
        raise ValueError(f"{frames} frames: a file holds fewer than {_MAX_FRAMES}")
    return resolved


def _sample_type(dtype: DTypeLike) -> np.dtype[Any]:
    """Return the stored type of samples; types that readers would misread are refused."""
    given = np.dtype(dtype)
    stored = {"u1": "|u1", "u2": "<u2", "f4": "<f4"}.get(given.str[1:])
    if stored is not None:
        return np.dtype(stored)
    advice = {
        "b": "np.uint8",
        "i": "np.uint8, np.uint16 or np.float32",
        "u": "np.uint16 or np.float32",
        "f": "np.float32",
    }.get(given.kind, "np.uint8, np.uint16 or np.float32")
    raise TypeError(
        "ND2 files hold uint8, uint16 and float32 (readers take 16 bits for unsigned integers and "
        f"32 bits for floating point), not {given}: convert with .astype({advice}), if the values "
        "allow it"
    )


def significant_bits_range(dtype: np.dtype[Any]) -> range:
    """Return the possible significant bits; Nikon's reader derives the type from them."""
    bits = 8 * dtype.itemsize
    return {8: range(1, 9), 16: range(9, 17)}.get(bits, range(bits, bits + 1))


def _time_loop(count: int, nesting: int, period: float | None) -> s.TimeLoop:
    loop = s.TimeLoop(count, nesting, s.TimeLoopParams(0.0, 0.0, 0.0, s.PeriodDiff()))
    if period is None:
        return loop  # measured by the times of the frames
    if not (period >= 0 and math.isfinite(period)):
        raise ValueError(f"period {period}: expected a number of milliseconds")
    return measured_time_loop(loop, np.arange(count, dtype=np.float64) * period)


def measured_time_loop(loop: s.TimeLoop, times: NDArray[np.float64]) -> s.TimeLoop:
    """Return the loop with start, period and duration by the times of its steps in milliseconds."""
    steps = np.diff(times) if len(times) > 1 else np.zeros(1)
    period = float((times[-1] - times[0]) / len(steps))
    parameters = s.TimeLoopParams(
        startMs=float(times[0]),
        periodMs=period,
        durationMs=float(times[-1] - times[0]),
        periodDiff=s.PeriodDiff(avg=period, max=float(steps.max()), min=float(steps.min())),
    )
    return replace(loop, parameters=parameters)


def _position_loop(count: int, nesting: int, positions: Sequence[PositionLike] | None) -> s.XYPosLoop:
    if positions is not None and len(positions) != count:
        raise ValueError(f"{errors.plural(len(positions), 'position')} for an axis P of {count}")
    points = [_position(point) for point in positions or [s.Position(s.StagePosition(0, 0, 0))] * count]
    sets_z = any(point.stagePositionUm[2] for point in points)
    return s.XYPosLoop(count, nesting, s.XYPosLoopParams(sets_z, points))


def _position(value: PositionLike) -> s.Position:
    if isinstance(value, s.Position):
        return value
    if isinstance(value, str):
        return s.Position(s.StagePosition(0.0, 0.0, 0.0), pfsOffset=0.0, name=value)
    x, y, z = (float(part) for part in (*value, 0.0)[:3])
    return s.Position(s.StagePosition(x, y, z), pfsOffset=0.0)


def _stack(count: int, nesting: int, z: ArrayLike | None, step: float) -> tuple[s.ZStackLoop, float]:
    """Return the loop, and z of its home plane."""
    home, home_z = (count - 1) // 2, 0.0
    if z is not None:
        planes = np.asarray(z, np.float64)
        if planes.shape != (count,):
            raise ValueError(f"z has shape {planes.shape}; expected ({count},)")
        if not np.isfinite(planes).all():
            raise ValueError("z holds values that are not finite")
        if count > 1:
            # Rounded to picometers, against binary fractions.
            step = round(float(planes[-1] - planes[0]) / (count - 1), 6)
        if planes.min() <= 0 <= planes.max():
            home = int(np.abs(planes).argmin())
        home_z = float(planes[home])
    return s.ZStackLoop(count, nesting, s.ZStackLoopParams(home, step, step >= 0)), home_z


def _channels(layout: PixelLayout, options: WriterOptions, attributes: s.Attributes) -> list[s.Channel]:
    given, voxel_size = options.get("channels"), options.get("voxel_size")
    microscope, count = options.get("microscope"), layout.channels
    if given is None:
        names = [f"Channel_{i + 1}" for i in range(count)]
        given = names if count > 1 else ["RGB" if layout.samples == 3 else "Mono"]
    if len(given) != count:
        raise ValueError(f"{errors.plural(len(given), 'channel')} for an axis C of {count}")
    pixel: float | None = None
    if voxel_size is not None:
        pixel, other = map(float, voxel_size[:2])
        if not math.isclose(pixel, other, rel_tol=1e-6):
            raise ValueError(
                f"pixels of {pixel} x {other} micrometers: an ND2 file holds square pixels; resample the image"
            )
        if not (pixel > 0 and math.isfinite(pixel)):
            raise ValueError(f"voxel_size {voxel_size} must be positive numbers, in micrometers")
    if microscope is None or isinstance(microscope, s.Microscope):
        microscope = [microscope or s.Microscope()] * count
    if len(microscope) != count:
        raise ValueError(f"{errors.plural(len(microscope), 'microscope')} for an axis C of {count}")
    return [
        _channel(value, i, layout, optics, pixel, attributes)
        for i, (value, optics) in enumerate(zip(given, microscope, strict=True))
    ]


def _channel(
    value: ChannelLike,
    index: int,
    layout: PixelLayout,
    microscope: s.Microscope,
    pixel: float | None,
    attributes: s.Attributes,
) -> s.Channel:
    if isinstance(value, str):
        color = _WHITE if layout.channels == 1 else _COLORS[index % len(_COLORS)]
        value = s.ChannelMeta(value, index, color)
    optics = value.microscope if isinstance(value, s.Channel) else microscope
    if not optics.modalityFlags:
        optics = replace(optics, modalityFlags=["brightfield" if layout.samples == 3 else "fluorescence"])
    volume = s.Volume(
        axesCalibrated=(pixel is not None, pixel is not None, False),
        axesCalibration=(pixel or 1.0, pixel or 1.0, 1.0),
        axesInterpretation=("distance", "distance", "distance"),
        bitsPerComponentInMemory=attributes.bitsPerComponentInMemory,
        bitsPerComponentSignificant=attributes.bitsPerComponentSignificant,
        cameraTransformationMatrix=(1.0, 0.0, 0.0, 1.0),
        componentCount=layout.samples,
        componentDataType=attributes.pixelDataType,
        voxelCount=(layout.width, layout.height, 1),
    )
    if isinstance(value, s.ChannelMeta):
        return s.Channel(value, None, optics, volume)
    new: dict[str, Any] = {"componentCount": layout.samples}
    if pixel is not None:
        new |= {"axesCalibrated": volume.axesCalibrated, "axesCalibration": volume.axesCalibration}
        new["pixelToStageTransformationMatrix"] = None
    return s.Channel(value.channel, None, optics, replace(value.volume, **new))
