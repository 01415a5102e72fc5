"""Screenshots of the pages: ``python docs/screenshots.py`` writes them with the Chromium of the system."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from example_files import write_example_files  # noqa: E402

from tests.chromium import chromium, new_page, wait_for_picture  # noqa: E402
from xarray_nd2.view import view  # noqa: E402


def main() -> None:
    """Write the page of a plate, and the viewer of a stack."""
    with tempfile.TemporaryDirectory() as name, chromium(Path(name) / "chromium") as browser:
        folder = Path(name)
        write_example_files(folder)
        with view(folder / "plate.nd2", browser=False, port=8000) as endpoint, new_page(browser) as (page, _):
            page.goto(endpoint.url)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=HERE / "images" / "serve_page.jpg", type="jpeg", quality=88)
        with view(folder / "experiment.nd2", browser=False) as endpoint, new_page(browser) as (page, _):
            page.goto(endpoint.view_url)
            wait_for_picture(page)
            page.screenshot(path=HERE / "images" / "view_stack.jpg", type="jpeg", quality=88)


if __name__ == "__main__":
    main()
