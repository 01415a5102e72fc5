"""A small, read-only HTTP endpoint: one ND2 file as OME-Zarr 0.5, whose chunks are decoded on request.

Chunks are planes of one channel, not compressed, so that every Zarr reader and viewer reads them.
Files that no reference can describe are served as well.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from dataclasses import replace
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np

from nd2._core.io.urls import file_name
from nd2._core.open import open_reader
from nd2._core.values import record
from nd2._core.views.facts import Facts
from xarray_nd2.dataset.build import dataset_model
from xarray_nd2.references import v3
from xarray_nd2.references.arrays import ZarrArray
from xarray_nd2.references.layouts import ome_groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from numpy.typing import NDArray

    from nd2._core.frames.array import FrameArray

_CHUNK_BYTES = 16 << 20
"""Larger planes are served in bands of rows."""
_BACKLOG = 128
"""Connections that wait to be accepted: a viewer opens many at once."""
_MAX_CONNECTIONS = 256
"""Connections that are served at once; more are closed."""
_MAX_PORT = 65535


class Endpoint:
    """A file that is being served, until `close` or the end of the ``with`` block."""

    def __init__(self, server: ThreadingHTTPServer, host: str) -> None:
        self._server = server
        shown = f"[{host}]" if ":" in host else host
        self.url: str = f"http://{shown}:{server.server_address[1]}"
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Serve until the endpoint is closed, or the user interrupts."""
        self._thread.join()

    def close(self) -> None:
        """Stop serving; may be called twice."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(
    path: Any,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    storage_options: Mapping[str, Any] | None = None,
    allow_origin: str | None = None,
) -> Endpoint:
    """Serve a file as OME-Zarr 0.5 over HTTP, from a thread of its own.

    Parameters
    ----------
    path : str, os.PathLike, BinaryIO
        Local path, URL that fsspec knows, or open binary file.
    host : str
        Address to listen at. By default only programs on this machine can connect. There is no
        password: whoever reaches another address reads the file.
    port : int
        Port to listen at; 0 for any free one.
    storage_options : Mapping, optional
        Options for the file system of a URL.
    allow_origin : str, optional
        Web site whose scripts may read the file in the user's browser (``https://viewer.example``), or
        ``*`` for all. Pages from this machine always may.

    Returns
    -------
    Endpoint
        With the attribute ``url``.

    Raises
    ------
    OSError
        If the file cannot be opened or is not ND2, or the port is taken.
    ValueError
        If the file is damaged, or has an axis that OME-Zarr does not have; if ``host`` is empty, or
        there is no such port.

    Examples
    --------
    >>> with serve("a.nd2") as endpoint:  # doctest: +SKIP
    ...     print(endpoint.url)
    ...     endpoint.wait()
    """
    if not host:
        raise ValueError("host must not be empty; '0.0.0.0' listens at all addresses")
    if not 0 <= port <= _MAX_PORT:
        raise ValueError(f"port must be from 0 to {_MAX_PORT}, not {port}")
    store = _Store(path, storage_options)

    class Handler(_Handler):
        served = store
        origin = allow_origin
        only_loopback = _is_loopback(host)

    class Server(_Server):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        return Endpoint(Server((host, port), Handler), host)
    except BaseException:
        store.close()
        raise


class _Server(ThreadingHTTPServer):
    """One thread per connection, as many as are allowed."""

    daemon_threads = True
    request_queue_size = _BACKLOG
    RequestHandlerClass: type[_Handler]

    def __init__(self, *args: Any) -> None:
        self._slots = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that leaves is not an error
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        self.RequestHandlerClass.served.close()


class _Store:
    """Keys of a Zarr hierarchy, and their bytes."""

    def __init__(self, path: Any, storage_options: Mapping[str, Any] | None) -> None:
        self.reader = open_reader(path, storage_options=storage_options)
        try:
            facts = Facts(self.reader)
            model = dataset_model(self.reader, facts, labels=False)
            # Clients need not know in which folder the file is.
            attrs = {**model.attrs, "source": file_name(str(model.attrs["source"]))}
            model = replace(model, attrs=attrs)
            groups = ome_groups(facts, model, _plane_array)
            self.arrays = {path: array for group in groups for path, array in group.items}
            self.documents = v3.documents(groups)
        except BaseException:
            self.reader.close()
            raise

    def close(self) -> None:
        self.reader.close()

    @cached_property
    def texts(self) -> dict[str, bytes]:
        return {key: json.dumps(document).encode() for key, document in self.documents.items()}

    def get(self, key: str) -> tuple[str, bytes] | None:
        """Return media type and bytes of a key; None if there is none."""
        if key in self.texts:
            return "application/json", self.texts[key]
        path, _, chunk = key.rpartition("/")
        if path not in self.arrays or not re.fullmatch(r"c(\.\d{1,12})+", chunk):
            return None
        array = self.arrays[path]
        index = tuple(map(int, chunk.split(".")[1:]))
        grid = array.grid
        if len(index) != len(grid) or any(i >= n for i, n in zip(index, grid, strict=True)):
            return None
        return "application/octet-stream", _read_chunk(array, index).tobytes()


@record
class _Planes:
    """An image whose chunks are decoded when they are read; ``dims`` are its axes in the array's order."""

    image: FrameArray
    dims: tuple[str, ...]

    def transpose(self, order: Sequence[int], /) -> _Planes:
        return replace(self, dims=tuple(self.dims[i] for i in order))

    def read(self, key: Sequence[slice]) -> NDArray[Any]:
        keys = dict(zip(self.dims, key, strict=True))
        part = self.image.read(tuple(keys[dim] for dim in self.image.dims))
        return part.transpose([self.image.dims.index(dim) for dim in self.dims])


