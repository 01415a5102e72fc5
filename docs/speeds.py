"""Measured speeds, read from the tables that the benchmarks write, for the plots and the README.

``python docs/speeds.py`` updates the table of the README from the pages.
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

_COUNT = re.compile(r"(.*), ([\d,]+) (frame|file)s?")
CPU_HEADER = ("work", "ours", "nd2 0.12.0", "ours / nd2", "goal", "clock, ours")

# Rows that the README repeats, with their names on the pages.
LOCAL_LINES = (
    "open to first frame, 100,000 frames",
    "asarray, 2 GB raw",
    "asarray, 100,000 x 64x64",
    "asarray, 300 zlib frames",
    "256 x 256 crop of a 20,000 x 20,000 frame",
)
REMOTE_LINES = ("open, sizes, metadata, experiment", "100 neighboring frames")


@dataclass(frozen=True, slots=True)
class Local:
    """A row of ``benchmarks.md``: medians as on the page, with their unit; "" if not measured."""

    work: str
    ours: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Remote:
    """A row of ``cloud.md``: requests, and seconds with 50 ms per response; "-" if not measured."""

    work: str
    requests: tuple[str, str]
    seconds: tuple[str, str]


def local_speeds() -> list[Local]:
    """Return the results of `make bench`: every table of the page that compares ours with nd2."""
    return [
        Local(work, ours, theirs) for work, ours, theirs, *_ in _lines("benchmarks.md", ("work", "ours", "nd2 0.12.0"))
    ]


def scaling() -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Return counts and CPU seconds of each piece of work that was measured for several counts.

    Keys are the work and the unit of the counts: frames or files.
    """
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for work, ours, *_ in _lines("benchmarks.md", CPU_HEADER):
        match = _COUNT.fullmatch(work)
        if match is not None:
            point = int(match[2].replace(",", "")), seconds(ours)
            found.setdefault((match[1], f"{match[3]}s"), []).append(point)
    return {key: points for key, points in found.items() if len(points) > 1}


def remote_speeds() -> list[Remote]:
    """Return the results of `make bench-remote`."""
    return [
        Remote(line[0], (line[1], line[2]), (line[7], line[8]))
        for line in _lines("cloud.md", ("work", "requests", "nd2 0.12.0"))
    ]


def seconds(cell: str) -> float:
    """Return the time in a cell of the tables, in seconds."""
    match = _TIME.fullmatch(cell)
    if match is None:
        raise ValueError(f"{cell!r} is not a time such as '8.35 ms'")
    return float(match[1]) * _UNITS[match[2]]


def readme_table() -> str:
    """Return the table that the README must contain."""
    local = {speed.work: speed for speed in local_speeds()}
    remote = {speed.work: speed for speed in remote_speeds()}
    lines = ["| | xarray-nd2 | nd2 0.12.0 |", "| --- | --: | --: |"]
    for work in LOCAL_LINES:
        speed = local[work]
        lines.append(f"| {work} | {speed.ours} | {speed.theirs} |")
    for work in REMOTE_LINES:
        far = remote[work]
        cells = [f"{n} requests, {s} s" for n, s in zip(far.requests, far.seconds, strict=True)]
        lines.append(f"| over HTTP, 50 ms per response: {work} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


def shown_in_readme() -> str:
    """Return the table that the README contains."""
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
    """Return the cells of every row of those tables of a page whose header begins with ``header``."""
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
