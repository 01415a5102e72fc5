"""A file opened with its index has the same content; the index is small, and refused if it is of another file."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr

import nd2
from tests import legacy_builder
from tests.builder import build
from tests.kinds import KINDS
from tests.samples import each_sample, sample_names
from tests.servers import range_server
from tests.sparse import build_sparse


def facts(file: nd2.ND2File) -> list[Any]:
    return [
        file.version,
        file.sizes,
        file.attributes,
        file.experiment,
        file.metadata,
        file.text_info,
        file.dtype,
        file.loop_indices[-1],
        file.voxel_size(),
    ]


def memory_copy(path: Path) -> str:
    fsspec.filesystem("memory").pipe(f"/index/{path.name}", path.read_bytes())
    return f"memory://index/{path.name}"


@pytest.mark.parametrize("kind", KINDS)
def test_with_an_index_a_file_has_the_same_content(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, **KINDS[kind])
    assert nd2.save_index(path) == f"{path}.index"
    for place in (path, memory_copy(path)):
        with nd2.ND2File(path) as plain, nd2.ND2File(place, index=f"{path}.index") as indexed:
            assert facts(indexed) == facts(plain)
            np.testing.assert_array_equal(indexed.asarray(), spec.array)


@each_sample(sample_names("real"))
def test_with_an_index_a_real_file_has_the_same_content(sample: Path, tmp_path: Path) -> None:
    nd2.save_index(sample, tmp_path / "an.index")
    with nd2.ND2File(sample) as plain, nd2.ND2File(memory_copy(sample), index=tmp_path / "an.index") as indexed:
        assert facts(indexed) == facts(plain)
        assert indexed.events() == plain.events()
        np.testing.assert_array_equal(indexed.asarray(), plain.asarray())


LEGACY: dict[str, dict[str, Any]] = {
    "one frame": {},
    "T P Z": {"loops": [("T", 2), ("P", 3), ("Z", 2)], "channels": 2},
    "color": {"samples": 3, "bits": 8, "loops": [("T", 3)]},
    "no map": {"loops": [("T", 30)], "box_map": False, "height": 100, "width": 100},
    "fewer frames than loops": {"loops": [("T", 4)], "extra": -1},
}


@pytest.mark.parametrize("kind", LEGACY)
def test_with_an_index_a_legacy_file_has_the_same_content_at_one_request(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("imagecodecs")
    path = tmp_path / "a.nd2"
    legacy_builder.build(path, **LEGACY[kind])
    nd2.save_index(path)
    with range_server(tmp_path) as server, nd2.ND2File(path) as plain:
        file = nd2.ND2File(server.url("a.nd2"), index=f"{path}.index")
        assert facts(file) == facts(plain)
        assert file.frame_metadata(0) == plain.frame_metadata(0)
        assert server.requests == 1
        np.testing.assert_array_equal(file.asarray(), plain.asarray())
        assert file.events() == plain.events()
        flat = nd2.imread(path, index=True, flat_frames=True)
        np.testing.assert_array_equal(flat, nd2.imread(path, flat_frames=True))


@pytest.mark.parametrize("index", ["default", "path"])
def test_imread_takes_an_index(tmp_path: Path, index: str) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 60)], height=64, width=64)
    nd2.save_index(path)
    with range_server(tmp_path) as server:
        url = server.url("a.nd2")
        pixels = nd2.imread(url, index=True if index == "default" else f"{path}.index")
        np.testing.assert_array_equal(pixels, spec.array)
        opening = next(seen for seen in server.seen if seen.path == "/a.nd2")
        assert opening.sent == 4096
        lazy = nd2.imread(url, index=f"{path}.index", dask=True)
        np.testing.assert_array_equal(lazy[7].compute(), spec.array[7])
    with pytest.raises(OSError, match="missing"):
        nd2.imread(path, index=tmp_path / "missing.index")


def test_an_index_of_many_frames_is_small_and_needs_one_request(tmp_path: Path) -> None:
    made = build_sparse(tmp_path / "a.nd2", count=50_000, height=8, width=8, marked=(40_000,))
    nd2.save_index(tmp_path / "a.nd2")
    assert (tmp_path / "a.nd2.index").stat().st_size < 64 << 10
    with range_server(tmp_path) as server:
        file = nd2.ND2File(server.url("a.nd2"), index=tmp_path / "a.nd2.index")
        assert file.sizes["T"] == 50_000
        assert file.metadata is not None
        assert server.requests == 1
        np.testing.assert_array_equal(file.read_frame(40_000), made.frame(40_000))
        assert server.requests == 2
        assert server.sent == 4096 + made.frame_bytes


def test_the_engine_takes_an_index(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("P", 2), ("T", 60)], height=32, width=64)
    nd2.save_index(path)
    with range_server(tmp_path) as server:
        url = server.url("a.nd2")
        dataset = xr.open_dataset(url, engine="nd2", index=path.with_suffix(".nd2.index"))
        assert server.requests == 1
        xr.testing.assert_equal(dataset, xr.open_dataset(path, engine="nd2"))
        tree = xr.open_datatree(url, engine="nd2", index=True)
        np.testing.assert_array_equal(tree["P1"]["image"].values, spec.array[1])


def test_an_index_next_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 3)])
    nd2.save_index(path)
    with range_server(tmp_path) as server:
        file = nd2.ND2File(server.url("a.nd2"), index=True)
        np.testing.assert_array_equal(file.asarray(), spec.array)
        assert server.seen[0].path == "/a.nd2.index"
        (tmp_path / "a.nd2.index").unlink()
        with pytest.raises(FileNotFoundError, match=r"a\.nd2\.index"):
            nd2.ND2File(server.url("a.nd2"), index=True)


def test_upath_finds_the_index_in_its_file_system(tmp_path: Path) -> None:
    from upath import UPath

    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 3)])
    remote: Any = UPath(memory_copy(path))
    assert nd2.save_index(remote) == "memory:///index/a.nd2.index"
    np.testing.assert_array_equal(nd2.ND2File(remote, index=True).asarray(), spec.array)


def test_reopened_and_unpickled_files_keep_the_index(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 150)], height=32, width=64)
    nd2.save_index(path)
    with range_server(tmp_path) as server:
        file = nd2.ND2File(server.url("a.nd2"), index=f"{path}.index")
        pickled = pickle.dumps(file)
        file.close()
        server.reset()
        file.open()
        copy = pickle.loads(pickled)
        for opened in (file, copy):
            assert opened.sizes["T"] == 150
            np.testing.assert_array_equal(opened.read_frame(80), spec.array[80])
        assert server.sent == 2 * (4096 + 32 * 64 * 2)


def changed(path: Path, how: str) -> None:
    if how == "other length":
        build(path, loops=[("T", 9)])
    elif how == "other metadata, same length":
        build(path, loops=[("Z", 3)], seed=1)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


@pytest.mark.parametrize("how", ["other length", "other metadata, same length", "touched"])
def test_a_stale_index_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 3)])
    nd2.save_index(path, tmp_path / "local.index")
    with range_server(tmp_path) as server:
        url = server.url("a.nd2")
        nd2.save_index(url, tmp_path / "remote.index")
        changed(path, how)
        # A server tells a touched file from another one by its ETag only.
        local = [] if how == "touched" else [(str(path), "local.index")]
        for place, index in (*local, (url, "remote.index")):
            with pytest.raises(OSError, match=r"the index is stale.*save_index.*a\.nd2"):
                nd2.ND2File(place, index=tmp_path / index)


def test_an_index_of_a_local_file_serves_its_copy_but_no_other_file(tmp_path: Path) -> None:
    path, other = tmp_path / "a.nd2", tmp_path / "b.nd2"
    spec = build(path, loops=[("T", 3)])
    build(other, loops=[("T", 3)], name_field=4096)
    nd2.save_index(path)
    with range_server(tmp_path) as server:
        file = nd2.ND2File(server.url("a.nd2"), index=f"{path}.index")
        np.testing.assert_array_equal(file.asarray(), spec.array)
        with pytest.raises(OSError, match="the index is stale"):
            nd2.ND2File(server.url("b.nd2"), index=f"{path}.index")


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"PK\x03\x04" + bytes(100)])
def test_what_is_not_an_index(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    (tmp_path / "bad.index").write_bytes(content)
    with pytest.raises(ValueError, match=r"not an index.*bad\.index"):
        nd2.ND2File(path, index=tmp_path / "bad.index")


def test_an_index_of_another_kind_of_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    np.savez(tmp_path / "some.npz", header=np.frombuffer(b"{}", np.uint8))
    with pytest.raises(ValueError, match=r"not an index"):
        nd2.ND2File(path, index=tmp_path / "some.npz")


def test_a_failed_writing_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    with pytest.raises(OSError, match="missing"):
        nd2.save_index(path, tmp_path / "missing" / "an.index")
    assert [p.name for p in tmp_path.iterdir()] == ["a.nd2"]


def rewrite(path: Path, **changes: Any) -> None:
    """Change an index: arrays by their name, fields of the header by ``header__field``."""
    with np.load(path) as arrays:
        content = dict(arrays)
    header = json.loads(content["header"].tobytes())
    for name, change in changes.items():
        if name.startswith("header__"):
            *levels, last = name.split("__")[1:]
            inner = header
            for level in levels:
                inner = inner[level]
            inner[last] = change
        else:
            content[name] = change(content[name])
    content["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with path.open("wb") as handle:
        np.savez_compressed(handle, **content)


WRONG: dict[str, dict[str, Any]] = {
    "codec": {"header__codec": "|O"},
    "codec of another kind": {"header__codec": "jpeg2k"},
    "codec as a list": {"header__codec": ["raw"]},
    "no pieces": {"header__pieces": 0},
    "negative pieces": {"header__pieces": -1},
    "more pieces": {"header__pieces": 5},
    "pieces as text": {"header__pieces": "1"},
    "negative size": {"header__file__size": -1},
    "absurd size": {"header__file__size": 1 << 80},
    "size as a float": {"header__file__size": 1.5},
    "header as a list": {"header__format": []},
    "table of objects": {"table": lambda a: a.astype("<f8")},
    "table of bytes": {"table": lambda a: a.astype(np.uint8)},
    "table of one column": {"table": lambda a: a[:1]},
    "table without columns": {"table": lambda a: a.reshape(-1)},
    "offsets beyond all files": {"table": lambda a: a | (1 << 62)},
    "negative offsets": {"table": lambda a: -a - 1},
    "map of another type": {"map": lambda a: a.astype(np.int32)},
    "frame numbers beyond the file": {"map": lambda a: a + (1 << 40)},
    "negative frame numbers": {"map": lambda a: a * 0 - 5},
    "negative spans": {"spans": lambda a: -a},
    "spans beyond the file": {"spans": lambda a: a + (1 << 50)},
    "too few blocks": {"blocks": lambda a: a[:-1]},
    "blocks of another type": {"blocks": lambda a: a.astype(np.int64)},
    "end of another type": {"end": lambda a: a.astype("U1")},
    "chunks at negative places": {"header__map__others": {"a!": [-1, 5]}},
    "chunks at places of text": {"header__map__others": {"a!": ["1", "5"]}},
    "chunks as a list": {"header__map__others": [1, 2]},
    "chunks of other letters": {"header__map__others": {"\u20ac": [1, 2]}},
    "map beyond the file": {"header__map__position": 1 << 50},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_every_field_of_an_index_is_checked(tmp_path: Path, wrong: str) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 5)])
    index = Path(nd2.save_index(tmp_path / "a.nd2"))
    rewrite(index, **WRONG[wrong])
    with pytest.raises((ValueError, OSError), match=r"index.*a\.nd2"):
        nd2.imread(tmp_path / "a.nd2", index=True)


def test_the_pixels_of_an_index_are_those_of_the_file(tmp_path: Path) -> None:
    spec = build(tmp_path / "a.nd2", loops=[("T", 5)], width=3, dtype="u1")
    index = Path(nd2.save_index(tmp_path / "a.nd2"))
    for dtype, row_bytes in (("|O", 8), ("|u1", -(1 << 63)), ("<f4", 1 << 62)):
        layout = {"dtype": dtype, "row_bytes": row_bytes, "height": 1 << 40, "codec": "raw"}
        rewrite(index, header__pixels=layout)
        np.testing.assert_array_equal(nd2.imread(tmp_path / "a.nd2", index=True), spec.array)


@pytest.mark.parametrize("seed", range(8))
def test_a_mutated_index_is_right_or_refused(tmp_path: Path, seed: int) -> None:
    spec = build(tmp_path / "a.nd2", loops=[("T", 5)])
    index = Path(nd2.save_index(tmp_path / "a.nd2"))
    with np.load(index) as arrays:
        content = dict(arrays)
    rng = np.random.default_rng(seed)
    for _ in range(25):
        mutated = {name: array.copy() for name, array in content.items()}
        raw = mutated[str(rng.choice(list(mutated)))].reshape(-1).view(np.uint8)
        if not len(raw):
            continue
        raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
        with index.open("wb") as handle:
            np.savez(handle, **mutated)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                image = nd2.imread(tmp_path / "a.nd2", index=True)
            except (ValueError, OSError, NotImplementedError):
                continue
        assert image.ndim <= spec.array.ndim


def test_an_index_that_inflates_without_end_is_refused(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2")
    index = Path(nd2.save_index(tmp_path / "a.nd2"))
    rewrite(index, table=lambda _: np.zeros((2, 40 << 20), np.int64))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="not an index"):
            nd2.imread(tmp_path / "a.nd2", index=True)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
