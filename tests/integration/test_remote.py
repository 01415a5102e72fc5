"""Remote files cost few requests, exact ranges, many at once: counted by the server, on a file of 2 GB."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import os
import pickle
import tracemalloc
from typing import TYPE_CHECKING, Any

import fsspec
import fsspec.config
import numpy as np
import pytest
import xarray as xr
from fsspec.implementations.http import HTTPFileSystem

import nd2
from nd2._core.io import open_source
from tests.builder import build
from tests.servers import range_server
from tests.sparse import Sparse, build_sparse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import RangeServer

MARKED = tuple(range(0, 1000, 7))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def big(folder: Path) -> Sparse:
    """1000 frames of 2 MB; metadata as long as that of real files."""
    return build_sparse(folder / "big.nd2", marked=MARKED, picture_bytes=100_000)


@pytest.fixture
def server(folder: Path) -> Iterator[RangeServer]:
    with range_server(folder) as running:
        yield running


@pytest.fixture
def url(server: RangeServer, big: Sparse) -> str:
    return server.url("big.nd2")


def opened(url: Any, **options: Any) -> nd2.ND2File:
    """Open a file and ask for what everybody asks for."""
    file = nd2.ND2File(url, **options)
    assert file.sizes == {"T": 1000, "Y": 1024, "X": 1024}
    assert len(file.experiment) == 1
    assert not isinstance(file.metadata, dict)
    assert file.text_info
    return file


def test_opening_takes_two_requests(server: RangeServer, url: str) -> None:
    opened(url)
    assert server.requests == 2
    assert server.sent <= 512 << 10
    assert [seen.method for seen in server.seen] == ["GET", "GET"]


def test_a_frame_is_one_request_for_exactly_its_bytes(server: RangeServer, url: str, big: Sparse) -> None:
    file = opened(url)
    server.reset()
    np.testing.assert_array_equal(file.read_frame(700), big.frame(700))
    assert (server.requests, server.sent) == (1, big.frame_bytes)
    server.reset()
    np.testing.assert_array_equal(file.read_frame(999), big.frame(999))
    assert (server.requests, server.sent) == (1, big.frame_bytes)


def test_a_crop_is_one_request_for_its_rows(server: RangeServer, url: str, big: Sparse) -> None:
    dataset = xr.open_dataset(url, engine="nd2")
    server.reset()
    crop = dataset.image.isel(T=700, Y=slice(505, 521), X=slice(100, 116)).values
    np.testing.assert_array_equal(crop, big.frame(700)[505:521, 100:116])
    assert crop.any()
    assert (server.requests, server.sent) == (1, 16 * 1024 * 2)


def test_neighbouring_frames_are_few_requests(server: RangeServer, url: str, big: Sparse) -> None:
    dataset = xr.open_dataset(url, engine="nd2")
    server.reset()
    frames = dataset.image[300:400].values
    assert server.requests <= 10
    assert server.sent <= 1.05 * 100 * big.frame_bytes
    for index in (301, 308, 399):
        np.testing.assert_array_equal(frames[index - 300], big.frame(index))


@pytest.mark.parametrize("kind", [{"zlib": True}, {"channels": 2}])
def test_neighbouring_frames_merge_whatever_their_kind(server: RangeServer, folder: Path, kind: dict[str, Any]) -> None:
    spec = build(folder / "kind.nd2", loops=[("T", 200)], height=64, width=64, **kind)
    dataset = xr.open_dataset(server.url("kind.nd2"), engine="nd2")
    server.reset()
    np.testing.assert_array_equal(dataset.image[60:120].values, spec.array[60:120])
    assert server.requests == 1


def test_pixels_stream_into_the_result(url: str, big: Sparse) -> None:
    dataset = xr.open_dataset(url, engine="nd2")
    dataset.image[7].load()
    tracemalloc.start()
    dataset.image[300:320].load()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.4 * 20 * big.frame_bytes


def test_scattered_frames_are_exact_requests_many_at_once(server: RangeServer, url: str, big: Sparse) -> None:
    dataset = xr.open_dataset(url, engine="nd2")
    server.reset()
    server.gather = 32  # 64 MB
    frames = dataset.image[5:705:7].values
    assert (server.requests, server.sent) == (100, 100 * big.frame_bytes)
    assert server.most_in_flight == 32
    assert not frames.any()
    np.testing.assert_array_equal(dataset.image[7].values, big.frame(7))


def test_requests_at_once_are_bounded_by_the_settings_of_fsspec(
    server: RangeServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = xr.open_dataset(url, engine="nd2")
    monkeypatch.setitem(fsspec.config.conf, "nofiles_gather_batch_size", 3)
    server.reset()
    server.gather = 3
    dataset.image[5:705:35, :16].load()
    assert (server.requests, server.most_in_flight) == (20, 3)


def test_imread_opens_once(server: RangeServer, url: str, big: Sparse) -> None:
    array = nd2.imread(url, xarray=True, dask=True)
    np.testing.assert_array_equal(array[14].values, big.frame(14))
    assert server.requests <= 4


def test_opening_with_an_index_is_one_request(server: RangeServer, url: str, big: Sparse, tmp_path: Path) -> None:
    index = tmp_path / "an.index"
    nd2.save_index(url, index)
    server.reset()
    file = opened(url, index=index)
    assert server.requests == 1
    assert server.sent <= 4096
    server.reset()
    np.testing.assert_array_equal(file.read_frame(700), big.frame(700))
    assert (server.requests, server.sent) == (1, big.frame_bytes)


def test_recognizing_a_file_is_one_small_request(server: RangeServer, url: str) -> None:
    assert nd2.is_supported_file(url)
    assert not nd2.is_legacy(url)
    assert nd2.ND2File.is_supported_file(url, storage_options={"headers": {"X-Test": "1"}})
    assert server.requests == 3
    assert server.sent == 12
    assert server.seen[-1].headers["X-Test"] == "1"


def test_a_large_chunk_map_is_one_more_request(server: RangeServer, folder: Path) -> None:
    build_sparse(folder / "many.nd2", count=40_000, height=8, width=8)
    file = nd2.ND2File(server.url("many.nd2"))
    assert file.sizes["T"] == 40_000
    assert file.metadata is not None
    assert file.read_frame(39_999).shape == (8, 8)
    # the two ends, the map, two metadata chunks before it, the frame
    assert server.requests <= 6
    sought = [(seen.start, seen.stop) for seen in server.seen]
    assert len(set(sought)) == len(sought)


def test_small_files_are_read_once(server: RangeServer, folder: Path) -> None:
    spec = build(folder / "small.nd2", loops=[("T", 5)], channels=2)
    file = nd2.ND2File(server.url("small.nd2"))
    np.testing.assert_array_equal(file.asarray(), spec.array)
    assert server.requests == 2


def test_a_huge_frame_is_read_by_several_requests_at_once(server: RangeServer, folder: Path) -> None:
    made = build_sparse(folder / "huge.nd2", count=2, height=4096, width=8192, marked=(0, 1))
    file = nd2.ND2File(server.url("huge.nd2"))
    assert file.sizes["Y"] == 4096
    server.reset()
    server.gather = 4
    np.testing.assert_array_equal(file.read_frame(1), made.frame(1))
    assert server.sent == made.frame_bytes
    assert 4 <= server.requests <= 16
    assert server.most_in_flight >= 4


def test_the_gap_up_to_which_frames_merge_is_the_users(
    server: RangeServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build_sparse(folder / "gaps.nd2", count=1000, height=32, width=32)
    monkeypatch.setitem(fsspec.config.conf, "nd2", {"max_gap": 0})
    exact = xr.open_dataset(server.url("gaps.nd2"), engine="nd2")
    server.reset()
    exact.image[100:140].load()
    assert (server.requests, server.sent) == (40, 40 * made.frame_bytes)
    monkeypatch.setitem(fsspec.config.conf, "nd2", {"max_gap": 8192})
    merged = xr.open_dataset(server.url("gaps.nd2"), engine="nd2")
    server.reset()
    merged.image[100:140].load()
    assert server.requests == 1


@pytest.mark.parametrize("spec", [{"zlib": True}, {"channels": 3}, {"row_bytes": 40}])
def test_pixels_are_those_of_the_local_file(server: RangeServer, folder: Path, spec: dict[str, Any]) -> None:
    # longer than both ends, so that frames are requested
    path = folder / "pixels.nd2"
    made = build(path, loops=[("T", 150)], missing=frozenset({7}), **spec)
    url = server.url("pixels.nd2")
    np.testing.assert_array_equal(nd2.imread(url), made.array)
    dataset = xr.open_dataset(url, engine="nd2")
    picks = [140, 7, 3, 3, 80]
    local = xr.open_dataset(path, engine="nd2").image[picks, ..., 1:4, ::2].values
    np.testing.assert_array_equal(dataset.image[picks, ..., 1:4, ::2].values, local)
    loaded = asyncio.run(dataset.image[picks, ..., 1:4, ::2].load_async())
    np.testing.assert_array_equal(loaded.values, local)


def test_all_small_frames_are_requested_at_once(server: RangeServer, folder: Path) -> None:
    build_sparse(folder / "scattered.nd2", count=1000, height=256, width=256)
    dataset = xr.open_dataset(server.url("scattered.nd2"), engine="nd2")
    server.reset()
    server.gather = 100
    dataset.image[5::10].load()
    assert (server.requests, server.most_in_flight) == (100, 100)


def test_load_async_overlaps_requests(server: RangeServer, url: str, big: Sparse) -> None:
    image = xr.open_dataset(url, engine="nd2").image
    dataset = xr.Dataset({f"t{i}": image.isel(T=7 * i, drop=True) for i in range(16)})
    server.reset()
    server.gather = 17  # one more than there are: only this event loop lets them be answered

    async def load() -> None:
        task = asyncio.ensure_future(dataset.load_async())
        while server.in_flight < 16:
            assert not task.done()
            await asyncio.sleep(0.005)
        server.release()
        await task

    asyncio.run(load())
    assert (server.requests, server.most_in_flight) == (16, 16)
    for i in range(16):
        np.testing.assert_array_equal(dataset[f"t{i}"].values, big.frame(7 * i))


def test_load_async_of_a_local_file(folder: Path, big: Sparse) -> None:
    image = xr.open_dataset(folder / "big.nd2", engine="nd2").image
    loaded = asyncio.run(image[[700, 7]].load_async())
    np.testing.assert_array_equal(loaded.values, [big.frame(700), big.frame(7)])


def test_an_asynchronous_file_system_serves_synchronous_reads(url: str, big: Sparse) -> None:
    fs = fsspec.filesystem("http", asynchronous=True, skip_instance_cache=True)
    with nd2.ND2File(fsspec.core.OpenFile(fs, url)) as file:
        np.testing.assert_array_equal(file.read_frame(700), big.frame(700))


class Elsewhere(HTTPFileSystem):  # type: ignore[misc]
    """A file system that this package does not know: it has coroutines, its responses tell nothing."""


def test_other_file_systems_take_one_more_request(server: RangeServer, url: str, big: Sparse, folder: Path) -> None:
    file = opened(fsspec.core.OpenFile(Elsewhere(), url))
    assert server.requests == 3
    assert server.sent <= 512 << 10
    server.reset()
    np.testing.assert_array_equal(file.read_frame(700), big.frame(700))
    assert (server.requests, server.sent) == (1, big.frame_bytes)


def test_other_file_systems_are_asked_once_in_each_process_whether_the_file_changed(
    server: RangeServer, folder: Path
) -> None:
    spec = build(folder / "other.nd2", loops=[("T", 150)], height=32, width=64)
    source = open_source(fsspec.core.OpenFile(Elsewhere(), server.url("other.nd2")))
    assert source.size
    sent = copy.copy(source)  # what pickling does
    server.reset()
    sent.read_into([(300_000, memoryview(bytearray(100)))])
    sent.read_into([(300_100, memoryview(bytearray(100)))])
    assert [seen.method for seen in server.seen] == ["HEAD", "GET", "GET"]
    late = copy.copy(source)
    build(folder / "other.nd2", spec, seed=1)
    os.utime(folder / "other.nd2", ns=(1, 1))
    with pytest.raises(OSError, match="the file changed"):
        late.read_into([(300_000, memoryview(bytearray(100)))])


@pytest.fixture
def small(folder: Path) -> Any:
    return build(folder / "small.nd2", loops=[("T", 5)], channels=2)


def test_chained_urls(server: RangeServer, folder: Path, small: Any, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(folder / "packed.zip", "w") as archive:
        archive.write(folder / "small.nd2", "inner/small.nd2")
    cache = {"simplecache": {"cache_storage": str(tmp_path / "cache")}}
    for chained, options in (
        (f"simplecache::{server.url('small.nd2')}", cache),
        (f"zip://inner/small.nd2::{server.url('packed.zip')}", None),
        (f"blockcache::{server.url('small.nd2')}", {"blockcache": {"cache_storage": str(tmp_path / "blocks")}}),
    ):
        dataset = xr.open_dataset(chained, engine="nd2", storage_options=options)
        np.testing.assert_array_equal(dataset.image.values, small.array)
        sent = pickle.loads(pickle.dumps(dataset.image))
        np.testing.assert_array_equal(sent[2].values, small.array[2])
        assert nd2.is_supported_file(chained, storage_options=options)


def test_upath(server: RangeServer, folder: Path, small: Any) -> None:
    from upath import UPath

    paths: list[Any] = [
        UPath(server.url("small.nd2")),
        UPath(server.url("small.nd2"), headers={"X-Test": "1"}),
        UPath(folder / "small.nd2"),
        UPath((folder / "small.nd2").as_uri()),
    ]
    for path in paths:
        with nd2.ND2File(path) as file:
            np.testing.assert_array_equal(file.asarray(), small.array)
        assert nd2.is_supported_file(path)
        dataset = xr.open_dataset(path, engine="nd2")
        np.testing.assert_array_equal(dataset.image.values, small.array)


def test_open_files_of_fsspec_are_read_through_their_file_system(server: RangeServer, folder: Path, small: Any) -> None:
    with contextlib.ExitStack() as stack:
        made = [
            fsspec.open(server.url("small.nd2")),
            stack.enter_context(fsspec.open(server.url("small.nd2"))),
            stack.enter_context(fsspec.open(str(folder / "small.nd2"))),
            stack.enter_context(fsspec.filesystem("file").open(str(folder / "small.nd2"), "rb")),
        ]
        copies = []
        for file in made:
            with nd2.ND2File(file) as opened_file:
                copies.append(pickle.dumps(opened_file.to_dask()))
                np.testing.assert_array_equal(opened_file.asarray(), small.array)
    for pickled in copies:
        np.testing.assert_array_equal(pickle.loads(pickled).compute(), small.array)


def test_open_files_that_cannot_be_read_at_random_say_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gzip.*decompress it first"):
        nd2.ND2File(fsspec.open(str(tmp_path / "a.nd2.gz"), compression="gzip"))
    with pytest.raises(TypeError, match="binary mode"):
        nd2.ND2File(fsspec.open("memory://a.nd2", "rt"))


def test_local_paths_do_not_go_through_fsspec(folder: Path, small: Any) -> None:
    path = folder / "small.nd2"
    for spelling in (path, str(path), path.as_uri(), f"local://{path}"):
        with nd2.ND2File(spelling) as file:
            assert file.path == str(path)


SECRET = "s3cr3t-5ignatur3"


def test_what_is_secret_stays_secret(
    server: RangeServer, folder: Path, small: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "nd2")
    signed = server.url("small.nd2") + f"?X-Amz-Signature={SECRET}"
    options = {"headers": {"Authorization": f"Bearer {SECRET}"}}
    server.accept = lambda headers, path: SECRET in path or SECRET in headers.get("Authorization", "")
    for place, given in ((signed, None), (server.url("small.nd2"), options)):
        with nd2.ND2File(place, storage_options=given) as file:
            np.testing.assert_array_equal(file.asarray(), small.array)
            shown = [repr(file), file.path, repr(vars(file)), file.to_dask().name]
        dataset = xr.open_dataset(place, engine="nd2", storage_options=given, chunks={})
        np.testing.assert_array_equal(dataset.image.values, small.array)
        shown += [repr(dataset), repr(dataset.attrs), repr(dataset.image.encoding)]
        shown += [repr(dataset.image.data.dask), repr(dataset.image.__dask_tokenize__())]
        missing = place.replace("small", "missing")
        with pytest.raises(FileNotFoundError) as caught:
            nd2.ND2File(missing, storage_options=given)
        shown.append(repr(caught.value))
        assert SECRET not in " ".join(shown)
    assert SECRET not in caplog.text


def test_pickles_hold_only_the_credentials_that_the_user_gave(server: RangeServer, small: Any) -> None:
    given = {"headers": {"Authorization": f"Bearer {SECRET}"}}
    plain = nd2.ND2File(server.url("small.nd2"))
    assert SECRET.encode() not in pickle.dumps(plain.to_dask())
    file = nd2.ND2File(server.url("small.nd2"), storage_options=given)
    server.accept = lambda headers, path: SECRET in headers.get("Authorization", "")
    sent = pickle.loads(pickle.dumps(file.to_dask()))
    np.testing.assert_array_equal(sent.compute(scheduler="sync"), small.array)


def test_requests_and_bytes_are_logged_at_debug_level(
    server: RangeServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "nd2")
    file = opened(url)
    file.read_frame(3)
    messages = [record.getMessage() for record in caplog.records if record.name == "nd2"]
    assert len(messages) == server.requests
    assert f"read {1024 * 1024 * 2} bytes at" in messages[-1]
    assert url in messages[-1]


def test_arrays_pickle_small(url: str) -> None:
    file = opened(url)
    for array in (file.to_dask(), xr.open_dataset(url, engine="nd2", chunks={}).image):
        assert len(pickle.dumps(array)) < (64 << 10) + 16 * 1000


def test_blocks_of_a_remote_file_hold_several_frames(server: RangeServer, url: str) -> None:
    assert xr.open_dataset(url, engine="nd2", chunks={"T": 5}).image.chunks[0][:2] == (5, 5)
    dataset = xr.open_dataset(url, engine="nd2", chunks={})
    assert dataset.image.chunks[0][:2] == (16, 16)
    server.reset()
    server.gather = 8
    dataset.image[:64].load()
    assert server.requests <= 64
    assert server.most_in_flight >= 8


def test_one_frame_of_a_block_is_one_exact_request(server: RangeServer, url: str, big: Sparse) -> None:
    dataset = xr.open_dataset(url, engine="nd2", chunks={})
    server.reset()
    np.testing.assert_array_equal(dataset.image[77].values, big.frame(77))
    assert (server.requests, server.sent) == (1, big.frame_bytes)
    server.reset()
    np.testing.assert_array_equal(dataset.image[77, 3:5].values, big.frame(77)[3:5])
    assert (server.requests, server.sent) == (1, 2 * 1024 * 2)


def test_blocks_of_small_remote_frames_take_few_requests(server: RangeServer, folder: Path) -> None:
    made = build(folder / "frames.nd2", loops=[("T", 50), ("Z", 4)], height=8, width=8)
    dataset = xr.open_dataset(server.url("frames.nd2"), engine="nd2", chunks={})
    assert dataset.image.chunks[:2] == ((32, 18), (4,))
    server.reset()
    np.testing.assert_array_equal(dataset.image.values, made.array)
    assert server.requests <= 8
