"""A real browser reads an ND2 file: zarrita, from npm, in headless Chromium, from the endpoint and from references."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.builder import build
from tests.chromium import HEADLESS, PROGRAM, AnswerHandler
from xarray_nd2 import write_kerchunk
from xarray_nd2.serve import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NPM = shutil.which("npm")

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium"),
    pytest.mark.skipif(NPM is None, reason="there is no npm, which installs zarrita"),
]

PAGE = """<!doctype html>
<script type="importmap">
{"imports": {
  "zarrita": "./node_modules/zarrita/dist/src/index.js",
  "@zarrita/storage": "./node_modules/@zarrita/storage/dist/src/index.js",
  "@zarrita/storage/": "./node_modules/@zarrita/storage/dist/src/",
  "@zarrita/storage/fetch": "./node_modules/@zarrita/storage/dist/src/fetch.js",
  "reference-spec-reader": "./node_modules/reference-spec-reader/src/index.js",
  "unzipit": "./node_modules/unzipit/dist/unzipit.module.js",
  "fflate": "./node_modules/fflate/esm/browser.js",
  "numcodecs/blosc": "./node_modules/numcodecs/dist/blosc.js",
  "numcodecs/lz4": "./node_modules/numcodecs/dist/lz4.js",
  "numcodecs/zstd": "./node_modules/numcodecs/dist/zstd.js"
}}
</script>
<body style="font-family: sans-serif; background: #fff">
<h3>%(title)s</h3><p id="text">loading</p>
<canvas id="picture" style="width: 480px; image-rendering: pixelated"></canvas>
<script type="module">
const say = (answer) => fetch("answer", {method: "POST", body: JSON.stringify(answer)});
try {
  const zarr = await import("zarrita");
  %(store)s
  const array = await zarr.open.v3(zarr.root(store).resolve("0"), {kind: "array"});
  const plane = await zarr.get(array, %(selection)s);
  const [height, width] = plane.shape;
  const values = Array.from({length: height}, (_, y) => Array.from({length: width},
    (_, x) => Number(plane.data[y * plane.stride[0] + x * plane.stride[1]])));
  const canvas = document.getElementById("picture");
  Object.assign(canvas, {width, height});
  const picture = new ImageData(width, height);
  values.flat().forEach((v, i) => picture.data.set([v, v, v, 255], 4 * i));
  canvas.getContext("2d").putImageData(picture, 0, 0);
  document.getElementById("text").textContent = `${array.shape} ${array.dtype}`;
  await say({values, shape: array.shape, dtype: array.dtype});
} catch (error) {
  document.getElementById("text").textContent = error;
  await say({error: String(error)});
}
</script>
"""

ENDPOINT = 'const store = new zarr.FetchStore("{url}");'
REFERENCES = """
  const {{default: ReferenceStore}} = await import("@zarrita/storage/ref.js");
  const store = await ReferenceStore.fromSpec(await (await fetch("{url}")).json());
"""


class _Pages(AnswerHandler):
    """Serves a folder, also ranges of files."""

    def do_GET(self) -> None:
        span = self.headers.get("Range")
        if span is None:
            super().do_GET()
            return
        first, last = map(int, span.removeprefix("bytes=").split("-"))
        with open(self.translate_path(self.path), "rb") as handle:
            handle.seek(first)
            data = handle.read(last + 1 - first)
        self.send_response(206)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="session")
def zarrita(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with zarrita and what it needs."""
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text('{"private": true}')
    assert NPM is not None
    command = [NPM, "install", "--no-audit", "--no-fund", "--ignore-scripts", "zarrita@0.7"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install zarrita within two minutes")
    if done.returncode:
        pytest.skip(f"npm cannot install zarrita: {done.stderr.strip()[-200:]}")
    return folder


@pytest.fixture
def pages(tmp_path: Path, zarrita: Path) -> Iterator[tuple[Path, str, list[Any]]]:
    """A folder that is served, its URL, and the answers of its pages."""
    (tmp_path / "node_modules").symlink_to(zarrita / "node_modules")
    answers: list[Any] = []
    handler = type("Handler", (_Pages,), {"answers": answers})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield tmp_path, f"http://127.0.0.1:{server.server_address[1]}", answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def browse(pages: tuple[Path, str, list[Any]], pytestconfig: pytest.Config) -> Callable[..., Any]:
    """Show a page, keep a picture of it, and return what it answers."""
    folder, url, answers = pages
    pictures = pytestconfig.rootpath / "build" / "screenshots"
    pictures.mkdir(parents=True, exist_ok=True)

    def show(name: str, store: str, selection: list[int | None]) -> Any:
        text = PAGE % {"title": name, "store": store, "selection": json.dumps(selection)}
        (folder / "index.html").write_text(text)
        picture = pictures / f"{name}.png"
        picture.unlink(missing_ok=True)
        command = [
            str(PROGRAM),
            *HEADLESS,
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=520,520",
            "--virtual-time-budget=20000",
            f"--screenshot={picture}",
            f"{url}/index.html",
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        assert picture.stat().st_size > 0
        (answer,) = answers
        assert "error" not in answer, answer
        return answer

    return show


def test_the_browser_reads_a_plane_from_the_endpoint(browse: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 3), ("Z", 2)], channels=2, height=24, width=31, zlib=True)
    with serve(path) as endpoint:
        answer = browse("endpoint", ENDPOINT.format(url=endpoint.url), [2, 1, 0, None, None])
    assert answer["shape"] == [3, 2, 2, 24, 31]
    assert answer["dtype"] == "uint16"
    np.testing.assert_array_equal(answer["values"], spec.array[2, 0, 1])


def test_the_browser_reads_the_files_own_bytes_through_references(
    browse: Callable[..., Any], pages: tuple[Path, str, list[Any]]
) -> None:
    folder, url, _ = pages
    path = folder / "a.nd2"
    spec = build(path, loops=[("T", 3), ("Z", 2)], channels=2, height=24, width=31)
    write_kerchunk(path, folder / "refs.json", url=f"{url}/a.nd2", zarr_format=3, layout="ome-zarr")
    answer = browse("references", REFERENCES.format(url="refs.json"), [1, 0, 1, None, None])
    np.testing.assert_array_equal(answer["values"], spec.array[1, 1, 0])
