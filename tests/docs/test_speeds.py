"""The speeds that the README shows are those of the tables which the benchmarks write."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def speeds() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(DOCS / "speeds.py")))


def test_the_readme_repeats_the_pages(speeds: SimpleNamespace) -> None:
    assert speeds.shown_in_readme() == speeds.readme_table(), "run `python docs/speeds.py`"


def test_every_time_can_be_drawn(speeds: SimpleNamespace) -> None:
    cells = [cell for s in speeds.local_speeds() for cell in (s.ours, s.theirs) if cell]
    assert len(cells) > 20
    assert min(speeds.seconds(cell) for cell in cells) > 0


def test_times_have_units(speeds: SimpleNamespace) -> None:
    assert speeds.seconds("8.5 ms") == 0.0085
    assert speeds.seconds("187 µs") == pytest.approx(187e-6)
    with pytest.raises(ValueError, match="not a time"):
        speeds.seconds("12")


def test_a_page_without_its_table_is_an_error(
    speeds: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cloud.md").write_text("# Files in the cloud\n\nNothing measured.\n")
    monkeypatch.setitem(speeds.remote_speeds.__globals__, "DOCS", tmp_path)
    with pytest.raises(ValueError, match="has no table"):
        speeds.remote_speeds()
