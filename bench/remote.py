"""``make bench-remote``: requests, bytes and seconds of remote reads, compared with nd2 0.12.0, counted by the server.

A file of 1000 frames of 2 MB is served over HTTP on the loopback device, without latency and with 50 ms before each
answer; the same server answers requests of S3. Each piece of work runs in a separate process; the results replace the
tables in ``docs/cloud.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.pages import write_table
from tests.servers import RangeServer, range_server
from tests.sparse import build_sparse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
PYTHON = {"ours": sys.executable, "nd2": str(ROOT / ".venv-oracle" / "bin" / "python")}
LATENCIES = (0.0, 0.05)
PAGE = ROOT / "docs" / "cloud.md"
COMPARED = (
    "work", "requests", "nd2 0.12.0", "bytes", "nd2 0.12.0", "seconds", "nd2 0.12.0", "seconds at 50 ms", "nd2 0.12.0",
)  # fmt: skip
"""Titles of the columns of the comparison with nd2."""
FIRST_READS = ("work", "requests", "at once", "seconds, HTTP", "seconds, S3")
"""Titles of the columns of reads as in a first script."""

# Another file is opened first, so that imports and the session are not counted; then the setup; then the parent counts.
_CHILD = """
import sys, time
setup, run, WARM, URL, INDEX, OPTIONS = sys.argv[1:7]
import json, nd2, xarray
OPTIONS = json.loads(OPTIONS)
nd2.imread(WARM, xarray=True, dask=True, **({"storage_options": OPTIONS} if OPTIONS else {}))[1].values
space = {"URL": URL, "INDEX": INDEX, "OPTIONS": OPTIONS, "nd2": nd2, "xr": xarray}
exec(setup, space)
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
exec(run, space)
print(time.perf_counter() - start, flush=True)
"""

_OPEN = "file = nd2.ND2File(URL{}); file.sizes; file.metadata; file.experiment"
_DATASET = 'image = xr.open_dataset(URL, engine="nd2").image'
_DASK = "image = nd2.imread(URL, dask=True)"


@dataclass(frozen=True)
class Work:
    """One line of the table; code of ours and of nd2 0.12.0 (empty if it has no equivalent)."""

    name: str
    setup: str
    run: str
    theirs_setup: str
    theirs: str


WORK = [
    Work("open, sizes, metadata, experiment", "", _OPEN.format(""), "", _OPEN.format("")),
    Work("the same with an index", "", _OPEN.format(", index=INDEX"), "", ""),
    Work("one frame", _OPEN.format(""), "file.read_frame(500)", _OPEN.format(""), "file.read_frame(500)"),
    Work(
        "a crop of 16 x 16",
        _DATASET,
        "image[500, 500:516, 500:516].values",
        _DASK,
        "image[500, 500:516, 500:516].compute()",
    ),
    Work("100 neighboring frames", _DATASET, "image[300:400].values", _DASK, "image[300:400].compute()"),
    Work("100 scattered frames", _DATASET, "image[5::10].values", _DASK, "image[5::10].compute()"),
    Work(
        "`imread(url, xarray=True, dask=True)`, one frame",
        "",
        "nd2.imread(URL, xarray=True, dask=True)[500].values",
        "",
        "nd2.imread(URL, xarray=True, dask=True)[500].values",
    ),
    Work("`is_supported_file`", "", "nd2.is_supported_file(URL)", "", "nd2.is_supported_file(URL)"),
]


_FIRST = 'image = xr.open_dataset(URL, engine="nd2", storage_options=OPTIONS{}).image'
FIRST = [
    ("400 scattered frames of 8 kB", "many", _FIRST.format(""), "image[::50].values"),
    *(
        (
            f"{count} frames of {size}, `chunks={chunks}`",
            file,
            _FIRST.format(f", chunks={chunks}"),
            f"image[:{count}].compute()",
        )
        for count, size, file in ((200, "8 kB", "many"), (64, "2 MB", "big"))
        for chunks in ("{}", '"auto"')
    ),
]
"""Reads without options, as in a first script: title, file, setup and code."""


@dataclass(frozen=True)
class Found:
    """Requests, those at the same time, bytes and seconds of one run."""

    requests: int
    at_once: int
    sent: int
    seconds: float


def run(
    server: RangeServer,
    side: str,
    setup: str,
    code: str,
    latency: float,
    index: Path,
    file: str = "big",
    s3: bool = False,
) -> Found:
    """Run one piece of work in a separate process."""
    names = "small.nd2", f"{file}.nd2"
    urls = [f"s3://files/{name}" if s3 else server.url(f"files/{name}") for name in names]
    endpoint = {"endpoint_url": server.url("").rstrip("/"), "region_name": "us-east-1"}
    options = json.dumps({"anon": True, "client_kwargs": endpoint} if s3 else {})
    command = [PYTHON[side], "-c", _CHILD, setup, code, *urls, str(index), options]
    hidden = {"PYTHONPATH"} if side == "nd2" else set()  # it may name this project
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    server.latency = 0.0
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT / "bench",
        env=environment,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        if child.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{side}: {setup}")
        server.reset()
        server.latency = latency
        child.stdin.write("\n")
        child.stdin.flush()
        line = child.stdout.readline()
        if not line:
            raise RuntimeError(f"{side}: {code}")
        return Found(server.requests, server.most_in_flight, server.sent, float(line))


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, whose rows are printed when they are measured."""
    lines = [f"| {' | '.join(titles)} |", f"| --- |{' --: |' * (len(titles) - 1)}"]
    for row in rows:
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def compare(server: RangeServer, index: Path, rounds: int) -> Iterator[list[str]]:
    """Run everything on both sides, in turns, and yield the rows."""
    for work in WORK:
        sides = {"ours": (work.setup, work.run), "nd2": (work.theirs_setup, work.theirs)}
        runs: dict[tuple[str, float], list[Found]] = {}
        for latency in LATENCIES:
            for _ in range(rounds):
                for side, (setup, code) in sides.items():
                    if code:
                        found = run(server, side, setup, code, latency, index)
                        runs.setdefault((side, latency), []).append(found)
        yield [work.name, *cells(runs)]


