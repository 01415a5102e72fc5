"""``python -m bench``: run benchmarks and print the table.

Every module ``bench/cases_*.py`` has a list ``CASES``; to add benchmarks is to add such a module.
"""

from __future__ import annotations

import argparse
import os
from importlib import import_module
from pathlib import Path

from bench.harness import HEADER, Case, measure, row


def main() -> None:
    """Run the cases whose module or name matches."""
    groups = [
        p.stem.removeprefix("cases_") for p in sorted(Path(__file__).parent.glob("cases_*.py"))
    ]
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[*groups, []], help="modules to run (all)")
    parser.add_argument("-n", "--rounds", type=int, default=5, help="processes for each side")
    parser.add_argument("-k", "--match", default="", help="only cases whose name contains this")
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; medians, {options.rounds} rounds\n"
    )
    print(HEADER, flush=True)
    for group in options.groups or groups:
        cases: list[Case] = import_module(f"bench.cases_{group}").CASES
        for case in cases:
            if options.match in case.name:
                print(row(case, measure(case, options.rounds)), flush=True)
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
