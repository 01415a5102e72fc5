"""Run-length encoded masks: what the writer encodes, and what is refused."""

from __future__ import annotations

import contextlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nd2._core import errors
from nd2._core.format import masks
from nd2._core.format.inflate import deflate_zlib

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=20)


@given(arrays(np.uint32, SHAPES, elements=st.sampled_from([0, 1, 2, 3, 70_000])))
def test_masks_come_back(mask: np.ndarray[tuple[int, int], np.dtype[np.uint32]]) -> None:
    height, width = mask.shape
    found = masks.decode_runs(masks.encode_runs(mask), (height, width))
    assert found is not None
    np.testing.assert_array_equal(found, mask)
    assert found.dtype == (np.uint32 if mask.max() > 0xFFFF else np.uint16)


def payload(words: list[int]) -> bytes:
    block = np.array(words, "<u4").tobytes()
    return len(block).to_bytes(4, "little") + deflate_zlib(block)


def covered(times: int, width: int = 64) -> bytes:
    """Return a mask of one row that as many objects cover wholly."""
    objects = [[k + 1, 0, 0, width, 1, 36 + 16, 1, 36, 0, 0, 1, 0, width] for k in range(times)]
    return payload([3, width, 1, times, 0, 0, 0, *(word for one in objects for word in one)])


def test_objects_may_cover_each_other_but_not_without_end() -> None:
    found = masks.decode_runs(covered(16), (1, 64))
    assert found is not None
    assert (found == 16).all()
    with pytest.raises(ValueError, match="cover it 16 times"):
        masks.decode_runs(covered(17), (1, 64))


def test_a_frame_without_a_mask() -> None:
    assert masks.decode_runs(b"\0" * 4, (5, 5)) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([3, 4, 4], "too early"),
        ([3, 4, 4, 1, 0, 0, 0], "too early"),
        ([3, 5, 4, 0, 0, 0, 0], "5 x 4 pixels"),
        ([3, 4, 0, 0, 0, 0, 0], "4 x 0 pixels"),
        ([3, 4, 4, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 4, 1, 0, 1], "row 4 of 4"),
    ],
)
def test_what_contradicts_itself_is_refused(words: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        masks.decode_runs(payload(words), (4, 4))


def test_another_version_is_not_supported() -> None:
    with pytest.raises(NotImplementedError, match="version 4"):
        masks.decode_runs(payload([4, 4, 4, 0, 0, 0, 0]), (4, 4))


def test_a_mask_that_claims_far_more_than_it_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="more than it can hold"):
        masks.decode_runs((1 << 29).to_bytes(4, "little") + b"\0" * 100, (4, 4))


@given(st.lists(st.integers(0, 12) | st.integers(0, 2**32 - 1), max_size=40), st.booleans())
def test_any_block_gives_a_mask_or_an_error(words: list[int], plausible: bool) -> None:
    if plausible:
        words = [3, 8, 6, *words]
    block = struct.pack(f"<{len(words)}I", *words)
    data = struct.pack("<I", len(block)) + zlib.compress(block)
    try:
        mask = masks.decode_runs(data, (6, 8))
    except errors.ND2Error:
        return
    assert mask is not None
    assert mask.shape[0] <= 6
    assert mask.shape[1] <= 8


@given(st.binary(max_size=60))
def test_any_bytes_are_a_mask_or_refused(data: bytes) -> None:
    with contextlib.suppress(errors.ND2Error):
        masks.decode_runs(data, (6, 8))
    with contextlib.suppress(errors.ND2Error):
        masks.decode_tile(data, (2, 4), 32, compressed=True)