def read_first(server: RangeServer, index: Path, rounds: int) -> Iterator[list[str]]:
    """Run what people write first over HTTP and S3, at 50 ms, and yield the rows."""
    for name, file, setup, code in FIRST:
        http, s3 = (
            [run(server, "ours", setup, code, LATENCIES[-1], index, file, protocol) for _ in range(rounds)]
            for protocol in (False, True)
        )
        counts = [f"{median(getattr(one, field) for one in http):.0f}" for field in ("requests", "at_once")]
        seconds = [f"{median(one.seconds for one in runs):.3f}" for runs in (http, s3)]
        yield [name, *counts, *seconds]


def cells(runs: dict[tuple[str, float], list[Found]]) -> list[str]:
    """Return the cells of one line: medians of both sides."""
    row = []
    for name, form in (("requests", "{:.0f}"), ("sent", "{:,.0f}")):
        for side in PYTHON:
            found = runs.get((side, 0.0))
            row.append(form.format(median(getattr(r, name) for r in found)) if found else "-")
    for latency in LATENCIES:
        for side in PYTHON:
            found = runs.get((side, latency))
            row.append(f"{median(r.seconds for r in found):.3f}" if found else "-")
    return row


def main() -> None:
    """Measure, print, and replace the tables in the documentation."""
    parser = argparse.ArgumentParser(prog="bench.remote", description=__doc__)
    parser.add_argument("-n", "--rounds", type=int, default=3, help="runs of each side")
    options = parser.parse_args()
    import nd2

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "files"
        folder.mkdir()
        build_sparse(folder / "small.nd2", count=2, height=8, width=8)
        build_sparse(folder / "big.nd2", picture_bytes=100_000)
        build_sparse(folder / "many.nd2", count=20_000, height=64, width=64)
        nd2.save_index(folder / "big.nd2", folder / "big.index")
        with range_server(Path(made)) as server:
            tables = {
                "bench-remote": table(COMPARED, compare(server, folder / "big.index", options.rounds)),
                "bench-remote-first": table(FIRST_READS, read_first(server, folder / "big.index", options.rounds)),
            }
    for name, text in tables.items():
        write_table(PAGE, name, text)


if __name__ == "__main__":
    main()
