"""Run benchmarks: each side in separate processes, in turns, several times; medians and their ratios.

A case is a few lines of Python as text, because the sides run in different environments: this package in one, PyPI's
``nd2`` 0.12.0 in another, compared with NumPy on the same bytes.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.files import FILES, path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
PYTHON = {"ours": sys.executable, "nd2": str(ROOT / ".venv-oracle" / "bin" / "python"), "numpy": sys.executable}
MAX_SLOWDOWN = 1.1
"""Ratio to the time of another checkout above which a row is marked."""
SIDES = ("ours", "nd2", "numpy")

# Imports next to nothing before the clock starts, so that importing can also be timed.
_CHILD = """
import gc, sys, time
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
setup, run, FILE = sys.argv[1:4]
sys.modules["pint"] = None  # installed for our tests only; ome-types would import it, which takes longer than itself
space = {"FILE": FILE}
exec(compile(setup, "setup", "exec"), space)
code = compile(run, "run", "exec")
gc.collect()  # else one side may collect the garbage of its imports while the clock runs
def memory(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(key))
def cpu():
    used = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
try:
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = memory("VmRSS")
except OSError:
    before = None
start, busy = time.perf_counter(), cpu()
exec(code, space)
seconds, busy = time.perf_counter() - start, cpu() - busy
print(repr((seconds, busy, None if before is None else max(memory("VmHWM") - before, 0))))
"""


@dataclass(frozen=True)
class Case:
    """One piece of work, measured on up to three sides.

    Attributes
    ----------
    name : str
        Name in the table.
    run : str
        The code that is timed. It sees the file's path as ``FILE``.
    file : str, optional
        A key of ``bench.files.FILES``.
    setup : str
        Code that runs before the clock starts.
    theirs, theirs_setup : str, optional
        The same for nd2 0.12.0, if it differs; ``theirs=""`` if it has no equivalent.
    numpy, numpy_setup : str
        The same for plain NumPy; empty to leave it out.
    per : int
        Number of pieces of work that ``run`` does: the table shows the time of one.
    array_bytes : int
        Size of the result, with which peak memory is compared.
    time_goal, numpy_goal, memory_goal : float, optional
        Limits of ours, as ratios to nd2's time, to NumPy's time, to ``array_bytes``.
    cpu_goal : float, optional
        Limit of ours, as a ratio to nd2's seconds of all cores.
    cpu_limit : float, optional
        Limit of ours, in seconds of all cores.
    rounds : int, optional
        Number of rounds; by default that of the command.
    """

    name: str
    run: str
    file: str | None = None
    setup: str = ""
    theirs: str | None = None
    theirs_setup: str | None = None
    numpy: str = ""
    numpy_setup: str = "import numpy as np"
    per: int = 1
    array_bytes: int = 0
    time_goal: float | None = None
    numpy_goal: float | None = None
    memory_goal: float | None = None
    cpu_goal: float | None = None
    cpu_limit: float | None = None
    rounds: int | None = None

    def code(self, side: str) -> tuple[str, str]:
        """Return setup and timed code of a side; the latter is empty if the side is not measured."""
        if side == "numpy":
            return self.numpy_setup, self.numpy
        if side == "nd2":
            setup = self.setup if self.theirs_setup is None else self.theirs_setup
            return setup, self.run if self.theirs is None else self.theirs
        return self.setup, self.run


@dataclass(frozen=True)
class Measured:
    """Results of one case on one side: median and minimum seconds, median peak memory in bytes above the start.

    Attributes
    ----------
    cpu : float
        Median seconds of all cores, including those of child processes.
    """

    seconds: float
    least: float
    cpu: float
    peak: int | None
    rounds: int


def measure(case: Case, rounds: int, sides: Sequence[str] = SIDES) -> dict[str, Measured]:
    """Run a case on all of its sides, in turn; the order of the sides alternates between rounds."""
    path = str(path_of(case.file)) if case.file in FILES else case.file or ""
    sides = [side for side in sides if case.code(side)[1]]
    if not Path(PYTHON["nd2"]).exists():
        sides = [side for side in sides if side != "nd2"]
    found: dict[str, list[tuple[float, float, int | None]]] = {side: [] for side in sides}
    for turn in range(case.rounds or rounds):
        for side in sides if turn % 2 else sides[::-1]:
            _warm(path)
            found[side].append(_run(side, *case.code(side), path))
    return {
        side: Measured(
            median(seconds for seconds, _, _ in values) / case.per,
            min(seconds for seconds, _, _ in values) / case.per,
            median(cpu for _, cpu, _ in values) / case.per,
            _median_peak([peak for _, _, peak in values]),
            len(values),
        )
        for side, values in found.items()
    }


def _warm(path: str) -> None:
    """Read a local file once, so that every side finds it in the system's page cache."""
    if Path(path).is_file():
        buffer = bytearray(16 << 20)
        with Path(path).open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def _run(side: str, setup: str, run: str, path: str) -> tuple[float, float, int | None]:
    command = [PYTHON[side], "-c", _CHILD, setup, run, path]
    # The package of this project is importable only if it is installed: not from the working folder.
    hidden = {"PYTHONPATH"} if side in ("nd2", "before") else set()  # it may name this project
    hidden |= {"PYTHONDONTWRITEBYTECODE"}  # modules are compiled once, as an installed package is
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "bench", env=env)
    if done.returncode:
        raise RuntimeError(f"{side}: {run}\n{done.stderr}")
    seconds, cpu, peak = ast.literal_eval(done.stdout.splitlines()[-1])
    return float(seconds), float(cpu), peak


