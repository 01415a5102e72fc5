"""Servers of strangers: bodies without end, redirects, and errors that show no secret."""

from __future__ import annotations

import threading
import tracemalloc
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

import nd2
import xarray_nd2
from nd2._core.io.open import file_system
from tests.builder import Nd2Spec, build
from tests.servers import range_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "hunter2"
SIGNED = f"?X-Amz-Signature={SECRET}&X-Amz-Credential={SECRET}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: Callable[[Handler], None]

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        try:
            type(self).answer(self)
        except OSError:  # the client has gone
            self.close_connection = True

    def do_HEAD(self) -> None:
        self.send_error(405)


@contextmanager
def serving(answer: Callable[[Handler], None]) -> Iterator[str]:
    kind = type("Bound", (Handler,), {"answer": staticmethod(answer)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/a.nd2"
    finally:
        server.shutdown()
        server.server_close()


def endless(handler: Handler, content_range: str, length: int | None) -> None:
    handler.send_response(206)
    handler.send_header("Content-Range", content_range)
    if length is None:
        handler.send_header("Transfer-Encoding", "chunked")
    else:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()
    part = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20)) if length is None else bytes(1 << 20)
    for _ in range(4096):
        handler.wfile.write(part)


@pytest.mark.parametrize(
    ("content_range", "length"),
    [
        ("bytes 0-1023/1000000", None),
        ("bytes 0-1099511627775/1099511627776", None),
        ("bytes 0-1099511627775/1099511627776", 1 << 40),
    ],
)
def test_a_body_without_end_is_not_read(content_range: str, length: int | None) -> None:
    with serving(lambda handler: endless(handler, content_range, length)) as url:
        tracemalloc.start()
        try:
            with pytest.raises(OSError, match=r"announced \d+ bytes"):
                nd2.ND2File(url)
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()


def test_headers_of_the_user_stay_with_the_server_that_was_named(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", Nd2Spec(loops=[("T", 3)]))
    own = {"X-Api-Key": SECRET}
    with range_server(tmp_path) as other:
        target = other.url("a.nd2").replace("127.0.0.1", "localhost")

        def redirect(handler: Handler) -> None:
            seen.append(handler.headers.get("X-Api-Key"))
            handler.send_response(302)
            handler.send_header("Location", target)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        for options in ({"headers": own}, {"client_kwargs": {"headers": own}}):
            seen: list[str | None] = []
            other.reset()
            with serving(redirect) as url, nd2.ND2File(url, storage_options=options) as file:
                assert file.asarray().any()
            assert set(seen) == {SECRET}
            assert other.seen
            assert not any("X-Api-Key" in request.headers for request in other.seen)


def redirect_to_nowhere(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", f"http://{SECRET}:{SECRET}@[broken{SIGNED}")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.mark.parametrize("status", [403, 404, 500, 503])
@pytest.mark.parametrize("form", ["{}", "zip://a.nd2::{}", "tar://a.nd2::{}", "simplecache::{}"])
def test_no_error_shows_a_secret(status: int, form: str) -> None:
    with serving(lambda handler: handler.send_error(status)) as url:
        signed = form.format(url.replace("//", f"//user:{SECRET}@") + SIGNED)
        for call in (nd2.ND2File, nd2.imread, nd2.is_supported_file):
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the class depends on the status
                call(signed)
            error: BaseException | None = caught.value
            while error is not None:
                assert SECRET not in str(error)
                error = None if error.__suppress_context__ else error.__cause__ or error.__context__


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (403, PermissionError, "access denied to .*: the server answered 403 Forbidden"),
        (404, FileNotFoundError, "there is no such file"),
        (503, nd2.errors.SourceError, "the server answered 503 Service Unavailable"),
    ],
)
@pytest.mark.parametrize("form", ["{}", "zip://a.nd2::{}", "simplecache::{}"])
def test_errors_say_what_the_server_answered(status: int, kind: type[OSError], text: str, form: str) -> None:
    with serving(lambda handler: handler.send_error(status)) as url:
        with pytest.raises(kind, match=text):
            nd2.ND2File(form.format(url))
        if form == "{}":
            with pytest.raises(kind, match=text):
                xarray_nd2.open_references(url)


def test_no_error_of_a_redirect_shows_a_secret() -> None:
    with serving(redirect_to_nowhere) as url, pytest.raises(OSError, match=r"127\.0") as caught:
        nd2.ND2File(url)
    assert SECRET not in str(caught.value)


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(ValueError, match="does not know the protocol 'nosuch'"):
        file_system("nosuch://a.nd2")
