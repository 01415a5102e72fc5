"""The Chromium of the system: its path, its options, and pages that playwright opens, with WebGL in software."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PROGRAM = next(filter(None, map(shutil.which, _NAMES)), None)
"""Path of Chromium or Chrome, or None."""
WIDTH, HEIGHT = 1200, 800
_OPTIONS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
_WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
HEADLESS = ("--headless", "--disable-gpu", *_OPTIONS)
"""Options of a command that opens a page without a window and without WebGL."""


class AnswerHandler(SimpleHTTPRequestHandler):
    """Serves files silently, and collects the JSON documents that pages post, in `answers`."""

    answers: list[Any]

    def do_POST(self) -> None:
        """Keep a document."""
        self.answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@dataclass
class Traffic:
    """Requests of a page: address and bytes of each chunk, error messages, and all hosts."""

    chunks: list[tuple[str, int]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)

    @property
    def nbytes(self) -> int:
        return sum(size for _, size in self.chunks)

    @property
    def levels(self) -> set[str]:
        """Levels from which chunks were requested."""
        return {path.split("/")[-2] for path, _ in self.chunks}


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """Run a new browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile, executable_path=PROGRAM, args=[*_OPTIONS, *_WEBGL], viewport={"width": WIDTH, "height": HEIGHT}
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def new_page(browser: Any) -> Iterator[tuple[Any, Traffic]]:
    """Yield a new page, and its requests."""
    traffic = Traffic()

    def finished(request: Any) -> None:
        if "/c." in request.url:
            traffic.chunks.append((request.url, request.sizes()["responseBodySize"]))

    def log(message: Any) -> None:
        if message.type == "error":
            traffic.errors.append(message.text)

    def asked(request: Any) -> None:
        if request.url.startswith("http"):
            traffic.places.add(urlsplit(request.url).netloc)

    page = browser.new_page()
    page.on("request", asked)
    page.on("requestfinished", finished)
    page.on("pageerror", lambda error: traffic.errors.append(str(error)))
    page.on("console", log)
    try:
        yield page, traffic
    finally:
        page.close()


def wait_for_picture(page: Any) -> None:
    """Wait until the viewer has drawn everything that it shows."""
    page.wait_for_function("window.viewer && viewer.layerManager.managedLayers.length > 0")
    page.wait_for_function("viewer.layerManager.managedLayers.every(one => one.layer && one.layer.isReady)")
    page.wait_for_timeout(500)
    page.wait_for_function("viewer.isReady()")
