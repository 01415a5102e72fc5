"""Outputs of writers that are killed: a short run of ``python -m tests.kill``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorstore")
pytest.importorskip("fastparquet")
pytest.importorskip("moto")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked after their imports")
def test_killed_writers_leave_the_old_output_or_the_new_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.kill", "--moments", "3", "--frames", "16", "--json"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout)
    assert len(counts) == 10
    for name, kinds in counts.items():
        whole = sum(kinds.get(kind, 0) for kind in ("old", "new", "new in .part"))
        assert whole == 3, (name, kinds)
        assert "new in .part" not in kinds or name == "s3.zarr"
