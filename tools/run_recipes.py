"""Run each Python block of a page, as a reader would who copies one after the other, and print a line for each.

``python tools/run_recipes.py README.md`` runs in an empty folder, which it fills with the documentation's example files;
``s3://bucket`` and ``https://host`` are servers on this machine that also have them.
"""

from __future__ import annotations

import logging
import os
import runpy
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.pages import blocks, bucket_with, run  # noqa: E402  # found by the line above
from tests.servers import range_server  # noqa: E402


def main(page: Path) -> int:
    """Run the blocks of a page in the current folder; return how many failed."""
    here = Path.cwd()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line for each request
    runpy.run_path(str(ROOT / "docs" / "example_files.py"))["write_example_files"](here)
    failures = 0
    namespace: dict[str, object] = {"__name__": "__recipes__"}
    with bucket_with(here) as environment, range_server(here) as server:
        os.environ.update(environment)
        for number, block in enumerate(blocks(page), 1):
            title = f"{page.name}, recipe {number}"
            start = time.monotonic()
            try:
                run(block.replace("https://host/", server.url("")), page, namespace)
            except Exception:
                state = "FAILED"
                failures += 1
                traceback.print_exc(file=sys.stdout)
            else:
                state = "OK"
            print(f"{title:<44} {time.monotonic() - start:5.1f} s  {state}", flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
