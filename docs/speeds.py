"""Measured speeds: read from the tables that the benchmarks write, for the plots and for the table of the README.

``python docs/speeds.py`` brings the table of the README into line with the pages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
_TIME = re.compile(r"([\d.]+) (s|ms|µs)")
_UNITS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6}
_README_TABLE = re.compile(r"(?<=<!-- speeds -->\n).*?(?=<!-- /speeds -->)", re.DOTALL)

# Lines that the README repeats, as the pages call them.
LOCAL_LINES = (
    "open to first frame, 100,000 frames",
    "asarray, 2 GB raw",
    "asarray, 100,000 x 64x64",
    "asarray, 300 zlib frames",
    "256 x 256 crop of a 20,000 x 20,000 frame",
)
REMOTE_LINES = ("open, sizes, metadata, experiment", "100 neighbouring frames")


@dataclass(frozen=True, slots=True)
class Local:
    """A line of ``performance.md``: medians as the page shows them, with their unit; "" where there is none."""

    work: str
    ours: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Remote:
    """A line of ``cloud.md``: requests, and seconds where each answer takes 50 ms; "-" where there is none."""

    work: str
    requests: tuple[str, str]
    seconds: tuple[str, str]


def local_speeds() -> list[Local]:
    """Read what `make bench` found: every table of the page that compares ours with nd2."""
    return [
        Local(work, ours, theirs)
        for work, ours, theirs, *_ in _lines("performance.md", ("work", "ours", "nd2 0.12.0"))
    ]


def remote_speeds() -> list[Remote]:
    """Read what `make bench-remote` found."""
    return [
        Remote(line[0], (line[1], line[2]), (line[7], line[8]))
        for line in _lines("cloud.md", ("work", "requests", "nd2 0.12.0"))
    ]


def seconds(cell: str) -> float:
    """Return the time that a cell of the tables shows, in seconds."""
    match = _TIME.fullmatch(cell)
    if match is None:
        raise ValueError(f"{cell!r} is not a time such as '8.35 ms'")
    return float(match[1]) * _UNITS[match[2]]


def readme_table() -> str:
    """Return the table that the README has to show."""
    local = {speed.work: speed for speed in local_speeds()}
    remote = {speed.work: speed for speed in remote_speeds()}
    lines = ["| | xarray-nd2 | nd2 0.12.0 |", "| --- | --: | --: |"]
    for work in LOCAL_LINES:
        speed = local[work]
        lines.append(f"| {work} | {speed.ours} | {speed.theirs} |")
    for work in REMOTE_LINES:
        far = remote[work]
        cells = [f"{n} requests, {s} s" for n, s in zip(far.requests, far.seconds, strict=True)]
        lines.append(f"| over HTTP, 50 ms an answer: {work} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


def shown_in_readme() -> str:
    """Return the table that the README shows."""
    match = _README_TABLE.search(README.read_text(encoding="utf-8"))
    if match is None:
        raise ValueError(f"{README} has no table between <!-- speeds --> and <!-- /speeds -->")
    return match[0]


def update_readme() -> None:
    """Replace the table of the README."""
    table = readme_table()
    text = README.read_text(encoding="utf-8")
    README.write_text(_README_TABLE.sub(lambda _: table, text), encoding="utf-8")


def _lines(page: str, header: tuple[str, ...]) -> list[list[str]]:
    """Return the cells of every line of a page's tables whose header begins so."""
    found: list[list[str]] = []
    inside = False
    for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().strip("*") for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif tuple(cells[: len(header)]) == header:
            inside = True
        elif inside and not cells[0].startswith("---"):
            found.append(cells)
    if not found:
        raise ValueError(f"docs/{page} has no table that begins with {header}")
    return found


if __name__ == "__main__":
    update_readme()
