"""Content at the address of an endpoint for people: a page, thumbnails, and the way to the viewer."""

from __future__ import annotations

import html
import io
import json
import re
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import unquote

import numpy as np
import pytest
import zarr
from matplotlib.image import imread

import nd2
from nd2.structures import Position, StagePosition
from tests.builder import build
from xarray_nd2.serve import Endpoint, serve
from xarray_nd2.serving import viewer

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

needs_client = pytest.mark.skipif(not viewer.is_installed(), reason="neuroglancer is not installed")


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, *_: Any) -> None:
        return None


def ask(url: str, **headers: str) -> tuple[int, bytes, Message]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=30) as answer:
            return answer.status, answer.read(), answer.headers
    except HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def page(endpoint: Endpoint) -> str:
    status, body, headers = ask(f"{endpoint.url}/", **HTML)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    return body.decode()


def state(endpoint: Endpoint, **headers: str) -> dict[str, Any]:
    status, _, found = ask(endpoint.view_url, **headers)
    assert status == 302
    place, _, text = found["Location"].partition("#!")
    assert place == f"http://{headers.get('Host', endpoint.url[7:])}/_/v/file/"
    view: dict[str, Any] = json.loads(unquote(text))
    return view


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """Two positions with names of wells, in two channels."""
    path = tmp_path / "plate.nd2"
    points = [Position(StagePosition(0.0, 0.0, 0.0), name=name) for name in ("A1", "<b>B2</b>")]
    with nd2.ND2Writer(
        path, {"P": 2, "C": 2, "Y": 30, "X": 40}, np.uint16, channels=["DAPI", "<script>GFP"], positions=points
    ) as writer:
        for i in range(2):
            writer.write_frame({"P": i}, np.full((2, 30, 40), i, np.uint16))
    return path


def test_the_page_says_what_is_in_the_file(plate: Path) -> None:
    with serve(plate) as endpoint:
        text = page(endpoint)
        assert "<h1>plate.nd2</h1>" in text
        for word in ("DAPI", "uint16", "0: A1", "OME-Zarr", "napari", endpoint.url):
            assert word in text
        assert text.count("<img ") == 2
        assert "<script" not in text
        assert "&lt;script&gt;GFP" in text
        assert "1: &lt;b&gt;B2&lt;/b&gt;" in text


def test_the_lines_of_the_page_run(plate: Path, tmp_path: Path) -> None:
    other = tmp_path / "one.nd2"
    build(other, loops=[("T", 2), ("Z", 3)], channels=2)
    for path, shape in ((plate, (30, 40)), (other, (6, 8))):
        with serve(path) as endpoint:
            (lines,) = re.findall(r"<pre>(import zarr.*?)</pre>", page(endpoint), re.DOTALL)
            names: dict[str, Any] = {}
            exec(html.unescape(lines), names)
            assert names["plane"].shape == shape
            np.testing.assert_array_equal(names["lazy"], names["array"][...])


def test_the_link_to_the_viewer_on_the_web(plate: Path) -> None:
    with serve(plate) as endpoint:
        (link,) = re.findall(r'href="(https:[^"]+)"', page(endpoint))
        place, _, text = html.unescape(link).partition("#!")
        assert place == f"{viewer.PUBLIC}/"
        assert json.loads(unquote(text))["layers"][0]["source"].startswith(f"zarr3://{endpoint.url}/")


def test_a_thumbnail_of_each_position(plate: Path) -> None:
    with serve(plate) as endpoint:
        for i in range(2):
            status, body, headers = ask(f"{endpoint.url}/_/thumbnails/{i}.png")
            assert (status, headers["Content-Type"]) == (200, "image/png")
            assert max(imread(io.BytesIO(body)).shape) <= 512
        assert ask(f"{endpoint.url}/_/thumbnails/2.png")[0] == 404


def test_programs_get_no_page(plate: Path) -> None:
    with serve(plate) as endpoint:
        status, body, _ = ask(f"{endpoint.url}/", Accept="*/*")
        assert status == 404
        assert f"{endpoint.url}/".encode() in body
        assert ask(f"{endpoint.url}/favicon.ico")[0] == 204


