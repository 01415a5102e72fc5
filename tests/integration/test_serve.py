"""The endpoint behind ``nd2 serve``: OME-Zarr over HTTP, of every kind of file, for this machine only."""

from __future__ import annotations

import http.client
import importlib.util
import socket
import struct
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import xarray as xr
import zarr

from nd2._core.frames.array import PIXEL_DIMS
from tests.builder import build
from tests.kinds import KINDS
from xarray_nd2.serve import Endpoint, serve
from xarray_nd2.serving import server

if TYPE_CHECKING:
    from pathlib import Path

NO_AXIS = {"custom", "nested T", "two color channels, padded"}
"""Files with an axis that OME-Zarr does not have."""


def ask(endpoint: Endpoint, key: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(urlsplit(endpoint.url).netloc, timeout=30)
    method = headers.pop("method", "GET")
    try:
        connection.request(method, key, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.headers)
    finally:
        connection.close()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_served(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, **KINDS[kind])
    if kind in NO_AXIS:
        with pytest.raises(ValueError, match="OME-Zarr"):
            serve(path)
        return
    image = xr.open_dataset(path, engine="nd2").image
    if "S" in image.dims:
        image = image.sel(S=["B", "G", "R"])
    parts = [image.isel(P=i) for i in range(image.sizes["P"])] if "P" in image.dims else [image]
    names = [f"{i}/0" for i in range(len(parts))] if "P" in image.dims else ["0"]
    with serve(path) as endpoint:
        assert endpoint.url.startswith("http://127.0.0.1:")
        group = zarr.open_group(endpoint.url, mode="r")
        for name, part in zip(names, parts, strict=True):
            array: Any = group[name]
            ordered = part.transpose(*sorted(part.dims, key="TCSZYX".index))
            np.testing.assert_array_equal(array[...], ordered.values)
            assert array.dtype == part.dtype
            longer = [n for n, m in zip(array.chunks, array.shape, strict=True) if n > 1]
            assert len(longer) <= len(PIXEL_DIMS) - 2 + ("S" in part.dims)  # a plane


def test_keys_and_parts_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 2)])
    plane = spec.array[1].tobytes()
    with serve(path) as endpoint:
        assert ask(endpoint, "/0/c.1.0.0")[:2] == (200, plane)
        status, body, headers = ask(endpoint, "/0/c.1.0.0", Range="bytes=4-7")
        assert (status, body) == (206, plane[4:8])
        assert headers["Content-Range"] == f"bytes 4-7/{len(plane)}"
        assert ask(endpoint, "/0/c.1.0.0", Range="bytes=-6")[1] == plane[-6:]
        assert ask(endpoint, "/0/c.1.0.0", Range="bytes=90-")[1] == plane[90:]
        assert ask(endpoint, "/0/c.1.0.0", Range="bytes=999-")[0] == 416
        status, body, headers = ask(endpoint, "/zarr.json", method="HEAD")
        assert (status, body, headers["Content-Type"]) == (200, b"", "application/json")
        for absent in ("/", "/0/c.2.0.0", "/0/c.1.0", "/0/c.x.0.0", "/1/c.0.0.0", "/../a.nd2"):
            assert ask(endpoint, absent)[0] == 404
        assert ask(endpoint, "/zarr.json", method="PUT")[0] == 501


def test_who_may_read(tmp_path: Path) -> None:
    path, allow = tmp_path / "a.nd2", "Access-Control-Allow-Origin"
    build(path)
    mine, other = "http://localhost:8080", "https://viewer.example"
    with serve(path) as endpoint:
        assert ask(endpoint, "/zarr.json", Origin=mine)[2][allow] == mine
        assert allow not in ask(endpoint, "/zarr.json", Origin=other)[2]
        assert ask(endpoint, "/zarr.json", Host="rebound.example")[0] == 421
    with serve(path, allow_origin=other) as endpoint:
        assert ask(endpoint, "/zarr.json", Origin=other)[2][allow] == other
        assert allow not in ask(endpoint, "/zarr.json", Origin="https://x.example")[2]
        assert ask(endpoint, "/zarr.json", Origin=other, method="OPTIONS")[2][allow] == other


def test_damage_and_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 2)], zlib=True)
    raw = path.read_bytes()
    position = raw.index(b"ImageDataSeq|1!") - 16 + 4096
    path.write_bytes(raw[:position] + b"\0\0\0\0" + raw[position + 4 :])
    endpoint = serve(path)
    status, body, _ = ask(endpoint, "/0/c.1.0.0")
    assert status == 500
    assert b"frame 1" in body
    assert ask(endpoint, "/0/c.0.0.0")[0] == 200
    endpoint.close()
    with pytest.raises(OSError, match=r"refused|reset"):
        ask(endpoint, "/zarr.json")
    with pytest.raises(FileNotFoundError):
        serve(tmp_path / "b.nd2")


