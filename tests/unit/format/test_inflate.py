"""zlib streams into buffers of known size."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nd2._core.format.inflate import deflate_zlib, inflate

DATA = bytes(range(256)) * 8


@given(st.binary(max_size=5000), st.integers(0, 9), st.binary(max_size=20))
def test_what_was_compressed_comes_back_whatever_follows_it(data: bytes, level: int, behind: bytes) -> None:
    assert bytes(inflate(deflate_zlib(data, level) + behind, len(data))) == data
    assert bytes(inflate(zlib.compress(data, level) + behind, len(data))) == data


@pytest.mark.parametrize("nbytes", [0, 1, len(DATA) - 1, len(DATA) + 1])
def test_a_stream_of_another_size_is_refused(nbytes: int) -> None:
    assert bytes(inflate(deflate_zlib(DATA), len(DATA))) == DATA
    with pytest.raises(ValueError, match=f"instead of {nbytes}"):
        inflate(deflate_zlib(DATA), nbytes)


def test_a_damaged_stream_is_refused() -> None:
    stream = deflate_zlib(DATA)
    for data in (b"", b"\xff" * 40, stream[: len(stream) // 2], bytes(len(stream))):
        with pytest.raises(ValueError, match="zlib stream"):
            inflate(data, len(DATA))


def test_a_stream_that_holds_far_more_than_it_should_fills_no_memory() -> None:
    bomb = zlib.compress(bytes(1 << 26))
    tracemalloc.start()
    with pytest.raises(ValueError, match="more bytes instead of 100"):
        inflate(bomb, 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
