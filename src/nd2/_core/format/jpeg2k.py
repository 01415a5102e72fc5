"""JPEG 2000 codestreams to pixels, with imagecodecs, which is loaded when the first one is decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from nd2._core.format.jp2 import SIZE_BYTES, parse_codestream_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from nd2._core.format.pixels import PixelLayout


def decoder() -> Callable[..., NDArray[Any]]:
    """Return the function that decodes a codestream."""
    try:
        from imagecodecs import jpeg2k_decode
    except ImportError as error:
        raise errors.missing_package("imagecodecs", "legacy", "for the pixels of legacy (JPEG 2000) files") from error
    decode: Callable[..., NDArray[Any]] = jpeg2k_decode
    return decode


def decode(data: bytes | memoryview, pixels: PixelLayout) -> NDArray[Any]:
    """Decode the codestream of one channel.

    Returns
    -------
    ndarray, shape (1, Y, X, S)
    """
    size = parse_codestream_size(data[:SIZE_BYTES])
    expected = (pixels.height, pixels.width, pixels.samples)
    if (size.height, size.width, size.components) != expected:
        raise errors.corrupt(
            f"the codestream is of {size.height} x {size.width} pixels of {size.components} components, "
            "the file of {} x {} pixels of {}".format(*expected)
        )
    try:
        plane = decoder()(data, numthreads=1)
    except (RuntimeError, ValueError) as error:
        raise errors.corrupt(f"the codestream cannot be decoded: {error}") from error
    if plane.size != np.prod(expected) or plane.dtype.itemsize > pixels.dtype.itemsize:
        raise errors.corrupt(f"the codestream holds {plane.shape} {plane.dtype}, expected {expected} {pixels.dtype}")
    return plane.reshape(1, *expected)