def send(endpoint: Endpoint, *lines: str) -> bytes:
    """Send a request that no client library makes, and return what comes back."""
    place = urlsplit(endpoint.url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_malformed_headers_are_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    with serve(path) as endpoint:
        get = "GET /zarr.json HTTP/1.1"
        assert b" 421 " in send(endpoint, get, "Host: [::1")
        assert b" 200 " in send(endpoint, get, "Host: localhost", "Origin: http://[")
        digits = "9" * 5000
        assert b" 200 " in send(endpoint, get, "Host: localhost", f"Range: bytes={digits}-")
        place = urlsplit(endpoint.url)
        with socket.create_connection((place.hostname, place.port)) as connection:
            # A client that leaves: it closes without reading what it asked for.
            connection.sendall(b"GET /0/c.0.0 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert ask(endpoint, "/zarr.json")[0] == 200
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1"])
def test_every_loopback_address_is_guarded(tmp_path: Path, host: str) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    try:
        endpoint = serve(path, host)
    except OSError:
        pytest.skip(f"this machine does not listen at {host}")
    with endpoint:
        assert ask(endpoint, "/zarr.json")[0] == 200
        assert ask(endpoint, "/zarr.json", Host="rebound.example")[0] == 421


@pytest.mark.parametrize("place", [{"port": 99999}, {"port": -1}, {"host": ""}])
def test_places_that_are_refused(tmp_path: Path, place: dict[str, Any]) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    with pytest.raises(ValueError, match=f"{next(iter(place))} must"):
        serve(path, **place)


def test_many_clients_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is busy while they connect: the system keeps their connections until it accepts them."""
    path = tmp_path / "a.nd2"
    build(path)
    accept, ready = server._Server.process_request, threading.Event()

    def accept_when_ready(*arguments: Any) -> None:
        assert ready.wait(60)
        accept(*arguments)

    monkeypatch.setattr(server._Server, "process_request", accept_when_ready)
    with serve(path) as endpoint:
        place = urlsplit(endpoint.url)
        clients = []
        for _ in range(100):
            clients.append(socket.create_connection((place.hostname, place.port), timeout=10))
            clients[-1].sendall(b"GET /zarr.json HTTP/1.0\r\nHost: localhost\r\n\r\n")
        ready.set()
        for client in clients:
            assert b" 200 " in client.recv(64)
            client.close()


def test_connections_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xarray_nd2.serving.server._MAX_CONNECTIONS", 2)
    path = tmp_path / "a.nd2"
    build(path)
    with serve(path) as endpoint:
        place = (urlsplit(endpoint.url).hostname, urlsplit(endpoint.url).port)
        idle = [socket.create_connection(place, timeout=30) for _ in range(2)]
        with socket.create_connection(place, timeout=30) as third:
            assert third.recv(1) == b""
        for connection in idle:
            connection.close()
        for _ in range(100):
            try:
                assert ask(endpoint, "/zarr.json")[0] == 200
                break
            except OSError:
                time.sleep(0.05)
        else:
            pytest.fail("a place that is free again is not given")


def test_the_folder_of_the_file_is_not_served(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    with serve(path) as endpoint:
        document = ask(endpoint, "/zarr.json")[1].decode()
        page = ask(endpoint, "/", Accept="text/html")[1].decode()
    assert '"source": "a.nd2"' in document
    assert str(tmp_path) not in document
    assert str(tmp_path) not in page


def test_requests_are_printed_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    with serve(path) as endpoint:
        ask(endpoint, "/0/c.0.0")
    assert capsys.readouterr().err == ""
    with serve(path, verbose=True) as endpoint:
        ask(endpoint, "/0/c.0.0")
        ask(endpoint, "/none")
    first, second = sorted(capsys.readouterr().err.splitlines(), key=lambda line: "none" in line)
    assert '"GET /0/c.0.0 HTTP/1.1" 200, 96 bytes, ' in first
    assert '"GET /none HTTP/1.1" 404, ' in second


def test_an_answer_is_sent_at_once(tmp_path: Path) -> None:
    # In two packets, the second would wait some 40 ms for the acknowledgment of the first.
    path = tmp_path / "a.nd2"
    build(path)
    with serve(path) as endpoint:
        place = urlsplit(endpoint.url)
        with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
            connection.sendall(b"GET /0/c.0.0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = connection.recv(1 << 16)
    assert len(answer.partition(b"\r\n\r\n")[2]) == 96


def test_closing_ends_idle_connections_and_event_streams(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    before = set(threading.enumerate())
    with ExitStack() as stack:
        endpoint = stack.enter_context(serve(path))
        place = urlsplit(endpoint.url)
        clients = [
            stack.enter_context(socket.create_connection((place.hostname, place.port), timeout=30)) for _ in range(2)
        ]
        clients[1].sendall(b"GET /_/events/file HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if importlib.util.find_spec("neuroglancer") is not None:
            assert b"text/event-stream" in clients[1].recv(1 << 12)
        endpoint.close()
        assert clients[0].recv(1) == b""
    assert set(threading.enumerate()) <= before
