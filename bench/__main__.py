"""``python -m bench``: run benchmarks and print the table.

Every module ``bench/cases_*.py`` has a list ``CASES``; to add benchmarks, add such a module.
"""

from __future__ import annotations

import argparse
import os
import platform
from datetime import date
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from bench.harness import (
    HEADER,
    HEADER_BEFORE,
    HEADER_CPU,
    PYTHON,
    ROOT,
    SIDES,
    Case,
    measure,
    row,
    row_before,
    row_cpu,
)
from bench.pages import write_table

PAGE = ROOT / "docs" / "benchmarks.md"
CPU = ("first", "many", "scaling")
"""Modules whose table contains seconds of all cores."""


def main() -> None:
    """Run the cases whose module or name matches."""
    groups = [p.stem.removeprefix("cases_") for p in sorted(Path(__file__).parent.glob("cases_*.py"))]
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[*groups, []], help="modules to run (all)")
    parser.add_argument("-n", "--rounds", type=int, default=5, help="processes for each side")
    parser.add_argument("-k", "--match", default="", help="only cases whose name contains this")
    parser.add_argument("--write", action="store_true", help=f"put the table into docs/{PAGE.name}")
    parser.add_argument(
        "--before",
        metavar="PYTHON",
        help="compare with another checkout of this project, installed where this interpreter finds it",
    )
    options = parser.parse_args()
    if options.before and options.write:
        parser.error("--write takes the table without --before")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}; medians, {options.rounds} rounds")
    tables: dict[str, list[str]] = {}
    for group in sorted(options.groups or groups, key=lambda group: group in CPU):
        name, header, line = ("cpu", HEADER_CPU, row_cpu) if group in CPU else ("table", HEADER, row)
        sides: tuple[str, ...] = SIDES
        if options.before:
            PYTHON["before"] = options.before
            sides, name, header, line = ("ours", "before"), "before", HEADER_BEFORE, row_before
        cases: list[Case] = import_module(f"bench.cases_{group}").CASES
        for case in cases:
            if options.match in case.name:
                if name not in tables:
                    tables[name] = [header]
                    print(f"\n{header}", flush=True)
                tables[name].append(line(case, measure(case, options.rounds, sides)))
                print(tables[name][-1], flush=True)
    end = os.getloadavg()[0]
    print(f"\nload at the end {end:.1f}")
    if options.write:
        words = ["--write", *options.groups, f"-n {options.rounds}"]
        words += [f"-k {options.match!r}"] if options.match else []
        about = (
            f"{date.today():%-d %B %Y}, {platform.system()} on a virtual machine with {os.cpu_count()} cores, "
            f"Python {platform.python_version()}, NumPy {version('numpy')}, nd2 0.12.0 in a\n"
            f'separate environment; `make bench BENCH="{" ".join(words)}"`, '
            f"load {load:.1f} at the start and {end:.1f} at the end:"
        )
        for name, rows in tables.items():
            write_table(PAGE, name, "\n".join([about, "", *rows, "", ""]))


if __name__ == "__main__":
    main()