def test_links_are_those_of_a_tunnel(plate: Path) -> None:
    with serve(plate) as endpoint:
        _, body, _ = ask(f"{endpoint.url}/", **HTML, Host="localhost:8000")
        assert b"http://localhost:8000/" in body
        _, body, _ = ask(f"{endpoint.url}/", **HTML, Host="[::1]:8000")
        assert b"http://[::1]:8000/" in body
        assert endpoint.url.encode() not in body
    with serve(plate, "0.0.0.0") as endpoint:
        url = endpoint.url.replace("0.0.0.0", "127.0.0.1")
        _, body, _ = ask(f"{url}/", **HTML, Host='"><script>')
        assert b'"><script>' not in body
        assert url.encode() in body


def test_without_the_client_the_viewer_is_the_page(plate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "is_installed", lambda: False)
    with serve(plate) as endpoint:
        status, _, headers = ask(endpoint.view_url)
        assert (status, headers["Location"]) == (302, f"{endpoint.url}/")
        assert "xarray-nd2[view]" in page(endpoint)


@needs_client
def test_the_client_is_served(plate: Path) -> None:
    with serve(plate) as endpoint:
        root = f"{endpoint.url}/_/v/file/"
        _, body, headers = ask(root)
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        scripts = re.findall(r'src="([^"]+)"', body.decode())
        assert scripts
        for script in scripts:
            status, _, headers = ask(root + script)
            assert (status, headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
        for absent in ("../server.py", "..%2f..%2fserver.py", "none.js", "index.html/x"):
            assert ask(root + absent)[0] == 404


@needs_client
def test_the_state_of_a_stack(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    masks = np.ones((3, 2, 5, 20, 30), np.uint16)
    with nd2.ND2Writer(
        path,
        {"P": 3, "T": 2, "Z": 5, "C": 2, "Y": 20, "X": 30},
        np.uint16,
        channels=["DAPI", "GFP"],
        voxel_size=(0.25, 0.25, 2.0),
        labels={"cells": masks},
    ) as writer:
        values = np.arange(1200, dtype=np.uint16).reshape(2, 20, 30)
        for frame in range(30):
            writer.write_frame(frame, values)
    with serve(path) as endpoint:
        view = state(endpoint)
        assert view["displayDimensions"] == ["x", "y", "z"]
        assert view["layout"] == "xy-3d"
        dimensions = view["dimensions"]
        assert dimensions["x"] == pytest.approx([0.25e-6, "m"])
        assert dimensions["z"] == pytest.approx([2e-6, "m"])
        assert view["projectionScale"] == pytest.approx(1.3 * 5 * 2.0 / 0.25)
        position = dict(zip(dimensions, view["position"], strict=True))
        assert position == {"x": 14.5, "y": 9.5, "z": 2, "t": 0, "p": 0}
        (palette,) = view["toolPalettes"].values()
        assert [tool["dimension"] for tool in palette["tools"]] == ["t", "p"]
        dapi, gfp, cells = view["layers"]
        assert (dapi["name"], dapi["localPosition"]) == ("DAPI", [0])
        assert (gfp["name"], gfp["localPosition"]) == ("GFP", [1])
        assert gfp["blend"] == "additive"
        assert 'default="#00FF00"' in gfp["shader"]
        limits = re.search(r"range=\[(\S+), (\S+)\]", gfp["shader"])
        assert limits is not None
        expected = np.percentile(values[1], (0.1, 99.9))
        np.testing.assert_allclose([float(n) for n in limits.groups()], expected, rtol=2e-3)
        assert cells["type"] == "segmentation"
        for layer in view["layers"]:
            source = layer["source"].removeprefix("zarr3://")
            array: Any = zarr.open_group(source, mode="r")["0"]
            assert array.shape[:2] == (3, 2)


@needs_client
def test_the_state_of_color(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    nd2.imwrite(path, np.zeros((20, 30, 3), np.uint8), axes="YXS")
    with serve(path) as endpoint:
        (layer,) = state(endpoint, Host="localhost:9")["layers"]
        assert layer["source"]["url"] == "zarr3://http://localhost:9/"
        assert list(layer["source"]["transform"]["outputDimensions"]) == ["c^", "y", "x"]
        order = json.loads(ask(f"{endpoint.url}/zarr.json")[1])["attributes"]["ome"]["omero"]
        colors = [channel["color"] for channel in order["channels"]]
        painted = re.search(r"vec3\((.*)\)\)", layer["shader"])
        assert painted is not None
        indices = [int(n) for n in re.findall(r"\d", painted[1])]
        assert [colors[i] for i in indices] == ["FF0000", "00FF00", "0000FF"]
