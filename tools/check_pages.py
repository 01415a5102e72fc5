"""Open every page of the built documentation in Chromium, at widths from a phone's to a desk's, and look for faults.

``python tools/check_pages.py docs/_build`` reports pages that are wider than the window, content that is cut off at its
right edge, pictures that are missing, and links between pages that lead nowhere. ``--shots FOLDER`` also saves
pictures of all pages. Without Chromium it prints a message and succeeds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.chromium import HEADLESS, PROGRAM, AnswerHandler  # found by the line above

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTHS = (320, 390, 600, 768, 1008, 1024, 1100, 1200, 1280, 1366, 1440, 1680, 1920)
SHOT_WIDTHS = (390, 1100, 1366, 1920)
THEMES = ("light", "dark")
FLAGS = (*HEADLESS, "--hide-scrollbars")
SECONDS = 600

# A page that opens each page in a frame of each width, and posts the faults.
HARNESS = """<!doctype html><meta charset="utf-8"><body><script>
const [pages, widths] = JOB;
function faults(frame, width) {
  const root = frame.contentDocument.documentElement, found = [];
  if (root.scrollWidth > width) found.push(`is ${root.scrollWidth} px wide`);
  for (const node of root.querySelectorAll("article *")) {
    const box = node.getBoundingClientRect();
    if (box.width === 0 || box.height === 0 || box.right <= width + 1) continue;
    if (node.closest("math, svg, .visually-hidden, .headerlink, .copybtn")) continue;
    let parent = node.parentElement, scrolls = false;
    for (; parent && parent !== root; parent = parent.parentElement)
      scrolls ||= ["auto", "scroll"].includes(frame.contentWindow.getComputedStyle(parent).overflowX);
    if (!scrolls) { found.push(`<${node.localName}> is cut: ${node.textContent.trim().slice(0, 40)}`); break; }
  }
  for (const image of root.querySelectorAll("article img"))
    if (image.complete && !image.naturalWidth && image.getBoundingClientRect().width)
      found.push(`no picture ${image.getAttribute("src")}`);
  const figures = [...root.querySelectorAll("article img.figure")];
  const seen = figures.filter(image => image.getBoundingClientRect().width);
  if (2 * seen.length !== figures.length) found.push(`shows ${seen.length} of ${figures.length} figures`);
  return found;
}
function open(page, width) {
  return new Promise(done => {
    const frame = document.createElement("iframe");
    frame.style.cssText = `border:0;height:900px;width:${width}px`;
    frame.onload = () => setTimeout(() => done(frame), 30);
    frame.src = page;
    document.body.append(frame);
  });
}
(async () => {
  const result = [];
  for (const page of pages) {
    const frame = await open(page, widths[0]);
    for (const width of widths) {
      frame.style.width = `${width}px`;
      await new Promise(done => setTimeout(done, 15));
      for (const fault of faults(frame, width)) result.push([page, width, fault]);
    }
    for (const link of frame.contentDocument.querySelectorAll("article a[href]")) {
      const url = new URL(link.href);
      if (url.origin !== location.origin || link.closest(".only-dark")) continue;
      const answer = await fetch(url.pathname, {method: "HEAD"});
      if (!answer.ok) result.push([page, 0, `leads nowhere: ${link.getAttribute("href")}`]);
    }
    frame.remove();
  }
  await fetch("/result", {method: "POST", body: JSON.stringify(result)});
})();
</script>"""

# A page with one page in a frame, for a picture: Chromium's own window cannot be as narrow as a phone.
SHOT = """<!doctype html><meta charset="utf-8"><body style="margin:0"><script>
localStorage.setItem("theme", "THEME");
const frame = document.createElement("iframe");
frame.style.cssText = "border:0;width:WIDTHpx;height:HEIGHTpx";
frame.src = "/PAGE";
document.body.append(frame);
</script>"""


class Pages(AnswerHandler):
    """Serves the built pages and the pages of this tool, and takes the result."""

    own: dict[str, str]
    done: threading.Event

    def do_GET(self) -> None:
        """Serve a page of this tool, or a file."""
        text = self.own.get(self.path)
        if text is None:
            super().do_GET()
            return
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Take the result."""
        super().do_POST()
        self.done.set()


