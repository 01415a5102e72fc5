"""Planning of remote reads: near ranges merge, long ones are cut, and every byte lands where it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fsspec.config
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nd2._core.io.transport import Request, Scatter, Tuning, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE = bytes((7 * i + i // 251) % 256 for i in range(4000))
SMALL = Tuning(max_gap=16, max_request=100)


def targets(spans: Sequence[tuple[int, int]]) -> list[tuple[int, memoryview]]:
    return [(offset, memoryview(bytearray(nbytes))) for offset, nbytes in spans]


def serve(requests: Sequence[Request], step: int) -> None:
    for request in requests:
        scatter = Scatter(request, "memory://a")
        for at in range(request.start, request.stop, step):
            scatter.feed(FILE[at : min(at + step, request.stop)])
        scatter.finish()


@given(
    spans=st.lists(st.tuples(st.integers(0, 3500), st.integers(0, 400)), max_size=30),
    gap=st.integers(0, 300),
    longest=st.integers(1, 500),
    step=st.integers(1, 300),
)
def test_every_byte_lands_where_it_belongs(spans: list[tuple[int, int]], gap: int, longest: int, step: int) -> None:
    wanted = targets(spans)
    requests = plan(wanted, Tuning(max_gap=gap, max_request=longest))
    serve(requests, step)
    for offset, view in wanted:
        assert bytes(view) == FILE[offset : offset + len(view)]
    assert all(0 < request.stop - request.start <= longest for request in requests)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), min_size=1, max_size=20))
def test_ranges_apart_are_exact_and_near_ones_merge(steps: list[tuple[int, int]]) -> None:
    spans, at = [], 0
    for gap, nbytes in steps:
        at += gap
        spans.append((at, nbytes))
        at += nbytes
    requests = plan(targets(spans), Tuning(max_gap=16, max_request=10_000))
    wide = sum(gap > 16 for gap, _ in steps[1:])
    assert len(requests) == 1 + wide
    wasted = sum(gap for gap, _ in steps[1:] if gap <= 16)
    assert sum(r.stop - r.start for r in requests) == sum(n for _, n in spans) + wasted


def test_long_ranges_are_cut_into_equal_parts() -> None:
    requests = plan(targets([(0, 1000)]), SMALL)
    assert [(r.start, r.stop) for r in requests] == [(k, k + 100) for k in range(0, 1000, 100)]


def test_nothing_is_asked_for_where_nothing_is_wanted() -> None:
    assert plan([], SMALL) == []
    assert plan(targets([(5, 0)]), SMALL) == []


@pytest.mark.parametrize("data", [FILE[:99], FILE[:101]])
def test_too_few_or_too_many_bytes_are_an_error(data: bytes) -> None:
    [request] = plan(targets([(0, 100)]), SMALL)
    scatter = Scatter(request, "memory://a")

    def feed() -> None:
        scatter.feed(data)
        scatter.finish()

    with pytest.raises(OSError, match=r"asked for 100 bytes, got .*memory://a.*offset 0"):
        feed()


def test_limits_come_from_the_configuration_of_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Tuning.current() == Tuning()
    monkeypatch.setitem(fsspec.config.conf, "nd2", {"max_gap": "0", "max_request": 1 << 20})
    assert Tuning.current() == Tuning(0, 1 << 20)
    monkeypatch.setitem(fsspec.config.conf, "nd2", {"max_gap": -1})
    with pytest.raises(ValueError, match="max_gap"):
        Tuning.current()