def _plane_array(image: FrameArray) -> ZarrArray:
    """Describe an image in chunks of one plane, or bands of its rows."""
    pixels = image.frames.pixels
    row = max(pixels.width * pixels.dtype.itemsize, 1)
    chunk = {"Y": max(min(pixels.height, _CHUNK_BYTES // row), 1), "X": pixels.width}
    chunks = tuple(chunk.get(dim, 1) for dim in image.dims)
    return ZarrArray(image.dims, image.shape, chunks, pixels.dtype, _Planes(image, image.dims))


def _read_chunk(array: ZarrArray, index: tuple[int, ...]) -> NDArray[Any]:
    """Read one chunk; past the last row of the image it is zero."""
    assert isinstance(array.data, _Planes)
    sizes = zip(index, array.chunks, array.shape, strict=True)
    part = array.data.read([slice(i * n, min((i + 1) * n, size)) for i, n, size in sizes])
    if part.shape == array.chunks:
        return part
    whole = np.zeros(array.chunks, part.dtype)
    whole[tuple(map(slice, part.shape))] = part
    return whole


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD, byte ranges included."""

    served: _Store
    origin: str | None
    only_loopback: bool
    protocol_version = "HTTP/1.1"
    timeout = 60
    server_version = "nd2"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the bytes of a key."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Send the length of the bytes of a key."""
        self._answer(body=False)

    def do_OPTIONS(self) -> None:
        """Tell a browser what is allowed."""
        self._send(HTTPStatus.NO_CONTENT, "", b"", body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing for each request."""

    def _answer(self, *, body: bool) -> None:
        host = _hostname(f"//{self.headers.get('Host', '')}")
        if self.only_loopback and not _is_loopback(host):
            # A foreign name that resolves to this machine: its pages must not read the file.
            self._send(HTTPStatus.MISDIRECTED_REQUEST, "text/plain", b"unknown host\n", body=body)
            return
        try:
            found = self.served.get(unquote(urlsplit(self.path).path).strip("/"))
        except (OSError, ValueError) as error:
            message = f"{error}\n".encode()
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", message, body=body)
            return
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"there is no such key\n", body=body)
            return
        kind, data = found
        span = _requested_range(self.headers.get("Range"), len(data))
        if span is None:
            self._send(HTTPStatus.OK, kind, data, body=body)
        elif span[0] >= span[1]:
            size = {"Content-Range": f"bytes */{len(data)}"}
            self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, kind, b"", size, body=body)
        else:
            size = {"Content-Range": f"bytes {span[0]}-{span[1] - 1}/{len(data)}"}
            part = data[slice(*span)]
            self._send(HTTPStatus.PARTIAL_CONTENT, kind, part, size, body=body)

    def _allowed_origin(self) -> str | None:
        """Return the origin of the request if its pages may read."""
        origin = self.headers.get("Origin")
        if origin is None:
            return None
        if self.origin in ("*", origin) or _is_loopback(_hostname(origin)):
            return str(origin)
        return None

    def _send(
        self,
        status: HTTPStatus,
        kind: str,
        data: bytes,
        more: Mapping[str, str] | None = None,
        *,
        body: bool,
    ) -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(data)), "Accept-Ranges": "bytes", "Vary": "Origin"}
        if kind:
            headers["Content-Type"] = kind
        origin = self._allowed_origin()
        if origin is not None:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Allow-Methods"] = "GET, HEAD, OPTIONS"
            headers["Access-Control-Allow-Headers"] = "Range"
            headers["Access-Control-Expose-Headers"] = "Content-Range, Content-Length"
        for name, value in {**headers, **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


def _is_loopback(host: str) -> bool:
    """Return whether a name or an address is that of this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hostname(url: str) -> str:
    """Return the lower-case host of a URL; empty where the URL is malformed."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _requested_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Return start and stop of what a ``Range`` header requests; None for the whole."""
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", text or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(size - int(match[2]), 0), size
    return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
