"""Faults of servers and networks end in a clear error or in the right pixels, never in wrong ones."""

from __future__ import annotations

import asyncio
import os
import pickle
from typing import TYPE_CHECKING, Any

import aiohttp
import fsspec
import numpy as np
import pytest
import xarray as xr

import nd2
from tests.builder import Nd2Spec, build
from tests.servers import Fault, range_server
from tests.sparse import build_sparse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import RangeServer, Seen

SPEC = Nd2Spec(loops=[("T", 200)], height=32, width=64)
"""Longer than what opening reads, so that frames in the middle are requested."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RangeServer]:
    build(tmp_path / "a.nd2", SPEC)
    with range_server(tmp_path) as running:
        yield running


@pytest.fixture
def url(server: RangeServer) -> str:
    return server.url("a.nd2")


def frames_only(seen: Seen) -> bool:
    return 0 < seen.stop - seen.start <= 64 << 10


MIDDLE = 80
BAD = {
    "503": (Fault(frames_only, status=503), r"503 Service Unavailable"),
    "500": (Fault(frames_only, status=500), r"500 Internal Server Error"),
    "dropped midway": (Fault(frames_only, keep=0.5), r"ClientPayloadError|ClientConnection"),
    "another range": (Fault(frames_only, shift=64), r"asked for bytes \d+ to \d+, the server answered with"),
    "short": (Fault(frames_only, shorten=1), r"asked for bytes \d+ to \d+, the server answered with"),
    "stalled": (Fault(frames_only, stall=1.0), r"Timeout"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_read_that_fails_gives_the_reason_and_the_next_one_is_right(server: RangeServer, url: str, kind: str) -> None:
    fault, message = BAD[kind]
    options = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=0.4)}}
    options = options if kind == "stalled" else {}
    file = nd2.ND2File(url, storage_options=options)
    image = xr.open_dataset(url, engine="nd2", storage_options=options).image[MIDDLE]
    server.fault = fault
    with pytest.raises(OSError, match=rf"(?s){message}.*a\.nd2"):
        file.read_frame(MIDDLE)
    with pytest.raises(OSError, match=message):
        asyncio.run(image.load_async())
    with pytest.raises(OSError, match=message):
        file.to_dask()[MIDDLE].compute(scheduler="threads")
    server.fault = None
    np.testing.assert_array_equal(file.read_frame(MIDDLE), SPEC.array[MIDDLE])
    np.testing.assert_array_equal(image.values, SPEC.array[MIDDLE])


def test_one_failing_range_of_many_fails_the_read(server: RangeServer, url: str) -> None:
    file = nd2.ND2File(url)
    image = xr.open_dataset(url, engine="nd2").image
    server.fault = Fault(frames_only, status=503, times=1)
    with pytest.raises(OSError, match="503"):
        image[40:160:20].load()
    np.testing.assert_array_equal(file.asarray(), SPEC.array)


@pytest.mark.parametrize("kind", ["503", "dropped midway", "404", "403"])
def test_opening_that_fails_gives_the_reason(server: RangeServer, url: str, kind: str) -> None:
    expected: tuple[type[Exception], str] = (OSError, r"503.*a\.nd2")
    if kind == "503":
        server.fault = Fault(status=503)
    elif kind == "dropped midway":
        server.fault = Fault(keep=0.5)
        expected = (OSError, r"ClientPayloadError.*a\.nd2")
    elif kind == "404":
        url, expected = server.url("b.nd2"), (FileNotFoundError, r"no such file.*b\.nd2")
    else:
        server.accept = lambda headers, path: False
        expected = (PermissionError, r"access denied to .*a\.nd2.*403")
    for attempt in (nd2.ND2File, nd2.imread, nd2.is_supported_file, nd2.is_legacy):
        with pytest.raises(expected[0], match=expected[1]):
            attempt(url)
    with pytest.raises(expected[0], match=expected[1]):
        xr.open_dataset(url, engine="nd2")


def test_no_server_at_all() -> None:
    with pytest.raises(OSError, match=r"cannot connect to the server '127\.0\.0\.1:9'.*a\.nd2"):
        nd2.ND2File("http://127.0.0.1:9/a.nd2")


def rewrite(path: Path, **options: Any) -> None:
    """Replace a file by another one, with another modification time."""
    build(path.with_suffix(".new"), **options)
    stat = path.stat()
    os.utime(path.with_suffix(".new"), ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    os.replace(path.with_suffix(".new"), path)


@pytest.mark.parametrize("tagged", [True, False])
def test_a_file_that_changes_between_two_reads_is_refused(
    server: RangeServer, url: str, tmp_path: Path, tagged: bool
) -> None:
    server.tagged = tagged
    file = nd2.ND2File(url)
    image = xr.open_dataset(url, engine="nd2").image
    np.testing.assert_array_equal(file.read_frame(MIDDLE), SPEC.array[MIDDLE])
    pickled = pickle.dumps(image[MIDDLE])
    # without ETags, only a change of length can be seen
    rewrite(tmp_path / "a.nd2", loops=[("T", 200 if tagged else 201)], height=32, width=64, seed=1)
    for read in (
        lambda: file.read_frame(MIDDLE),
        lambda: image[MIDDLE].load(),
        lambda: pickle.loads(pickled).load(),
        lambda: asyncio.run(image[MIDDLE + 1].load_async()),
    ):
        with pytest.raises(OSError, match=r"the file changed.*a\.nd2"):
            read()


def test_a_file_in_memory_that_changes_is_refused(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    build(tmp_path / "a.nd2", SPEC)
    memory.pipe("/faults/a.nd2", (tmp_path / "a.nd2").read_bytes())
    image = xr.open_dataset("memory://faults/a.nd2", engine="nd2").image
    pickled = pickle.dumps(image[MIDDLE])
    np.testing.assert_array_equal(image[MIDDLE].values, SPEC.array[MIDDLE])
    memory.pipe("/faults/a.nd2", (tmp_path / "a.nd2").read_bytes())
    with pytest.raises(OSError, match="the file changed"):
        image[MIDDLE + 1].load()
    with pytest.raises(OSError, match="the file changed"):
        pickle.loads(pickled).load()


def test_small_files_from_a_server_without_ranges(server: RangeServer, url: str) -> None:
    server.ranges = False
    file = nd2.ND2File(url)
    np.testing.assert_array_equal(file.asarray(), SPEC.array)
    copy = pickle.loads(pickle.dumps(file.to_dask()))
    np.testing.assert_array_equal(copy[MIDDLE].compute(scheduler="sync"), SPEC.array[MIDDLE])
    assert nd2.is_supported_file(url)


def test_large_files_from_a_server_without_ranges_say_what_to_do(server: RangeServer, tmp_path: Path) -> None:
    build_sparse(tmp_path / "large.nd2", count=20)
    server.ranges = False
    server.reset()
    with pytest.raises(OSError, match=r"does not serve byte ranges.*simplecache::.*large\.nd2"):
        nd2.ND2File(server.url("large.nd2"))
    assert nd2.is_supported_file(server.url("large.nd2"))


def test_a_server_that_stops_serving_ranges(server: RangeServer, url: str) -> None:
    file = nd2.ND2File(url)
    assert file.sizes
    server.ranges = False
    with pytest.raises(OSError, match=r"does not serve byte ranges"):
        file.read_frame(MIDDLE)


def test_a_server_without_ranges_counted_from_the_end(server: RangeServer, url: str) -> None:
    server.suffixes = False
    np.testing.assert_array_equal(nd2.imread(url), SPEC.array)


def test_an_empty_file_is_not_an_nd2_file(server: RangeServer, tmp_path: Path) -> None:
    (tmp_path / "empty.nd2").touch()
    with pytest.raises(OSError, match=r"empty.*empty\.nd2"):
        nd2.ND2File(server.url("empty.nd2"))


def test_a_file_that_is_not_an_nd2_file(server: RangeServer, tmp_path: Path) -> None:
    (tmp_path / "text.nd2").write_text("no pixels here")
    with pytest.raises(OSError, match=r"not an ND2 file.*text\.nd2"):
        nd2.ND2File(server.url("text.nd2"))
    assert not nd2.is_supported_file(server.url("text.nd2"))


@pytest.fixture
def s3(server: RangeServer) -> dict[str, Any]:
    """Options that make s3fs take the HTTP server for a bucket: objects are what it asks for by GET."""
    pytest.importorskip("s3fs")
    return {
        "key": "k",
        "secret": "s",
        "client_kwargs": {"endpoint_url": server.url("").rstrip("/"), "region_name": "us-east-1"},
        "config_kwargs": {"retries": {"max_attempts": 0}, "s3": {"addressing_style": "path"}},
    }


@pytest.fixture
def s3_url(tmp_path: Path, server: RangeServer) -> str:
    (tmp_path / "bucket").mkdir()
    build(tmp_path / "bucket" / "a.nd2", SPEC)
    return "s3://bucket/a.nd2"


def test_s3_takes_two_requests_to_open_and_one_for_a_frame(
    server: RangeServer, s3: dict[str, Any], s3_url: str
) -> None:
    file = nd2.ND2File(s3_url, storage_options=s3)
    assert file.sizes["T"] == 200
    assert file.metadata is not None
    assert server.requests == 2
    server.reset()
    np.testing.assert_array_equal(file.read_frame(MIDDLE), SPEC.array[MIDDLE])
    assert (server.requests, server.sent) == (1, 32 * 64 * 2)


def test_scattered_frames_are_read_from_s3_many_at_once(
    server: RangeServer, s3: dict[str, Any], s3_url: str, tmp_path: Path
) -> None:
    made = build_sparse(tmp_path / "bucket" / "many.nd2", count=310, height=256, width=256, marked=(4, 151))
    image = xr.open_dataset("s3://bucket/many.nd2", engine="nd2", storage_options=s3).image
    server.reset()
    server.gather = 100
    frames = image[4:302:3].values
    assert (server.requests, server.sent) == (100, 100 * made.frame_bytes)
    assert server.most_in_flight == 100
    for place, index in ((0, 4), (49, 151)):
        np.testing.assert_array_equal(frames[place], made.frame(index))


@pytest.mark.parametrize("fault", [Fault(frames_only, keep=0.5), Fault(frames_only, stall=3.0)])
def test_what_breaks_off_once_is_read_again(server: RangeServer, s3: dict[str, Any], s3_url: str, fault: Fault) -> None:
    s3["config_kwargs"]["read_timeout"] = 1.5
    file = nd2.ND2File(s3_url, storage_options=s3)
    assert file.sizes
    server.reset()
    server.fault = Fault(fault.when, keep=fault.keep, stall=fault.stall, times=1)
    np.testing.assert_array_equal(file.read_frame(MIDDLE), SPEC.array[MIDDLE])
    assert server.requests == 2


@pytest.mark.parametrize(("status", "error"), [(403, PermissionError), (404, FileNotFoundError)])
def test_what_s3_refuses(
    server: RangeServer, s3: dict[str, Any], s3_url: str, status: int, error: type[OSError]
) -> None:
    server.fault = Fault(status=status)
    with pytest.raises(error, match=r"s3://bucket/a\.nd2"):
        nd2.ND2File(s3_url, storage_options=s3)


def test_s3_that_fails_for_good(server: RangeServer, s3: dict[str, Any], s3_url: str) -> None:
    file = nd2.ND2File(s3_url, storage_options=s3)
    assert file.sizes
    server.fault = Fault(frames_only, status=500)
    with pytest.raises(OSError, match=r"could not be read.*s3://bucket/a\.nd2"):
        file.read_frame(MIDDLE)


def test_an_object_that_changes_is_refused(
    server: RangeServer, s3: dict[str, Any], s3_url: str, tmp_path: Path
) -> None:
    file = nd2.ND2File(s3_url, storage_options=s3)
    assert file.sizes
    rewrite(tmp_path / "bucket" / "a.nd2", loops=[("T", 200)], height=32, width=64, seed=1)
    with pytest.raises(OSError, match=r"the file changed.*s3://bucket/a\.nd2"):
        file.read_frame(MIDDLE)
