"""`nd2 view` in headless Chromium: pictures on the screen, requests and bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.image import imread

import nd2
from nd2.structures import Position, StagePosition
from tests.chromium import HEIGHT, PROGRAM, WIDTH, Traffic, chromium, new_page, wait_for_picture
from xarray_nd2.serving import viewer
from xarray_nd2.view import view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium"),
    pytest.mark.skipif(not viewer.is_installed(), reason="neuroglancer is not installed"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def browser(program: Any) -> Iterator[tuple[Any, Traffic]]:
    with new_page(program) as (page, traffic):
        yield page, traffic


@pytest.fixture
def shot(browser: tuple[Any, Traffic], pytestconfig: pytest.Config) -> Callable[[str], NDArray[Any]]:
    """Keep a picture of the page; return its pixels, shape (height, width, 3), from 0 to 1."""
    folder = pytestconfig.rootpath / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)

    def take(name: str) -> NDArray[Any]:
        data = browser[0].screenshot(path=folder / f"{name}.png")
        pixels: NDArray[Any] = imread(io.BytesIO(data))[..., :3]
        return pixels

    return take


def share(picture: NDArray[Any], color: tuple[float, float, float]) -> float:
    """Return the share of pixels that have about this color."""
    return float((abs(picture - np.array(color)).max(axis=-1) < 0.1).mean())


def squares(height: int, width: int, place: int) -> NDArray[np.uint16]:
    """Return a dark plane whose third number ``place`` is bright."""
    plane = np.full((height, width), 100, np.uint16)
    plane[:, width * place // 3 : width * (place + 1) // 3] = 4000
    return plane


def test_the_page_of_a_file(browser: tuple[Any, Traffic], shot: Callable[[str], NDArray[Any]], tmp_path: Path) -> None:
    points = [Position(StagePosition(0.0, 0.0, 0.0), name=name) for name in ("A1", "A2", "B1")]
    path = tmp_path / "plate.nd2"
    with nd2.ND2Writer(path, {"P": 3, "Y": 300, "X": 300}, np.uint16, channels=["GFP"], positions=points) as writer:
        for i in range(3):
            writer.write_frame({"P": i}, squares(300, 300, i))
    page, traffic = browser
    with view(path, browser=False) as endpoint:
        page.goto(endpoint.url)
        page.evaluate("Promise.all(Array.from(document.images, image => image.decode()))")
        widths = page.evaluate("Array.from(document.images, image => image.naturalWidth)")
        assert len(widths) == 3
        assert min(widths) >= 150
        assert page.title() == "plate.nd2"
        assert "A2" in page.inner_text("body")
        shot("page")
        page.click("a.open")
        wait_for_picture(page)
        assert "/_/v/file/" in page.url
        picture = shot("plate")
        page.goto("about:blank")
    assert share(picture, (1, 1, 1)) > 0.1
    assert traffic.errors == []
    # Of three positions, one is read.
    assert {path.rsplit("/", 1)[1] for path, _ in traffic.chunks} == {"c.0.0.0"}


def test_channels_have_their_colors(
    browser: tuple[Any, Traffic], shot: Callable[[str], NDArray[Any]], tmp_path: Path
) -> None:
    path = tmp_path / "three.nd2"
    planes = np.stack([squares(700, 1000, i) for i in range(3)])
    nd2.imwrite(path, planes, axes="CYX", channels=["DAPI", "GFP", "Cy5"], voxel_size=(0.2, 0.2, 1.0))
    page, traffic = browser
    with view(path, browser=False) as endpoint:
        page.goto(endpoint.view_url)
        wait_for_picture(page)
        picture = shot("channels")
        page.goto("about:blank")
        assert traffic.places == {endpoint.url.removeprefix("http://")}
    for color in ((0, 0, 1), (0, 1, 0), (1, 0, 0)):
        assert share(picture, color) > 0.15
    assert traffic.errors == []
    # Two levels of three channels, each in one tile.
    assert len(traffic.chunks) <= 6
    assert traffic.nbytes <= 4 * WIDTH * HEIGHT * 2 * 3


def test_a_stack_in_two_views_with_labels(
    browser: tuple[Any, Traffic], shot: Callable[[str], NDArray[Any]], tmp_path: Path
) -> None:
    path = tmp_path / "stack.nd2"
    masks = np.zeros((2, 5, 120, 160), np.uint16)
    masks[:, :, 20:50, 20:60] = 1
    with nd2.ND2Writer(
        path,
        {"T": 2, "Z": 5, "C": 2, "Y": 120, "X": 160},
        np.uint16,
        channels=["DAPI", "GFP"],
        voxel_size=(0.5, 0.5, 3.0),
        labels={"cells": masks},
    ) as writer:
        for frame in range(10):
            writer.write_frame(frame, np.stack([squares(120, 160, frame % 5 // 2), masks[0, 0]]))
    page, traffic = browser
    with view(path, browser=False) as endpoint:
        page.goto(endpoint.view_url)
        wait_for_picture(page)
        picture = shot("stack")
        names = page.evaluate("viewer.layerManager.managedLayers.map(one => one.name)")
        assert names == ["DAPI", "GFP", "cells"]
        before = {path for path, _ in traffic.chunks}
        assert all("/c.0." in path for path in before)  # the first time point
        page.evaluate("viewer.position.value = Float32Array.from([80, 60, 2, 1])")
        wait_for_picture(page)
        page.goto("about:blank")
    left, right = picture[:, : WIDTH // 2], picture[:, WIDTH // 2 :]
    # The middle plane is bright in its second third; in 3D, all thirds are bright in some plane.
    assert share(left, (0, 0, 1)) > 0.05
    assert right[..., 2].mean() > 0.02
    later = {path for path, _ in traffic.chunks} - before
    assert later
    assert all("/c.1." in path for path in later)
    assert traffic.errors == []


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.nd2"
    y, x = np.ogrid[:12000, :12000]
    rings = ((y - 6000) // 64 + (x - 6000) // 48) % 7 * 30
    nd2.imwrite(path, rings.astype(np.uint8), axes="YX", voxel_size=(0.325, 0.325, 1.0))
    return path


def test_two_zoom_levels_of_a_large_frame(
    browser: tuple[Any, Traffic], shot: Callable[[str], NDArray[Any]], large: Path
) -> None:
    page, traffic = browser
    with view(large, browser=False) as endpoint:
        page.goto(endpoint.view_url)
        wait_for_picture(page)
        picture = shot("large")
        assert traffic.levels <= {"4", "5"}
        assert len(traffic.chunks) <= 5
        assert traffic.nbytes <= 4 * WIDTH * HEIGHT
        for zoom, level in ((4, "2"), (1, "0")):
            traffic.chunks.clear()
            page.evaluate(f"viewer.navigationState.zoomFactor.value = {zoom}")
            wait_for_picture(page)
            assert level in traffic.levels
            assert len(traffic.chunks) <= 16
            assert traffic.nbytes <= 4 * WIDTH * HEIGHT
        zoomed = shot("large_zoomed")
        page.goto("about:blank")
    assert min(picture.std(), zoomed.std()) > 0.05
    assert traffic.errors == []
