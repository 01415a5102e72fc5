"""``ND2Writer``: a file from plain values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from nd2._core.chunks import recorded_data
from nd2._core.chunks.binary_layers import LayerInfo
from nd2._core.chunks.picture_metadata import DAY_MS, UNIX_EPOCH, FirstFrame
from nd2._core.structures import TextInfo
from nd2._core.write import plan as plans
from nd2._core.write.core import FileContents, FileWriter, Layer

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from nd2._core.format.pixels import SampleOrder
    from nd2._core.structures import ROI, ExperimentEvent, Microscope
    from nd2._core.write.plan import ChannelLike, Compression, Plan, PositionLike


class WriterOptions(TypedDict, total=False):
    """Options of `ND2Writer` beside path, axes and type."""

    channels: Sequence[ChannelLike] | None
    microscope: Microscope | Sequence[Microscope] | None
    voxel_size: Sequence[float] | None
    positions: Sequence[PositionLike] | None
    times: ArrayLike | None
    z: ArrayLike | None
    stage: Sequence[float] | None
    start: datetime | float | None
    significant_bits: int | None
    compression: Compression
    text_info: TextInfo | None
    custom: Mapping[str, Any] | None
    columns: Mapping[str, ArrayLike] | None
    rois: Sequence[ROI] | Mapping[int, ROI] | None
    events: Sequence[ExperimentEvent] | None
    labels: Mapping[str, ArrayLike] | None
    samples: SampleOrder
    version: tuple[int, int]
    in_place: bool


class ND2Writer(FileWriter):
    """Write an ND2 file frame by frame, in constant memory.

    The file grows beside its destination, under the same name with ``.part`` appended, and takes its name when it is
    closed; if that fails, or the ``with`` block ends with an error, nothing is left. If the process is killed, the
    ``.part`` file holds every frame that was written, for ``nd2 rescue``.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write; one that exists is replaced when the new one is complete.
    sizes : mapping of str to int
        Name and size of each axis: loops ``T``, ``P``, ``Z``, ``U``, outermost first, and of the frame ``C``, ``Y``,
        ``X`` and ``S`` (3 samples, colour). Nested loops of one kind are numbered: ``T``, ``T2``.
    dtype : dtype
        uint8, uint16 or float32: readers, Nikon's own among them, take 16 bits for unsigned integers and 32 bits for
        floating point.
    shape, axes : sequence
        The same as ``sizes``, in two parts: ``shape=(10, 512, 512), axes="TYX"``.
    channels : sequence of str, ChannelMeta or Channel, optional
        Name of each channel; or name, colour and wavelengths; or all that ``ND2File.metadata.channels`` says.
    microscope : Microscope or sequence of Microscope, optional
        Objective, zoom and modality: of all channels that do not say them, or of each. Files keep one objective.
    voxel_size : sequence of float, optional
        x, y and maybe z in micrometers. Pixels are square. Without it the file is not calibrated.
    positions : sequence, optional
        Each point of the axis P: its name, or ``(x, y)`` or ``(x, y, z)`` in micrometers, or a `Position`.
    times : array-like, optional
        In milliseconds, of each step of the axis T, or of each frame, NaN where it is not known.
    z : array-like, optional
        Of each plane of the axis Z in micrometers: their mean step is the step of the stack, the plane at 0 its home.
    stage : sequence of float, optional
        Where the stage stood, as far as no loop says it: x, y and maybe z (of a stack's home plane) in micrometers.
    start : datetime or float, optional
        When the first frame was taken; or its Julian day number, UTC.
    significant_bits : int, optional
        Bits of a sample that carry information, by default all.
    compression : {None, "zlib"}
        How frames are stored; with zlib they are compressed on all cores.
    text_info : TextInfo, optional
        Free text.
    custom : mapping, optional
        Trees of custom data by their tag, as ``ND2File.custom_data`` gives them.
    columns : mapping, optional
        Recorded data: title (with the unit in brackets behind it) to one value for each frame.
    rois : sequence or mapping of ROI, optional
        Regions of interest.
    events : sequence of ExperimentEvent, optional
        What happened during the experiment.
    labels : mapping, optional
        Name of a binary layer to its masks: integers of shape ``(loops..., Y, X)`` or ``(n, Y, X)``, 0 for the
        background.
    samples : {"RGB", "BGR"}
        Order of the axis S of the frames to come. Files store blue, green, red, and `imread` returns that.
    version : tuple of int
        Format version: ``(3, 0)``, or ``(2, 1)`` with XML metadata, as old software wrote it.
    in_place : bool
        Write to ``path`` itself. What is there is lost at once, and an unfinished file stays.

    Raises
    ------
    TypeError
        If the type of the samples is none that a file holds; it says what to convert to.
    ValueError
        If the values contradict each other.
    OSError
        If the file cannot be created.

    Examples
    --------
    >>> sizes = {"T": 100, "C": 2, "Y": 512, "X": 512}
    >>> with ND2Writer(
    ...     "out.nd2", sizes, "uint16", channels=["DAPI", "GFP"]
    ... ) as writer:  # doctest: +SKIP
    ...     for t in range(100):
    ...         writer.write_frame(t, camera.grab(), time=camera.milliseconds())
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sizes: Mapping[str, int] | None = None,
        dtype: DTypeLike = np.uint16,
        *,
        shape: Sequence[int] | None = None,
        axes: Sequence[str] | None = None,
        channels: Sequence[ChannelLike] | None = None,
        microscope: Microscope | Sequence[Microscope] | None = None,
        voxel_size: Sequence[float] | None = None,
        positions: Sequence[PositionLike] | None = None,
        times: ArrayLike | None = None,
        z: ArrayLike | None = None,
        stage: Sequence[float] | None = None,
        start: datetime | float | None = None,
        significant_bits: int | None = None,
        compression: Compression = None,
        text_info: TextInfo | None = None,
        custom: Mapping[str, Any] | None = None,
        columns: Mapping[str, ArrayLike] | None = None,
        rois: Sequence[ROI] | Mapping[int, ROI] | None = None,
        events: Sequence[ExperimentEvent] | None = None,
        labels: Mapping[str, ArrayLike] | None = None,
        samples: SampleOrder = "RGB",
        version: tuple[int, int] = (3, 0),
        in_place: bool = False,
    ) -> None:
        if samples not in ("RGB", "BGR"):
            raise ValueError(f"samples {samples!r}: 'RGB' and 'BGR' are known")
        if version[0] not in (2, 3):
            raise ValueError(f"version {version}: (3, 0) and (2, 1) are known")
        plan = plans.make(
            plans.resolve_sizes(sizes, shape, axes),
            dtype,
            channels=channels,
            microscope=microscope,
            voxel_size=voxel_size,
            positions=positions,
            times=times,
            z=z,
            significant_bits=significant_bits,
            compression=compression,
        )
        count = plan.frame_count
        beside = FileContents(
            first=FirstFrame(julian_day=julian_day(start), stage=_stage(stage, plan)),
            times=None if times is None else _frame_times(np.asarray(times, float), plan),
            text_info=text_info or TextInfo(),
            custom=custom or {},
            columns=[
                recorded_data.column(header, values, count)
                for header, values in (columns or {}).items()
            ],
            rois=list(rois.values() if isinstance(rois, Mapping) else rois or ()),
            events=list(events or ()),
            layers=[
                _layer(name, i, masks, plan)
                for i, (name, masks) in enumerate((labels or {}).items())
            ],
        )
        super().__init__(path, plan, beside, samples=samples, version=version, in_place=in_place)


