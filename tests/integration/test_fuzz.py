"""Damaged and hostile files: clear errors before anything large is allocated, bounds on time and memory."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nd2
from tests.fuzz import targets
from tests.fuzz.hostile import hostile
from tests.fuzz.seeds import REGRESSIONS, files, mutate_chunk
from tests.handles import no_handle_is_left

if TYPE_CHECKING:
    from collections.abc import Callable


def test_all_hostile_files_and_regressions() -> None:
    """In a process of its own, whose address space is limited to 64 MB and four times the input."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--known"],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(list(REGRESSIONS.glob('*.bin')))} regressions and" in done.stdout


@pytest.mark.parametrize(
    ("name", "call", "message"),
    [
        ("loop of 2**32", lambda file: file.sizes, "reach 4294967295 frames"),
        ("nested loops", lambda file: file.loop_indices, "at most .* are plausible"),
        ("width and height", lambda file: file.asarray(), "do not fit into a file"),
        ("one long row", lambda file: file.sizes, "do not fit into a file"),
        ("channels", lambda file: file.metadata, "65536 components .* rescue=True.*ImageAttributesLV"),
        ("components", lambda file: file.metadata, "65536 components .* rescue=True.*ImageAttributesLV"),
        ("missing frames", lambda file: file.asarray(), "are missing from the file: as zeros"),
        ("frame number", lambda file: file.sizes, "frame 999999999999999 cannot be in a file"),
        ("inflated tree", lambda file: file.metadata, "compressed metadata claims 104857600 bytes"),
        ("entities", lambda file: file.metadata, "document type"),
        ("foreign file", lambda file: file.metadata, "document type"),
        ("deep XML", lambda file: file.metadata, "deeper|nest"),
    ],
)
def test_clear_error_before_allocation(name: str, call: Callable[[nd2.ND2File], object], message: str) -> None:
    data = hostile()[name]
    with nd2.ND2File(io.BytesIO(data)) as file:
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=message):
                call(file)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < (32 << 20) + 4 * len(data)


def test_absurd_loops_open_with_rescue() -> None:
    data = hostile()["loop of 2**32"]
    with pytest.warns(UserWarning, match="loops claim more frames than a file can hold"):
        file = nd2.ND2File(io.BytesIO(data), rescue=True)
    with file:
        assert file.sizes["U"] == 2
        assert file.asarray().any()


def test_missing_frames_can_be_read_in_parts() -> None:
    with nd2.ND2File(io.BytesIO(hostile()["loops that are just plausible"])) as file:
        assert not file.to_dask()[100].compute().any()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_no_handle_stays_open_when_opening_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    for i, data in enumerate([b"", b"text" * 100, *hostile().values()]):
        path.write_bytes(data)
        for rescue in (False, True):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("warnings.warn", lambda *_, **__: None)
                try:
                    with nd2.ND2File(path, rescue=rescue) as file:
                        _ = file.sizes
                except targets.DOCUMENTED:
                    pass
        assert no_handle_is_left(path), i


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("target", ["file", "rescue", "references", "frames", "validate"])
def test_mutated_files(target: str, data: st.DataObject) -> None:
    """Only documented errors come of a file in which any bytes of one chunk, or of the container, were changed."""
    seed = data.draw(st.sampled_from(files()))

    def change(part: bytes) -> bytes:
        changed = bytearray(part)
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(changed)))
            length = data.draw(st.integers(0, 16))
            changed[at : at + length] = data.draw(st.binary(max_size=16))
        return bytes(changed)

    if data.draw(st.booleans()):
        mutated = mutate_chunk(seed, data.draw(st.integers(0, 30)), change)
    else:
        mutated = change(seed)
    targets.run(target, mutated)
