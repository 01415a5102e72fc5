"""``ND2Writer``: a file from plain values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Unpack

import numpy as np

from nd2._core import errors
from nd2._core.chunks import custom_data, recorded_data
from nd2._core.chunks.binary_layers import LayerInfo
from nd2._core.chunks.picture_metadata import DAY_MS, UNIX_EPOCH, FirstFrame
from nd2._core.structures import TextInfo
from nd2._core.write import plan as plans
from nd2._core.write.file_writer import FileWriter
from nd2._core.write.plan import WriterOptions
from nd2._core.write.tables import Layer, NewTables

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from nd2._core.write.plan import Plan


class ND2Writer(FileWriter):
    """Write an ND2 file frame by frame, in constant memory.

    The file grows next to its destination, under the same name with ``.part`` appended, and takes
    its name when it is closed. If that fails, or the ``with`` block ends with an error, nothing is
    left. If the process is killed, the ``.part`` file holds every frame that was written, for
    ``nd2 rescue``.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write.
    sizes : mapping of str to int
        Name and size of each axis: loops ``T``, ``P``, ``Z``, ``U``, outermost first, and of the
        frame ``C``, ``Y``, ``X`` and ``S`` (3 samples, color). Nested loops of one kind are
        numbered: ``T``, ``T2``.
    dtype : dtype
        uint8, uint16 or float32: readers, including Nikon's, read 16 bits as unsigned integers and
        32 bits as floating point.
    shape, axes : sequence
        The same as ``sizes``, in two parts: ``shape=(10, 512, 512), axes="TYX"``.
    channels : sequence of str, ChannelMeta or Channel, optional
        Name of each channel; or name, color and wavelengths; or complete
        channels, as in ``ND2File.metadata.channels``.
    microscope : Microscope or sequence of Microscope, optional
        Objective, zoom and modality: one for all channels without their own, or one per channel.
        Files store one objective.
    exposure : sequence of float, optional
        Exposure of each channel in milliseconds, None where unknown.
    voxel_size : sequence of float, optional
        x, y and optionally z in micrometers. Pixels are square. Without it the file is not
        calibrated.
    positions : sequence, optional
        Each point of the axis P: its name, or ``(x, y)`` or ``(x, y, z)`` in micrometers, or a
        `Position`.
    times : array-like, optional
        In milliseconds, for each step of the axis T or for each frame; NaN where unknown.
    period : float, optional
        Planned time between steps of the axis T in milliseconds; by default the mean of ``times``.
    z : array-like, optional
        For each plane of the axis Z in micrometers: their mean step is the step of the stack, the
        plane at 0 its home.
    stage : sequence of float, optional
        Position of the stage, unless a loop sets it: x, y and optionally z (of the home plane
        of a stack) in micrometers.
    start : datetime or float, optional
        Time of the first frame; or its Julian day number, UTC.
    significant_bits : int, optional
        Bits of a sample that carry information, by default all: 1 to 8 of uint8, 9 to 16 of uint16.
    compression : {None, "zlib"}
        Compression of frames; zlib uses all cores.
    text_info : TextInfo, optional
        Free text; unknown keys raise an error.
    custom : mapping, optional
        Trees of custom data by their tag, as ``ND2File.custom_data`` gives them.
    columns : mapping, optional
        Recorded data: title, followed by the unit in brackets, to one value per frame.
    rois : sequence or mapping of ROI, optional
        Regions of interest.
    events : sequence of ExperimentEvent, optional
        Events of the experiment.
    labels : mapping, optional
        Name of a binary layer to its masks: integers of shape ``(loops..., Y, X)`` or
        ``(n, Y, X)``, 0 for the background.
    samples : {"RGB", "BGR"}
        Order of the axis S of the frames that are written. Files store blue, green, red, and `imread`
        returns that.
    version : tuple of int
        Format version: ``(3, 0)``, or ``(2, 1)`` with XML metadata, as old software wrote it.
    in_place : bool
        Write to ``path`` itself: an unfinished file stays there. The content of an existing file
        is lost at once; an existing ND2 file is refused, even with ``overwrite=True``.
    overwrite : bool
        Whether to replace a file that exists, when the new one is complete.

    Raises
    ------
    TypeError
        If ND2 cannot store this dtype; the message suggests one that fits.
    ValueError
        If the values contradict each other.
    OSError
        If the file cannot be created.
    FileExistsError
        If ``path`` exists and is not to be overwritten.

    Examples
    --------
    >>> sizes = {"T": 100, "C": 2, "Y": 512, "X": 512}
    >>> with ND2Writer("out.nd2", sizes, "uint16", channels=["DAPI", "GFP"]) as writer:  # doctest: +SKIP
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
        **options: Unpack[WriterOptions],
    ) -> None:
        if sizes is not None and not isinstance(sizes, Mapping):
            raise TypeError(f"sizes must map axes to sizes, as {{'T': 3, 'Y': 512, 'X': 512}}, not {sizes!r}")
        sizes = plans.resolve_sizes(sizes, shape, axes)
        tables = new_tables(sizes, dtype, options, path=str(path))
        samples = options.get("samples", "RGB")
        in_place, overwrite = options.get("in_place", False), options.get("overwrite", False)
        super().__init__(path, tables, samples=samples, in_place=in_place, overwrite=overwrite)


