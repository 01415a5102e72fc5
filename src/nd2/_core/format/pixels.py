"""Conversion between the bytes of a frame and its pixels.

A frame holds rows of ``row_bytes`` bytes (padded, as a rule to a multiple of 4). Within a row, the samples of a pixel
are adjacent: first all samples of channel 0, then those of channel 1, and so on. Color channels have three
samples, stored blue, green, red (in legacy files red, green, blue). The
layout of single-sample channels and of one color channel was checked on real files; padded rows and several color
channels were checked on made files only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nd2._core import errors
from nd2._core.values import cached_property, record

if TYPE_CHECKING:
    from numpy.typing import NDArray

Codec = Literal["raw", "zlib", "jpeg2k"]
SampleOrder = Literal["BGR", "RGB"]


@record
class PixelLayout:
    """Layout of one (inflated) frame.

    ``samples`` of a channel are 1, or 3 for color, in ``sample_order`` in the file and in arrays. ``dtype`` is
    little-endian, ``row_bytes`` the distance from one row to the next.
    """

    height: int
    width: int
    channels: int
    samples: int
    dtype: np.dtype[Any]
    row_bytes: int
    codec: Codec = "raw"
    sample_order: SampleOrder = "BGR"

    @cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of a frame in arrays: ``(C, Y, X, S)``."""
        return (self.channels, self.height, self.width, self.samples)

    @cached_property
    def packed_row_bytes(self) -> int:
        """Bytes of a row that hold pixels; the rest up to ``row_bytes`` is padding."""
        return self.width * self.channels * self.samples * self.dtype.itemsize

    @cached_property
    def frame_bytes(self) -> int:
        """Bytes of an inflated frame, padding of every row included."""
        return self.height * self.row_bytes

    @property
    def packed_frame_bytes(self) -> int:
        """Bytes of a frame in arrays, without padding."""
        return self.height * self.packed_row_bytes

    @cached_property
    def contiguous(self) -> bool:
        """Whether the stored bytes are those of a C-contiguous ``(C, Y, X, S)`` array."""
        return self.row_bytes == self.packed_row_bytes and (self.channels == 1 or self.height * self.width == 1)

    def rows(self, data: Any, count: int) -> NDArray[Any]:
        """View ``count * row_bytes`` bytes of whole rows as an array, shape (C, count, X, S), without a copy."""
        rows: NDArray[Any] = self.stacked_rows(np.frombuffer(data, np.uint8), 1, 0, count)[0]
        return rows

    def stacked_rows(self, raw: NDArray[np.uint8], frames: int, stride: int, count: int) -> NDArray[Any]:
        """View ``count`` rows of frames at equal distances, shape (frames, C, count, X, S), without a copy.

        ``raw`` begins with the first row of the first frame; ``stride`` is the distance in bytes between frames.
        """
        size = self.dtype.itemsize
        pixel = self.channels * self.samples * size
        return np.ndarray(
            (frames, self.channels, count, self.width, self.samples),
            self.dtype,
            raw,
            strides=(stride, self.samples * size, self.row_bytes, pixel, size),
        )

    def encode(self, frame: NDArray[Any]) -> bytes:
        """Lay out a ``(C, Y, X, S)`` frame as bytes, padding set to zero (not compressed)."""
        raw = np.zeros(self.frame_bytes, np.uint8)
        copy_components(self.rows(raw.data, self.height), frame)
        return raw.tobytes()


def copy_components(target: NDArray[Any], pixels: NDArray[Any]) -> None:
    """Copy pixels with the axes C, Y, X, S at the end, component by component.

    NumPy copies them three times as fast as all at once.
    """
    for c, s in np.ndindex(target.shape[-4], target.shape[-1]):
        target[..., c, :, :, s] = pixels[..., c, :, :, s]


def padded_row_bytes(width: int, components: int, itemsize: int) -> int:
    """Return the row length that NIS-Elements writes: the packed row, rounded up to a multiple of 4 bytes."""
    return -(-width * components * itemsize // 4) * 4


def sample_dtype(bits_in_memory: int) -> np.dtype[Any]:
    """Return the little-endian type of a stored sample.

    Nikon's SDK and nd2 0.12.0 take 8 and 16 bits for unsigned and 32 bits for float, whatever pixel type the file
    states; so does this package.
    """
    try:
        return np.dtype({8: "|u1", 16: "<u2", 32: "<f4"}[bits_in_memory])
    except KeyError:
        raise errors.unsupported(f"{bits_in_memory} bits per component") from None
