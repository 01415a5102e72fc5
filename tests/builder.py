"""Tiny ND2 files of every kind, written by hand around the metadata trees of the package's own writer.

By hand, because tests also need files that a well-behaved writer refuses to write: rows with odd padding, missing
frames, frames out of order, name fields of odd length, a map that lies.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.chunks import attributes, experiment, picture_metadata
from nd2._core.format import chunks, clx_lite, clx_xml
from nd2._core.format.clx_lite import I32
from nd2._core.format.inflate import deflate_zlib
from nd2._core.format.pixels import PixelLayout, padded_row_bytes
from nd2.structures import (
    Attributes,
    Channel,
    ChannelMeta,
    Color,
    CustomLoop,
    ExpLoop,
    Microscope,
    NETimeLoop,
    NETimeLoopParams,
    Period,
    PeriodDiff,
    Position,
    StagePosition,
    TimeLoop,
    TimeLoopParams,
    Volume,
    XYPosLoop,
    XYPosLoopParams,
    ZStackLoop,
    ZStackLoopParams,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

_COLORS = (Color(0, 255, 0), Color(255, 0, 0), Color(0, 0, 255), Color(0, 255, 255))


@dataclass(frozen=True)
class Nd2Spec:
    """Content of a made file.

    Attributes
    ----------
    loops : sequence of (str, int)
        Letter and count, outermost first: ``T``, ``P``, ``Z``, ``U``, or ``N`` for a time loop of phases.
    channels, samples, height, width, dtype
        Shape and type of a frame; ``samples=3`` for color.
    zlib : bool
        Whether frames are compressed.
    row_bytes : int, optional
        Row stride; by default the packed row rounded up to 4 bytes.
    missing : set of int
        Frames that are not written.
    extra : int
        Frames beyond the loops.
    order : sequence of int, optional
        Order in which frames are written.
    version : (int, int)
        3.0 writes binary metadata, 2.x XML.
    times : sequence of float, optional
        Recorded times in ms; by default 100 ms a frame. Empty for no time table.
    name_field : int
        Bytes that are added to each frame's name field, so that pixels do not start on a page.
    pixel_type : int
        0 signed, 1 unsigned, 2 float.
    overrides : mapping
        Attributes to replace (``uiSequenceCount`` ...).
    chunks : mapping
        Name (with ``!``) -> payload of further chunks; None leaves out one that is written otherwise.
    experiment : mapping, optional
        Tree of the loops, instead of that which `loops` give.
    """

    loops: Sequence[tuple[str, int]] = ()
    channels: int = 1
    samples: int = 1
    height: int = 6
    width: int = 8
    dtype: DTypeLike = "<u2"
    zlib: bool = False
    row_bytes: int | None = None
    missing: frozenset[int] = frozenset()
    extra: int = 0
    order: Sequence[int] | None = None
    version: tuple[int, int] = (3, 0)
    times: Sequence[float] | None = None
    name_field: int = 0
    pixel_type: int = 1
    calibration: float = 0.325
    julian_day: float = 2459486.0
    channel_names: Sequence[str] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    chunks: Mapping[bytes, bytes | None] = field(default_factory=dict)
    experiment: Mapping[str, Any] | None = None
    seed: int = 0

    @property
    def loop_shape(self) -> tuple[int, ...]:
        return tuple(count for _, count in self.loops)

    @property
    def frame_count(self) -> int:
        return math.prod(self.loop_shape) + self.extra

    @property
    def names(self) -> list[str]:
        return list(self.channel_names or [f"Channel {c}" for c in range(self.channels)])

    @property
    def layout(self) -> PixelLayout:
        dtype = np.dtype(self.dtype)
        packed = padded_row_bytes(self.width, self.channels * self.samples, dtype.itemsize)
        return PixelLayout(
            self.height,
            self.width,
            self.channels,
            self.samples,
            dtype,
            self.row_bytes or packed,
            "zlib" if self.zlib else "raw",
        )

    @property
    def frames(self) -> NDArray[Any]:
        """Pixels of all frames, shape (n, C, Y, X, S); missing ones are zero."""
        rng = np.random.default_rng(self.seed)
        shape = (self.frame_count, *self.layout.shape)
        pixels = rng.integers(0, 200, shape).astype(self.dtype)
        pixels[list(self.missing)] = 0
        return pixels

    @property
    def array(self) -> NDArray[Any]:
        """The image as ``asarray`` gives it: loops, C, Y, X, S, without the axes of size 1."""
        count = math.prod(self.loop_shape)
        return self.frames[:count].reshape(*self.loop_shape, *self.layout.shape).squeeze()

    @property
    def frame_times(self) -> list[float]:
        if self.times is not None:
            return list(self.times)
        return [100.0 * i for i in range(self.frame_count)]


def build(path: Path, spec: Nd2Spec | None = None, **options: Any) -> Nd2Spec:
    """Write a file, and return what is in it."""
    spec = spec or Nd2Spec(**options)
    with path.open("wb") as handle:
        entries: list[tuple[bytes, int, int]] = []

        def write(name: bytes, head: bytes, tail: bytes = b"", *, field_bytes: int = 0) -> None:
            if name in spec.chunks and spec.chunks[name] != head:
                return
            position = handle.tell()
            chunk = chunks.encode_chunk(name, head, len(tail))
            if field_bytes:
                header = chunks.parse_header(chunk, position)
                chunk = chunks.HEADER.pack(
                    chunks.MAGIC, header.name_length + field_bytes, header.data_length
                ) + name.ljust(header.name_length + field_bytes, b"\0")
                chunk += head
            handle.write(chunk + tail)
            handle.write(b"\0" * (chunks.page_up(handle.tell()) - handle.tell()))
            entries.append((name, position, len(head) + len(tail)))

        handle.write(chunks.encode_signature(spec.version))
        entries.append((chunks.FILE_SIGNATURE, 0, 64))
        tree = experiment_tree(spec)
        if tree is not None:
            write(*_metadata(spec, b"ImageMetadata", b"", "SLxExperiment", tree))
        write(*_metadata(spec, b"ImageMetadataSeq", b"|0", "SLxPictureMetadata", picture_tree(spec)))
        frames, layout = spec.frames, spec.layout
        for index in spec.order if spec.order is not None else range(spec.frame_count):
            if index in spec.missing:
                continue
            data = layout.encode(frames[index])
            if spec.zlib:
                data = deflate_zlib(data)
            time = spec.frame_times[index] if index < len(spec.frame_times) else -1.0
            stamp = np.array([time], "<f8").tobytes()
            write(chunks.frame_name(index), stamp, data, field_bytes=spec.name_field)
        text = {f"TextInfoItem_{i}": "" for i in range(14)} | {
            "TextInfoItem_5": "Metadata:\r\nmade for a test",
            "TextInfoItem_13": "Plan Apo 20x",
        }
        write(*_metadata(spec, b"ImageTextInfo", b"", "SLxImageTextInfo", text))
        if spec.frame_times:
            write(b"CustomData|AcqTimesCache!", np.array(spec.frame_times, "<f8").tobytes())
        write(*_metadata(spec, b"ImageAttributes", b"", "SLxImageAttributes", attributes_tree(spec)))
        for name, payload in spec.chunks.items():
            if payload is not None:
                write(name, payload)
        handle.write(chunks.encode_map(entries, handle.tell()))
    return spec


def compressed(tree: Any) -> bytes:
    """Return a compressed payload of metadata."""
    plain = clx_lite.encode(tree)
    return b"LV0Z" + struct.pack("<Q", len(plain)) + zlib.compress(plain)


def _metadata(spec: Nd2Spec, stem: bytes, suffix: bytes, root: str, tree: dict[str, Any]) -> tuple[bytes, bytes]:
    """Name and payload of a metadata chunk, in the encoding of the file's version."""
    if spec.version[0] >= 3:
        return stem + b"LV" + suffix + b"!", clx_lite.encode({root: tree})
    return stem + suffix + b"!", clx_xml.encode(tree)


