"""Servers on the loopback device for tests: HTTP with byte ranges, which can misbehave on purpose, and S3."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.builder import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.builder import Nd2Spec

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_PATIENCE = 20.0
"""Seconds to wait for the requests that are to be gathered."""


@dataclass
class Seen:
    """One request that the server has seen."""

    method: str
    path: str
    start: int = 0
    stop: int = 0
    sent: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """Faults of the server.

    Attributes
    ----------
    when : callable
        Tells by a request (its range known) whether it goes wrong.
    status : int
        Status to answer with instead.
    keep : float
        Part of the body that is sent before the connection is dropped.
    stall : float
        Seconds to wait before answering.
    shift : int
        Bytes by which the range that is sent (and announced) is off.
    shorten : int
        Bytes that are left out at the end, in body, Content-Length and Content-Range.
    times : int
        Number of times it happens.
    """

    when: Callable[[Seen], bool] = lambda seen: seen.method == "GET"
    status: int = 0
    keep: float = 1.0
    stall: float = 0.0
    shift: int = 0
    shorten: int = 0
    times: int = 1 << 30


class RangeServer:
    """Serves the files of a folder on 127.0.0.1; counts requests, bytes, and requests at the same time.

    Attributes
    ----------
    seen : list of Seen
        Requests so far.
    latency : float
        Seconds before each answer.
    gather : int
        Requests that must be in flight before any is answered, so that no test depends on how fast the client is.
    ranges, suffixes, sized, tagged : bool
        Whether parts are served, also those counted from the end; whether HEAD tells the length; whether ETags are
        sent.
    fault : Fault or None
        What goes wrong.
    accept : callable or None
        Tells by the headers whether a request is allowed; else the answer is 403.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[Seen] = []
        self.latency = 0.0
        self.gather = 0
        self.ranges = self.suffixes = self.sized = self.tagged = True
        self.fault: Fault | None = None
        self.accept: Callable[[Mapping[str, str], str], bool] | None = None
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), type("Bound", (_Handler,), {"owner": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"

    @property
    def requests(self) -> int:
        return len(self.seen)

    @property
    def sent(self) -> int:
        """Bytes of bodies that were sent."""
        return sum(seen.sent for seen in self.seen)

    def reset(self) -> None:
        with self.lock:
            self.seen.clear()
            self.most_in_flight = 0

    def release(self) -> None:
        """Answer the requests that were gathered, and those that follow."""
        with self.lock:
            self.gather = 0
            self.lock.notify_all()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients may hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: RangeServer
    # Headers and body are written apart; waiting to join them would add 40 ms.
    disable_nagle_algorithm = True

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        owner = self.owner
        name, _, _ = self.path.lstrip("/").partition("?")
        seen = Seen(self.command, self.path, headers=dict(self.headers.items()))
        with owner.lock:
            owner.seen.append(seen)
            owner.in_flight += 1
            owner.most_in_flight = max(owner.most_in_flight, owner.in_flight)
            owner.lock.notify_all()
            if not owner.lock.wait_for(lambda: owner.most_in_flight >= owner.gather, _PATIENCE):
                owner.release()
        try:
            time.sleep(owner.latency)
            self._send_file(owner.folder / name, seen)
        finally:
            with owner.lock:
                owner.in_flight -= 1

    def _send_file(self, path: Path, seen: Seen) -> None:
        owner = self.owner
        if not path.is_file():
            self._send_status(404)
            return
        if owner.accept is not None and not owner.accept(seen.headers, seen.path):
            self._send_status(403)
            return
        size, partial = path.stat().st_size, False
        seen.start, seen.stop = 0, size
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if match and owner.ranges and (match[1] or owner.suffixes):
            first = int(match[1]) if match[1] else max(size - int(match[2]), 0)
            last = min(int(match[2]) + 1, size) if match[1] and match[2] else size
            if first >= size:
                self._send_status(416, {"Content-Range": f"bytes */{size}"})
                return
            seen.start, seen.stop, partial = first, last, True
        fault = self._fault(seen)
        if fault.stall:
            time.sleep(fault.stall)
        if fault.status:
            self._send_status(fault.status)
            return
        start, stop = seen.start + fault.shift, seen.stop + fault.shift - fault.shorten
        self.send_response(206 if partial else 200)
        if owner.tagged:
            stat = path.stat()
            self.send_header("ETag", f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"')
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        if owner.sized or self.command == "GET":
            self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if self.command == "GET":
            self._send_body(path, start, start + int((stop - start) * fault.keep), seen)
            if fault.keep < 1:
                self.close_connection = True

    def _fault(self, seen: Seen) -> Fault:
        fault = self.owner.fault
        with self.owner.lock:
            if fault is None or fault.times <= 0 or not fault.when(seen):
                return Fault()
            fault.times -= 1
        return fault

    def _send_body(self, path: Path, start: int, stop: int, seen: Seen) -> None:
        with path.open("rb") as handle:
            handle.seek(start)
            while start < stop:
                part = handle.read(min(256 << 10, stop - start))
                # counted first: who has read the bytes may ask for the count
                seen.sent += len(part)
                self.wfile.write(part)
                start += len(part)

    def _send_status(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def range_server(folder: Path) -> Iterator[RangeServer]:
    """Serve a folder as long as the block lasts."""
    server = RangeServer(folder)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def s3_server() -> Iterator[dict[str, Any]]:
    """Run moto's S3 server as long as the block lasts; gives the storage options that reach it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield {
            "key": "test-key",
            "secret": "test-secret",
            "client_kwargs": {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"},
        }
    finally:
        server.stop()


@contextmanager
def s3_bucket(specs: Mapping[str, Nd2Spec], folder: Path) -> Iterator[dict[str, Any]]:
    """Run such a server with the bucket ``images``, which holds a file of each specification, made in a folder."""
    import s3fs

    with s3_server() as options:
        fs = s3fs.S3FileSystem(**options)
        fs.call_s3("create_bucket", Bucket="images")
        if left := fs.find("images"):  # servers of one process have the same buckets
            fs.rm(left)
        for name, spec in specs.items():
            build(folder / f"{name}.nd2", spec)
            fs.put_file(str(folder / f"{name}.nd2"), f"images/{name}.nd2")
        yield options
