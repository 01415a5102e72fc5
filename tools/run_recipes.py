"""Run each Python block of a page, one after another, as a reader would, and print a line for each.

``python tools/run_recipes.py README.md`` runs in an empty folder, which it fills with the documentation's example
files; ``s3://bucket`` and ``https://host`` are servers on this machine that also have them.

``--python PYTHON`` runs each block alone, in a new process of another environment, for example the one that the README
installs. ``--times 2`` runs everything twice, as a reader may.
"""

from __future__ import annotations

import argparse
import logging
import os
import runpy
import subprocess
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.pages import blocks, bucket_with, run  # noqa: E402  # found by the line above
from tests.servers import range_server  # noqa: E402


def main() -> int:
    """Run the blocks of a page in the current folder; return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--python", help="run each block alone, with this interpreter")
    parser.add_argument("--times", type=int, default=1, help="number of runs")
    arguments = parser.parse_args()
    page: Path = arguments.page
    here = Path.cwd()
    if any(here.iterdir()):
        parser.error(f"{str(here)!r} is not empty: the recipes and their files would replace others")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line for each request
    runpy.run_path(str(ROOT / "docs" / "example_files.py"))["write_example_files"](here)
    failures = 0
    with bucket_with(here) as environment, range_server(here) as server:
        os.environ.update(environment)
        for turn in range(1, arguments.times + 1):
            namespace: dict[str, object] = {"__name__": "__recipes__"}
            for number, block in enumerate(blocks(page), 1):
                title = f"{page.name}, recipe {number}"
                if arguments.times > 1:
                    title += f", run {turn}"
                code = block.replace("https://host/", server.url(""))
                start = time.monotonic()
                if arguments.python:
                    failed = run_alone(code, arguments.python)
                else:
                    failed = run_here(code, page, namespace)
                state = "FAILED" if failed else "OK"
                failures += failed
                print(f"{title:<44} {time.monotonic() - start:5.1f} s  {state}", flush=True)
    return failures


def run_here(code: str, page: Path, namespace: dict[str, object]) -> bool:
    """Run a block in this process, after those before it; return whether it failed."""
    try:
        run(code, page, namespace)
    except Exception:
        traceback.print_exc(file=sys.stdout)
        return True
    return False


def run_alone(code: str, python: str) -> bool:
    """Run a block as a script, by another interpreter; return whether it failed."""
    done = subprocess.run(
        [python, "-W", "error::UserWarning", "-c", code],
        env={**os.environ, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(done.stdout + done.stderr)
    return done.returncode != 0


if __name__ == "__main__":
    sys.exit(main())
