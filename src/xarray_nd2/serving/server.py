"""The HTTP server: one thread per connection, as many as are allowed.

It is the standard library's: with each answer sent at once, it serves 50 clients more tiles per second than aiohttp
and uvicorn do (346, 204 and 239, by `bench/clients.py`), and needs no package.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from nd2._core import errors
from xarray_nd2.serving.store import Answer
from xarray_nd2.serving.viewer import VIEW

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from xarray_nd2.serving.site import FileSite

_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
"""A ``Host`` header that is a host with an optional port, and nothing else."""
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_BACKLOG = 128
"""Connections that wait to be accepted: a viewer opens many at once."""
_MAX_CONNECTIONS = 256
"""Connections that are served at once; more are closed."""
_MAX_PORT = 65535
_PULSE = 15
"""Seconds between the signs of life of an event stream."""


def check_address(host: str, port: int) -> None:
    """Raise ``ValueError`` for a host or a port on which no server can listen."""
    if not host:
        raise ValueError("host must not be empty; '0.0.0.0' listens on all addresses")
    if not 0 <= port <= _MAX_PORT:
        raise ValueError(f"port must be from 0 to {_MAX_PORT}, not {port}")


class Endpoint:
    """A file that is being served, until `close` or the end of the ``with`` block.

    Attributes
    ----------
    url : str
        Address of the root.
    view_url : str
        Address of the viewer; of the page of the file if the viewer is not installed.
    """

    def __init__(
        self, site: FileSite, host: str, port: int, *, allow_origin: str | None = None, verbose: bool = False
    ) -> None:
        try:
            self._server = _Server(site, host, port, allow_origin, verbose=verbose)
        except OSError as error:
            raise errors.unbound(error, f"{host}:{port}") from None
        shown = f"[{host}]" if ":" in host else host
        self.url: str = f"http://{shown}:{self._server.server_address[1]}"
        self.view_url: str = f"{self.url}/{VIEW}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Port on which it listens."""
        return int(self._server.server_address[1])

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


class _Server(ThreadingHTTPServer):
    """One thread per connection, as many as are allowed."""

    request_queue_size = _BACKLOG

    def __init__(self, site: FileSite, host: str, port: int, allow_origin: str | None, *, verbose: bool) -> None:
        self.site, self.allow_origin, self.verbose = site, allow_origin, verbose
        self.only_loopback = _is_loopback(host)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._open: dict[socket.socket, threading.Thread] = {}
        self.closing = threading.Event()
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._open) >= _MAX_CONNECTIONS:
            self.shutdown_request(request)
            return
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._open.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that leaves is not an error
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        self.closing.set()
        connections = dict(self._open)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # the client has left
                continue
        for thread in connections.values():
            thread.join()
        self.site.close()


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD, byte ranges included."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 60
    server_version = "nd2"
    sys_version = ""
    # An answer in two small packets waits 40 ms for the client's acknowledgment of the first.
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_OPTIONS(self) -> None:
        """Tell a browser what is allowed."""
        self._send(Answer("", b"", HTTPStatus.NO_CONTENT))

    def log_message(self, format: str, *args: Any) -> None:
        if self.server.verbose:
            super().log_message(format, *args)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Print nothing yet: `_send` knows size and time."""

    def do_GET(self) -> None:
        """Send the bytes of a key; their length only if the method is HEAD."""
        self._start = time.perf_counter()
        host = self.headers.get("Host", "")
        if self.server.only_loopback and not _is_loopback(_hostname(f"//{host}")):
            # A foreign name that resolves to this machine: its pages must not read the file.
            self._text(HTTPStatus.MISDIRECTED_REQUEST, "unknown host")
            return
        key = unquote(urlsplit(self.path).path).strip("/")
        html = "text/html" in self.headers.get("Accept", "").lower()
        base = self._base(host)
        try:
            found = self.server.site.answer(key, base, html=html)
        except (OSError, ValueError, ImportError) as error:
            self._text(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
            return
        if found is None:
            message = f"there is no such key; {base} is a page for people in a browser"
            self._text(HTTPStatus.NOT_FOUND, message)
        elif found.stream and self.command == "GET":
            self._stream(found)
        else:
            self._send(self._part(found))

    do_HEAD = do_GET

    def _base(self, host: str) -> str:
        """Return the URL of the root as the client knows it: a tunnel may end at another port."""
        if _HOST.fullmatch(host) is None:
            address, port = self.connection.getsockname()[:2]
            host = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        return f"http://{host}/"

    def _part(self, answer: Answer) -> Answer:
        """Return the part of an answer that is requested, with the header that says so."""
        size = len(answer.data)
        span = _requested_range(self.headers.get("Range"), size) if answer.status is HTTPStatus.OK else None
        if span is None:
            return answer
        if span[0] >= span[1]:
            status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            return Answer(answer.kind, b"", status, {"Content-Range": f"bytes */{size}"})
        content_range = {"Content-Range": f"bytes {span[0]}-{span[1] - 1}/{size}"}
        return Answer(answer.kind, answer.data[slice(*span)], HTTPStatus.PARTIAL_CONTENT, content_range)

    def _text(self, status: HTTPStatus, text: str) -> None:
        self._send(Answer("text/plain; charset=utf-8", f"{text}\n".encode(), status))

    def _send(self, answer: Answer) -> None:
        self._headers(answer, {"Content-Length": str(len(answer.data))})
        sent = len(answer.data) if self.command == "GET" else 0
        if sent:
            self.wfile.write(answer.data)
        self.wfile.flush()
        milliseconds = (time.perf_counter() - getattr(self, "_start", time.perf_counter())) * 1000
        self.log_message('"%s" %d, %d bytes, %.1f ms', self.requestline, answer.status, sent, milliseconds)

    def _stream(self, answer: Answer) -> None:
        """Keep the connection open, and send a comment now and then, until one side closes it."""
        self._headers(answer, {"Cache-Control": "no-store", "Connection": "close"})
        self.wfile.flush()
        while not self.server.closing.wait(_PULSE):
            self.wfile.write(b":\n\n")
            self.wfile.flush()

    def _headers(self, answer: Answer, more: Mapping[str, str]) -> None:
        self.send_response(answer.status)
        headers = {
            "Accept-Ranges": "bytes",
            "Vary": "Origin, Accept",
            "X-Content-Type-Options": "nosniff",
            **answer.headers,
            **more,
        }
        if answer.kind:
            headers["Content-Type"] = answer.kind
        origin = self.headers.get("Origin")
        if origin is not None and (self.server.allow_origin in ("*", origin) or _is_loopback(_hostname(origin))):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Allow-Methods"] = "GET, HEAD, OPTIONS"
            headers["Access-Control-Allow-Headers"] = "Range"
            headers["Access-Control-Expose-Headers"] = "Content-Range, Content-Length"
            # Browsers require this of public pages that read from this machine.
            headers["Access-Control-Allow-Private-Network"] = "true"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _is_loopback(host: str) -> bool:
    """Return whether a name or an address is that of this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hostname(url: str) -> str:
    """Return the lower-case host of a URL; empty if the URL is malformed."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _requested_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Return start and stop of what a ``Range`` header requests; None for the whole."""
    match = _RANGE.fullmatch(text or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(size - int(match[2]), 0), size
    return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