def _median_peak(peaks: list[int | None]) -> int | None:
    known = [peak for peak in peaks if peak is not None]
    return int(median(known)) if known else None


HEADER = (
    "| work | ours | nd2 0.12.0 | NumPy | ours / nd2 | of the best | goal | ours / NumPy | goal "
    "| peak, ours | peak, nd2 | goal |\n"
    "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |"
)


def row(case: Case, found: dict[str, Measured]) -> str:
    """Return a case as a line of the table; peaks are multiples of the array, or MB if the result is not an array."""
    ours, theirs, numpy = (found.get(side) for side in SIDES)
    cells = [
        case.name,
        *(_seconds(side) for side in (ours, theirs, numpy)),
        _ratio(ours, theirs, case.time_goal),
        "" if ours is None or theirs is None else f"{ours.least / theirs.least:.3g}",
        _goal(case.time_goal),
        _ratio(ours, numpy, case.numpy_goal),
        _goal(case.numpy_goal),
        _peak(ours, case, case.memory_goal),
        _peak(theirs, case, None),
        _goal(case.memory_goal),
    ]
    return f"| {' | '.join(cells)} |"


HEADER_CPU = (
    "| work | ours | nd2 0.12.0 | ours / nd2 | goal | clock, ours | clock, nd2 | peak, ours |\n"
    "| --- | --: | --: | --: | --: | --: | --: | --: |"
)


def row_cpu(case: Case, found: dict[str, Measured]) -> str:
    """Return a case as a line of the table of CPU seconds; the goal is in seconds or a ratio."""
    ours, theirs = found["ours"], found.get("nd2")
    used = _time(ours.cpu)
    if case.cpu_limit is not None and ours.cpu > case.cpu_limit:
        used = f"**{used}**"
    cells = [
        case.name,
        used,
        "" if theirs is None else _time(theirs.cpu),
        "" if theirs is None else _marked(ours.cpu / theirs.cpu, case.cpu_goal),
        _goal(case.cpu_goal) if case.cpu_limit is None else _time(case.cpu_limit),
        _seconds(ours),
        _seconds(theirs),
        _peak(ours, case, None),
    ]
    return f"| {' | '.join(cells)} |"


HEADER_BEFORE = (
    "| work | now | before | now / before | of the best | peak, now | peak, before | CPU, now / before |\n"
    "| --- | --: | --: | --: | --: | --: | --: | --: |"
)


def row_before(case: Case, found: dict[str, Measured]) -> str:
    """Return a case as a line of the table that compares with another checkout of this project."""
    now, before = found["ours"], found["before"]
    cells = [
        case.name,
        _seconds(now),
        _seconds(before),
        _ratio(now, before, MAX_SLOWDOWN),
        f"{now.least / before.least:.3g}",
        _peak(now, case, None),
        _peak(before, case, None),
        _marked(now.cpu / before.cpu, MAX_SLOWDOWN),
    ]
    return f"| {' | '.join(cells)} |"


def _seconds(found: Measured | None) -> str:
    return "" if found is None else _time(found.seconds)


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def _ratio(ours: Measured | None, other: Measured | None, goal: float | None) -> str:
    if ours is None or other is None:
        return ""
    return _marked(ours.seconds / other.seconds, goal)


def _marked(value: float, goal: float | None) -> str:
    return f"**{value:.3g}**" if goal is not None and value > goal else f"{value:.3g}"


def _goal(goal: float | None) -> str:
    return "" if goal is None else f"{goal:g}"


def _peak(found: Measured | None, case: Case, goal: float | None) -> str:
    if found is None or found.peak is None:
        return ""
    if not case.array_bytes:
        return f"{found.peak / 1e6:.0f} MB"
    return f"{_marked(found.peak / case.array_bytes, goal)} x"