def new_tables(
    sizes: Mapping[str, int], dtype: DTypeLike, options: WriterOptions, *, any_dtype: bool = False, path: str = ""
) -> NewTables:
    """Plan a file by the options of `ND2Writer`; see `plan.make` for ``any_dtype``."""
    for name in options.keys() - WriterOptions.__annotations__.keys():
        known = WriterOptions.__annotations__
        raise errors.no_such("option", name, known, path=path, kind=TypeError)
    samples, version = options.get("samples", "RGB"), options.get("version", (3, 0))
    if samples not in ("RGB", "BGR"):
        raise ValueError(f"samples {samples!r}: 'RGB' and 'BGR' are known")
    if version[0] not in (2, 3):
        raise ValueError(f"version {version}: (3, 0) and (2, 1) are known")
    plan = plans.make(sizes, dtype, options, any_dtype=any_dtype)
    times, rois = options.get("times"), options.get("rois") or ()
    stage = _stage(options.get("stage"), plan)
    columns, labels = options.get("columns") or {}, options.get("labels") or {}
    custom = options.get("custom") or {}
    for tag in custom:
        custom_data.name(tag)  # refuses impossible tags before frames are written
    return NewTables(
        plan,
        version,
        times=_frame_times(times, plan),
        first=FirstFrame(julian_day=julian_day(options.get("start")), stage=stage),
        text_info=options.get("text_info") or TextInfo(),
        custom=custom,
        columns=[recorded_data.column(header, values, plan.frame_count) for header, values in columns.items()],
        rois=list(rois.values() if isinstance(rois, Mapping) else rois),
        events=list(options.get("events") or ()),
        layers=[_layer(name, i, masks, plan) for i, (name, masks) in enumerate(labels.items())],
    )


def julian_day(when: datetime | float | None) -> float:
    """Return the Julian day number (UTC) of a time; one without zone is local; 0 for None."""
    if when is None:
        return 0.0
    if isinstance(when, datetime):
        return UNIX_EPOCH + when.astimezone(UTC).timestamp() / (DAY_MS / 1000)
    return float(when)


def _frame_times(values: ArrayLike | None, plan: Plan) -> NDArray[np.float64]:
    """Return a time for each frame, from one for each frame or each step of the time loop."""
    if values is None:
        return np.full(plan.frame_count, np.nan)
    times = np.asarray(values, float)
    if times.shape == (plan.frame_count,):
        return times
    axes = [i for i, (name, _) in enumerate(plan.layout.loops) if name[0] == "T"]
    if len(axes) != 1 or times.shape != plan.layout.loop_shape[axes[0] : axes[0] + 1]:
        raise ValueError(
            f"times have shape {times.shape}; expected one for each step of the axis T, or for "
            f"each of {plan.frame_count} frames"
        )
    shape = plan.layout.loop_shape
    steps = times.reshape([-1 if axis == axes[0] else 1 for axis in range(len(shape))])
    return np.broadcast_to(steps, shape).reshape(-1)


def _stage(given: Sequence[float] | None, plan: Plan) -> tuple[float, float, float]:
    """Return the stage position of the first frame, by default that of the first point."""
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