def attributes_tree(spec: Nd2Spec) -> dict[str, Any]:
    layout = spec.layout
    bits = layout.dtype.itemsize * 8
    value = Attributes(
        bitsPerComponentInMemory=bits,
        bitsPerComponentSignificant=bits,
        componentCount=spec.channels * spec.samples,
        heightPx=spec.height,
        pixelDataType="unsigned",
        sequenceCount=spec.frame_count,
        widthBytes=layout.row_bytes,
        widthPx=spec.width,
        compressionType="lossless" if spec.zlib else None,
    )
    tree: dict[str, Any] = attributes.encode(value)["SLxImageAttributes"]
    return {**tree, "ePixelType": I32(spec.pixel_type), **spec.overrides}


def experiment_tree(spec: Nd2Spec) -> dict[str, Any] | None:
    if spec.experiment is not None:
        return dict(spec.experiment)
    loops = [_loop(letter, count, i) for i, (letter, count) in enumerate(spec.loops)]
    tree = experiment.encode(loops)
    return None if tree is None else dict(tree["SLxExperiment"])


def _loop(letter: str, count: int, nesting: int) -> ExpLoop:
    measured = PeriodDiff(avg=500.0, max=510.0, min=490.0)
    if letter == "T":
        return TimeLoop(count, nesting, TimeLoopParams(0.0, 500.0, 500.0 * count, measured))
    if letter == "N":
        first = max(count // 2, 1)
        phases = [Period(0.0, 500.0, 500.0 * count, measured, count=n) for n in (first, count - first) if n]
        return NETimeLoop(count, nesting, NETimeLoopParams(phases))
    if letter == "P":
        points = [
            Position(StagePosition(10.0 * i, -5.0 * i, 0.5 * i), pfsOffset=0.0, name=f"A{i + 1}") for i in range(count)
        ]
        return XYPosLoop(count, nesting, XYPosLoopParams(False, points))
    if letter == "Z":
        home = count // 2 if count > 1 else 0
        return ZStackLoop(count, nesting, ZStackLoopParams(home, 2.0, True, "Ti2 ZDrive"))
    return CustomLoop(count, nesting)


def picture_tree(spec: Nd2Spec) -> dict[str, Any]:
    calibrated = spec.calibration > 0
    bits = spec.layout.dtype.itemsize * 8
    microscope = Microscope(
        objectiveName="Plan Apo 20x",
        objectiveNumericalAperture=0.75,
        zoomMagnification=1.0,
        modalityFlags=["fluorescence" if spec.samples == 1 else "brightfield"],
    )
    volume = Volume(
        axesCalibrated=(calibrated, calibrated, False),
        axesCalibration=(spec.calibration, spec.calibration, 1.0),
        axesInterpretation=("distance", "distance", "distance"),
        bitsPerComponentInMemory=bits,
        bitsPerComponentSignificant=bits,
        cameraTransformationMatrix=(1.0, 0.0, 0.0, 1.0),
        componentCount=spec.samples,
        componentDataType="unsigned",
        voxelCount=(spec.width, spec.height, 1),
    )
    channels = [
        Channel(ChannelMeta(name, c, _COLORS[c % len(_COLORS)]), None, microscope, volume)
        for c, name in enumerate(spec.names)
    ]
    first = picture_metadata.FirstFrame(0.0, spec.julian_day, (100.0, 200.0, 300.0))
    tree: dict[str, Any] = picture_metadata.encode(channels, first)["SLxPictureMetadata"]
    return tree
