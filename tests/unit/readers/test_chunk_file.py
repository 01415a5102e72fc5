"""How the chunk map is read: few requests if they are slow, little memory if they are not."""

from __future__ import annotations

import numpy as np
import pytest

from nd2._core.format import chunks
from nd2._core.io.source import ByteSource
from nd2._core.readers.chunk_file import read_map

FRAMES = 100_000


class Counted(ByteSource):
    """Bytes in memory; notes the length of each read."""

    def __init__(self, data: bytes, *, concurrent: bool) -> None:
        self._data, self.concurrent = data, concurrent
        self.lengths: list[int] = []

    @property
    def url(self) -> str:
        return "counted"

    @property
    def identity(self) -> tuple[str, int, str]:
        return ("counted", len(self._data), "")

    def read(self, offset: int, nbytes: int) -> bytes:
        self.check(offset, nbytes)
        self.lengths.append(nbytes)
        return self._data[offset : offset + nbytes]

    def reopen(self) -> ByteSource:
        return self


@pytest.mark.parametrize("concurrent", [True, False])
def test_a_long_map_is_read_by_few_requests_or_in_small_parts(concurrent: bool) -> None:
    start = chunks.encode_signature()
    index = np.arange(FRAMES)
    places, sizes = np.full(FRAMES, len(start), np.uint64), np.full(FRAMES, 8, np.uint64)
    source = Counted(start + chunks.encode_map([], len(start), (index, places, sizes)), concurrent=concurrent)
    chunk_map = read_map(source)
    assert sorted(chunk_map.frame_index) == list(range(FRAMES))
    assert source.size > 3 << 20
    if concurrent:
        assert len(source.lengths) == 3  # the tail, the header, the entries
    else:
        assert max(source.lengths) <= 1 << 20