def page_names(folder: Path) -> list[str]:
    """Return the pages of a built documentation, without listings of source code."""
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.html"))]
    return [name for name in names if not name.startswith(("_modules/", "_static/"))]


def check(chromium: str, folder: Path, pages: list[str], widths: list[int]) -> list[Any]:
    """Return [page, width, fault] for each fault."""
    answers: list[Any] = []
    done = threading.Event()
    job = json.dumps([pages, widths])
    own = {"/harness": HARNESS.replace("JOB", job)}
    handler = type("Handler", (Pages,), {"own": own, "answers": answers, "done": done})
    with serve(handler, folder) as port, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        url = f"http://127.0.0.1:{port}/harness"
        # The window is wider than every frame. Chromium runs until the result has arrived.
        command = [chromium, *FLAGS, f"--user-data-dir={profile}", "--window-size=2000,1000"]
        browser = subprocess.Popen(
            [*command, "--remote-debugging-port=0", url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            if not done.wait(SECONDS):
                raise TimeoutError(f"Chromium did not finish within {SECONDS} seconds")
        finally:
            browser.terminate()
            browser.wait()
    faults: list[Any] = answers[0]
    return faults


def shoot(chromium: str, folder: Path, pages: list[str], shots: Path, height: int) -> None:
    """Save a picture of each page at each width and in each theme."""
    shots.mkdir(parents=True, exist_ok=True)
    own: dict[str, str] = {}
    handler = type("Handler", (Pages,), {"own": own, "answers": [], "done": threading.Event()})
    with serve(handler, folder) as port:
        for page in pages:
            for width in SHOT_WIDTHS:
                for theme in THEMES:
                    own["/shot"] = (
                        SHOT.replace("THEME", theme)
                        .replace("WIDTH", str(width))
                        .replace("HEIGHT", str(height))
                        .replace("PAGE", page)
                    )
                    stem = page.removesuffix(".html").replace("/", "-")
                    target = shots / f"{stem}-{width}-{theme}.png"
                    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
                        subprocess.run(
                            [
                                chromium,
                                *FLAGS,
                                f"--user-data-dir={profile}",
                                f"--window-size={max(width, 500)},{height}",
                                f"--screenshot={target}",
                                f"http://127.0.0.1:{port}/shot",
                            ],
                            check=True,
                            capture_output=True,
                            timeout=120,
                        )


class Server(ThreadingHTTPServer):
    """A server that says nothing when a browser leaves before its answer is complete."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore the error."""


@contextmanager
def serve(handler: Any, folder: Path) -> Iterator[int]:
    """Serve a folder on a free port, for the time of a ``with`` block; the port is its value."""
    server = Server(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def main() -> int:
    """Check the pages of a folder; return 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the built documentation")
    parser.add_argument("--page", action="append", help="only this page, such as engine.html")
    parser.add_argument("--shots", type=Path, help="save pictures of the pages into this folder")
    parser.add_argument("--height", type=int, default=1400, help="of the pictures, in pixels")
    arguments = parser.parse_args()
    if PROGRAM is None:
        print("Chromium is not installed: the layout of the pages is not checked")
        return 0
    pages = arguments.page or page_names(arguments.folder)
    found = check(PROGRAM, arguments.folder, pages, list(WIDTHS))
    for page, width, fault in found:
        print(f"{page}{f' at {width} px' if width else ''}: {fault}")
    if not found:
        print(f"{len(pages)} pages, {len(WIDTHS)} widths from {WIDTHS[0]} to {WIDTHS[-1]} px: ok")
    if arguments.shots:
        shoot(PROGRAM, arguments.folder, pages, arguments.shots, arguments.height)
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main())
