"""`nd2 view`: its address, its advice, and files in a bucket."""

from __future__ import annotations

import json
import urllib.request
import webbrowser
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import zarr

import xarray_nd2.commands
from nd2._core.cli.command import arguments
from tests.builder import Nd2Spec, build
from tests.servers import s3_bucket
from xarray_nd2.serving import viewer
from xarray_nd2.serving.server import Endpoint
from xarray_nd2.view import advice, open_browser, tunnel, view

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without display and terminal from afar."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that the browser is opened at."""
    urls: list[str] = []

    def keep(url: str) -> bool:
        urls.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", keep)
    return urls


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.nd2"
    build(path, loops=[("Z", 3)], channels=2)
    return path


def test_the_browser_is_opened_where_there_is_a_display(
    path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with view(path):
        assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    with view(path, browser=False):
        assert opened == []
    with view(path) as endpoint:
        assert opened == [endpoint.view_url] == [f"{endpoint.url}/view"]


def test_a_browser_that_fails_is_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> bool:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "open", fail)
    monkeypatch.setenv("BROWSER", "none")
    assert not open_browser("http://localhost")


def test_the_way_through_ssh(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "me")
    monkeypatch.setattr("socket.gethostname", lambda: "machine")
    with view(path, browser=False) as endpoint:
        port = endpoint.port
        assert urlsplit(endpoint.url).port == port
        forward = f"-L {port}:127.0.0.1:{port}"
        assert tunnel(endpoint) == f"ssh -N {forward} me@machine"
        monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 50000 10.0.0.1 22")
        assert tunnel(endpoint) == f"ssh -N {forward} me@10.0.0.1"
        monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 50000 10.0.0.1 2222")
        assert tunnel(endpoint) == f"ssh -N -p 2222 {forward} me@10.0.0.1"


def test_advice_is_given_where_it_is_needed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with view(path, browser=False) as endpoint:
        monkeypatch.setattr(viewer, "is_installed", lambda: True)
        assert advice(endpoint, opened=True) == []
        assert advice(endpoint, opened=False)[-1].strip() == tunnel(endpoint)
        monkeypatch.setattr(viewer, "is_installed", lambda: False)
        (line,) = advice(endpoint, opened=True)
        assert "pip install 'xarray-nd2[view]'" in line


@pytest.mark.parametrize("arguments_", [[], ["--no-browser"]])
def test_the_command(
    path: Path,
    opened: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments_: list[str],
) -> None:
    import argparse

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(Endpoint, "wait", lambda self: None)
    parser = argparse.ArgumentParser()
    arguments()(parser)
    xarray_nd2.commands.VIEW.configure(parser)
    options = parser.parse_args([str(path), *arguments_])
    options.storage_options = None
    assert xarray_nd2.commands.VIEW.run(options) is None
    out, err = capsys.readouterr()
    assert out.startswith("http://127.0.0.1:")
    assert opened == ([] if arguments_ else [out.strip()])
    assert ("ssh -N" in err) == bool(arguments_)


@pytest.mark.skipif(not viewer.is_installed(), reason="neuroglancer is not installed")
def test_a_file_in_a_bucket(tmp_path: Path) -> None:
    spec = Nd2Spec(loops=[("Z", 3)], channels=2, height=600, width=40)
    with (
        s3_bucket({"cells": spec}, tmp_path) as options,
        view("s3://images/cells.nd2", browser=False, storage_options=options) as endpoint,
    ):
        with urllib.request.urlopen(endpoint.view_url, timeout=30) as answer:
            state: dict[str, Any] = json.loads(unquote(answer.url.partition("#!")[2]))
        assert [layer["localPosition"] for layer in state["layers"]] == [[0], [1]]
        source = state["layers"][0]["source"].removeprefix("zarr3://")
        array: Any = zarr.open_group(source, mode="r")["0"]
        np.testing.assert_array_equal(array[1], spec.array[:, 1])