def julian_day(when: datetime | float | None) -> float:
    """Return the Julian day number (UTC) of a moment; of a local time without zone, as the machine has it; 0 for None."""
    if when is None:
        return 0.0
    if isinstance(when, datetime):
        return UNIX_EPOCH + when.astimezone(UTC).timestamp() / (DAY_MS / 1000)
    return float(when)


def _frame_times(times: NDArray[np.float64], plan: Plan) -> NDArray[np.float64]:
    """Return a time for each frame, from one for each, or for each step of the time loop."""
    if times.shape == (plan.frame_count,):
        return times
    axes = [i for i, (name, _) in enumerate(plan.layout.loops) if name[0] == "T"]
    if len(axes) != 1 or times.shape != plan.layout.loop_shape[axes[0] : axes[0] + 1]:
        raise ValueError(
            f"times have shape {times.shape}; expected one for each step of the axis T, or for each of "
            f"{plan.frame_count} frames"
        )
    shape = plan.layout.loop_shape
    steps = times.reshape([-1 if axis == axes[0] else 1 for axis in range(len(shape))])
    return np.broadcast_to(steps, shape).reshape(-1)


def _stage(given: Sequence[float] | None, plan: Plan) -> tuple[float, float, float]:
    """Return where the stage stood at the first frame: as given, else as the first point and the stack have it."""
    if given is not None:
        if len(given) not in (2, 3):
            raise ValueError(f"stage {given}: expected (x, y) or (x, y, z)")
        return float(given[0]), float(given[1]), float(given[2]) if len(given) > 2 else plan.z_home
    for loop in plan.loops:
        if loop.type == "XYPosLoop":
            x, y, _ = loop.parameters.points[0].stagePositionUm
            return x, y, plan.z_home
    return 0.0, 0.0, plan.z_home


def _layer(name: str, index: int, masks: ArrayLike, plan: Plan) -> Layer:
    array = np.asarray(masks)
    frame = (plan.pixels.height, plan.pixels.width)
    expected = (*plan.layout.loop_shape, *frame)
    if array.shape not in (expected, (plan.frame_count, *frame)):
        raise ValueError(f"labels {name!r} have shape {array.shape}; expected {expected}")
    info = LayerInfo(
        name,
        f"RleZipBinarySequence_{index + 1}_v1",
        comp_name=None,
        comp_order=None,
        color=0x00FF00,
        color_mode=None,
        state=None,
        layer_id=index + 1,
    )
    return Layer(info, list(array.reshape(-1, *frame)))
