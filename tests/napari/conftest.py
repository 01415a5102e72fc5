"""napari for tests: settings of its own, and a window where there is a display. Tests need napari."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")

collect_ignore_glob: list[str] = []
if find_spec("napari") is None or (sys.platform == "linux" and not any(os.environ.get(name) for name in _DISPLAYS)):
    collect_ignore_glob.append("test_*.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore warnings of napari and its dependencies, but not those of this package."""
    for item in items:
        if "tests/napari" in item.nodeid:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            item.add_marker(pytest.mark.filterwarnings("error:::(nd2|xarray_nd2)"))


@pytest.fixture(scope="session", autouse=True)
def _settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the settings of the user out, and leave them alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_CONFIG", str(tmp_path_factory.mktemp("settings") / "settings.yaml"))
        yield


@pytest.fixture
def model() -> Any:
    """Return a viewer without a window."""
    from napari.components import ViewerModel
    from npe2 import PluginManager

    PluginManager.instance().discover()
    return ViewerModel()


@pytest.fixture
def viewer() -> Iterator[Any]:
    """Return a viewer with a window."""
    import napari

    shown = napari.Viewer(show=True)
    shown.window.resize(1000, 700)
    yield shown
    shown.close()


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of two channels, each of one half of the image, at two times."""
    import numpy as np

    import nd2
    from nd2.structures import ChannelMeta, Color

    path = tmp_path_factory.mktemp("cells") / "cells.nd2"
    image = np.zeros((2, 2, 64, 96), np.uint16)
    image[0, 0, :, :32] = image[0, 1, :, 64:] = 1000
    image[1, 0, :, 32:64] = image[1, 1, :, 32:64] = 1000
    masks = np.zeros((2, 64, 96), np.uint16)
    masks[:, 8:24, 8:24] = 3
    channels = [ChannelMeta("red", 0, Color(255, 0, 0)), ChannelMeta("blue", 1, Color(0, 0, 255))]
    sizes = {"T": 2, "C": 2, "Y": 64, "X": 96}
    with nd2.ND2Writer(
        path, sizes, "uint16", channels=channels, voxel_size=(0.5, 0.5), labels={"marks": masks}
    ) as writer:
        for index, frame in enumerate(image):
            writer.write_frame(index, frame, time=500.0 * index)
    return path


@pytest.fixture
def url(cells: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of that file in a bucket, which the environment says how to reach."""
    import s3fs

    from tests.servers import s3_server

    with s3_server() as options:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", options["key"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options["secret"])
        monkeypatch.setenv("AWS_ENDPOINT_URL", options["client_kwargs"]["endpoint_url"])
        monkeypatch.setenv("AWS_DEFAULT_REGION", options["client_kwargs"]["region_name"])
        fs = s3fs.S3FileSystem(**options)
        fs.call_s3("create_bucket", Bucket="images")
        fs.put_file(str(cells), "images/cells.nd2")
        yield "s3://images/cells.nd2"
