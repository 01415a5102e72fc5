"""The benchmarks' files are what they say, and a case is measured on the sides that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import nd2
from bench import files, harness

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("zlib", [False, True])
def test_files_hold_what_they_say(tmp_path: Path, zlib: bool) -> None:
    file = files.BenchFile(10, 32, 48, channels=3, zlib=zlib)
    files.write(tmp_path / "a.nd2", file)
    with nd2.ND2File(tmp_path / "a.nd2", validate_frames=True) as opened:
        assert dict(opened.sizes) == {"T": 10, "C": 3, "Y": 32, "X": 48}
        assert opened.nbytes == file.array_bytes
        array = opened.asarray()
    assert array.min() >= 100
    assert array.std() > 0
    np.testing.assert_array_equal(array[1], array[9])  # 8 different frames


def test_a_case_is_measured_and_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(harness.PYTHON, "nd2", str(tmp_path / "no such interpreter"))
    (tmp_path / "data").write_bytes(b"\1" * 1000)
    case = harness.Case(
        "sum",
        "total = sum(open(FILE, 'rb').read())",
        str(tmp_path / "data"),
        numpy="total = np.fromfile(FILE, 'u1').sum()",
        per=1000,
        array_bytes=1000,
        time_goal=1.0,
    )
    found = harness.measure(case, 2)
    assert set(found) == {"ours", "numpy"}
    assert found["ours"].rounds == 2
    assert 0 < found["ours"].cpu < 1
    row = harness.row(case, found)
    assert row.startswith("| sum |")
    assert row.count("|") == harness.HEADER.splitlines()[0].count("|")


def test_code_that_fails_says_on_which_side() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)(ours|nd2): 1 / 0.*ZeroDivisionError"):
        harness.measure(harness.Case("broken", "1 / 0"), 1)
