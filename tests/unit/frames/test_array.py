"""The lazy array of frames, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nd2._core.format.pixels import PixelLayout
from nd2._core.frames.array import FrameArray
from nd2._core.frames.grid import Layout
from tests.frames import axis_pick, make_frames


@settings(max_examples=100)
@given(st.data())
def test_the_lazy_array_indexes_as_numpy_does_orthogonally(data: st.DataObject) -> None:
    layout = PixelLayout(5, 7, 2, 1, np.dtype("<u2"), 28)
    frames, pixels = make_frames(layout, 12, frozenset({4}), list(range(12))[::-1], [9] * 12)
    labels = Layout((("T", 2), ("P", 3), ("Z", 2)), 2, 5, 7, 1)
    array = FrameArray.from_layout(frames, labels, ("T", "P", "Z", "C", "Y", "X"))
    expected = pixels.reshape(2, 3, 2, 2, 5, 7)
    key = tuple(data.draw(st.one_of(st.integers(-size, size - 1), axis_pick(size))) for size in array.shape)
    for axis in reversed(range(6)):
        expected = expected[(slice(None),) * axis + (key[axis],)]
    np.testing.assert_array_equal(array.read(key), expected)


def test_the_lazy_array_checks_what_it_is_asked() -> None:
    layout = PixelLayout(5, 7, 1, 1, np.dtype("<u2"), 16)
    frames, pixels = make_frames(layout, 2, frozenset(), [0, 1], [0, 0])
    array = FrameArray.from_layout(frames, Layout((("T", 2),), 1, 5, 7, 1), ("T", "Y", "X"))
    with pytest.raises(IndexError, match="axis 'T' of size 2"):
        array[2]
    with pytest.raises(IndexError, match="too many"):
        array[0, 0, 0, 0]
    with pytest.raises(IndexError, match="boolean"):
        array[np.array([True])]
    with pytest.raises(IndexError, match="integer"):
        array[np.array([0.5])]
    with pytest.raises(ValueError, match="out must be"):
        array.read((0, slice(None), slice(None)), np.zeros((5, 7), np.uint8))
    np.testing.assert_array_equal(array[..., 2], pixels[:, 0, :, 2, 0])
    np.testing.assert_array_equal(np.asarray(array), pixels[:, 0, :, :, 0])
