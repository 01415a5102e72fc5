"""Guess the frame size when the attributes chunk is missing."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

import numpy as np

from nd2._core.chunks import fields
from nd2._core.chunks.attributes import channel_count
from nd2._core.format.pixels import padded_row_bytes
from nd2._core.structures import Attributes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_MIN_SAMPLE, _MIN_VALUES = 256, 8
"""Bytes, and different values of them, that show whether samples have 8 bits."""
_MAX_DISTANCE = 0.3
"""Greatest distance of the distributions of bytes at even and odd places in samples of 8 bits."""


def guess(
    picture: fields.Tree | None,
    nbytes: int,
    *,
    plane_count: int | None,
    compressed: bool,
    sample: bytes = b"",
    dtype: np.dtype[Any] | None = None,
) -> tuple[Attributes, bool]:
    """Guess the attributes of the image, and whether the camera's metadata state the size.

    A size that the camera states counts if a frame has as many bytes; otherwise the image is taken
    to be square, or else a single row.

    Parameters
    ----------
    nbytes : int
        Bytes of the pixels of a frame, not compressed.
    sample : bytes
        The first pixels of a frame, which show whether samples have 8 or 16 bits.
    dtype : numpy.dtype, optional
        Type of the samples, if it is known.
    """
    tree = fields.root(picture or {}, "SLxPictureMetadata")
    planes = fields.level(tree, "sPicturePlanes")
    components = fields.integer(planes, "uiCompCount") or fields.integer(planes, "uiCount") or 1
    if dtype is not None:
        items: tuple[int, ...] = (dtype.itemsize,)
    else:
        items = (1, 2, 4) if _has_8_bits(sample, planes) else (2, 1, 4)
    for width, height in _camera_sizes(planes):
        for item in items:
            if height * padded_row_bytes(width, components, item) == nbytes:
                return _attributes(width, height, components, item, plane_count, compressed), True
    for item in items:
        side = isqrt(nbytes // (components * item))
        for width in (side, side - 1):  # rows of odd length are padded, so that fewer pixels fit
            if width > 0 and width * padded_row_bytes(width, components, item) == nbytes:
                return _attributes(width, width, components, item, plane_count, compressed), False
    item = items[0] if dtype is not None or nbytes % (2 * components) == 0 else 1
    width = nbytes // (components * item)
    return _attributes(width, 1, components, item, plane_count, compressed), False


def _camera_sizes(planes: fields.Tree) -> Iterator[tuple[int, int]]:
    """Yield width and height of the camera's formats, in pixels of the image."""
    for setting in fields.levels(fields.level(planes, "sSampleSetting")):
        camera = fields.level(setting, "pCameraSetting")
        for name in ("FormatQuality", "FormatFast"):
            description = fields.level(camera, name, "fmtDesc")
            binning = [max(int(fields.real(description, f"dBinning{axis}")), 1) for axis in "XY"]
            for level in (fields.level(description, "sizeSensorPixels"), fields.level(camera, name, "rectSensorUser")):
                for width, height in _size(level):
                    yield width, height
                    if binning != [1, 1]:
                        yield width // binning[0], height // binning[1]
    for name in ("sPlaneNew", "sPlane"):
        for plane in fields.levels(fields.level(planes, name)):
            setting = fields.level(plane, "sCameraSetting")
            width, height = (fields.integer(setting, f"uiCamPxlCount{axis}") for axis in ("X", "Y"))
            if width > 0 and height > 0:
                yield width, height


def _has_8_bits(sample: bytes, planes: fields.Tree) -> bool:
    """Return whether samples have 8 bits: by the bytes, of which every other one differs in 16 bits."""
    data = np.frombuffer(sample, np.uint8, len(sample) // 2 * 2)
    if len(data) >= _MIN_SAMPLE and len(np.unique(data)) >= _MIN_VALUES:
        even, odd = (np.bincount(part >> 4, minlength=16) for part in (data[::2], data[1::2]))
        return bool(2 * np.abs(even - odd).sum() / len(data) / 2 < _MAX_DISTANCE)
    for setting in fields.levels(fields.level(planes, "sSampleSetting")):
        camera = fields.level(setting, "pCameraSetting")
        bits = fields.integer(fields.level(camera, "FormatQuality", "fmtDesc"), "uiBpc")
        if bits:
            return bits <= 8
    return False


def _size(level: fields.Tree) -> Iterator[tuple[int, int]]:
    width = fields.integer(level, "cx", fields.integer(level, "right") - fields.integer(level, "left"))
    height = fields.integer(level, "cy", fields.integer(level, "bottom") - fields.integer(level, "top"))
    if width > 0 and height > 0:
        yield width, height


def _attributes(
    width: int, height: int, components: int, item: int, plane_count: int | None, compressed: bool
) -> Attributes:
    return Attributes(
        bitsPerComponentInMemory=8 * item,
        bitsPerComponentSignificant=8 * item,
        componentCount=components,
        heightPx=height,
        pixelDataType="float" if item == 4 else "unsigned",
        sequenceCount=0,
        widthBytes=padded_row_bytes(width, components, item) if height > 1 else width * components * item,
        widthPx=width,
        compressionType="lossless" if compressed else None,
        channelCount=channel_count(plane_count, components),
    )
