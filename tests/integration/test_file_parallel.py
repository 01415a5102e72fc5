"""One file read from many threads and processes at once, with no more memory than the result takes."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import nd2
from nd2._core.format.inflate import inflate
from tests.builder import Nd2Spec, build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["raw", "padded", "zlib"])
def many(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Nd2Spec]:
    spec = Nd2Spec(
        loops=(("T", 20), ("Z", 5)),
        channels=1 if request.param == "raw" else 3,
        height=40,
        width=31,
        zlib=request.param == "zlib",
        missing=frozenset({7}),
    )
    build(tmp_path / "a.nd2", spec)
    return tmp_path / "a.nd2", spec


def read_at_random(file: nd2.ND2File, expected: Any, seed: int, count: int) -> int:
    """Read frames, slices and crops in random order; return how many were right."""
    rng = np.random.default_rng(seed)
    right = 0
    for index in rng.integers(0, len(expected), count).tolist():
        right += np.array_equal(file.read_frame(index), expected[index].squeeze())
    return right


def test_eight_threads_and_a_thousand_frames_each(many: tuple[Path, Nd2Spec]) -> None:
    path, spec = many
    frames = spec.frames
    with nd2.ND2File(path) as file, ThreadPoolExecutor(8) as pool:
        counts = pool.map(lambda seed: read_at_random(file, frames, seed, 1000), range(8))
        assert list(counts) == [1000] * 8


def test_threads_that_read_everything_and_parts_at_once(many: tuple[Path, Nd2Spec]) -> None:
    path, spec = many
    with nd2.ND2File(path) as file, ThreadPoolExecutor(8) as pool:
        array = file._array

        def work(seed: int) -> bool:
            if seed % 4 == 0:
                return np.array_equal(file.asarray(), spec.array)
            rows = slice(seed, seed + 9)
            return np.array_equal(array[:, seed % 5, ..., rows, :], spec.array[:, seed % 5, ..., rows, :])

        assert all(pool.map(work, range(40)))


def _fork_and_read(file: nd2.ND2File, expected: Any, seed: int, queue: Any) -> None:
    queue.put(read_at_random(file, expected, seed, 300) + np.array_equal(file.asarray()[1], expected[5:10].squeeze()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_four_forked_processes_share_an_open_file(many: tuple[Path, Nd2Spec]) -> None:
    path, spec = many
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with nd2.ND2File(path) as file:
        file.asarray()  # the pool has threads, the cache has frames before the fork
        file._array[:, :, ..., :3, :]
        frames = spec.frames
        processes = [context.Process(target=_fork_and_read, args=(file, frames, seed, queue)) for seed in range(4)]
        for process in processes:
            process.start()
        counts = [queue.get(timeout=60) for _ in processes]
        for process in processes:
            process.join(60)
        assert counts == [301] * 4
        assert read_at_random(file, frames, 9, 300) == 300


PEAK = """
import resource, sys, numpy as np, nd2
path, how = sys.argv[1:]
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
with nd2.ND2File(path) as file:
    file.read_frame(0)
    lazy = file.to_dask()
    lazy[:2, :5, :5].compute()
    before = peak()
    array = file.asarray() if how == "asarray" else lazy.compute()
    print((peak() - before) / array.nbytes)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
@pytest.mark.parametrize(
    "options", [{}, {"channels": 3}, {"zlib": True}, {"row_bytes": 1040}], ids=["raw", "channels", "zlib", "padded"]
)
def test_an_array_takes_no_more_memory_than_it_has(tmp_path: Path, options: dict[str, Any]) -> None:
    count = 150 // options.get("channels", 1)
    build(tmp_path / "a.nd2", loops=[("T", count)], height=400, width=510, **options)
    for how in ("asarray", "dask"):
        command = [sys.executable, "-c", PEAK, str(tmp_path / "a.nd2"), how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        # On top of the array: blocks of a few megabytes that are rearranged or inflated.
        assert float(done.stdout) < 1.2


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note every inflated frame."""
    inflated: list[int] = []

    def noted(data: Any, nbytes: int) -> Any:
        inflated.append(nbytes)
        return inflate(data, nbytes)

    monkeypatch.setattr("nd2._core.frames.read.inflate", noted)
    return inflated


def test_parts_of_a_compressed_frame_inflate_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Nd2Spec(loops=(("T", 4),), channels=3, height=30, width=20, zlib=True)
    build(tmp_path / "a.nd2", spec)
    inflated = counted(monkeypatch)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        lazy = file.to_dask(chunks=(1, 1, 10, -1))
        parts = [lazy[2, c, y : y + 10] for c in range(3) for y in (0, 10, 20)]
        for part, expected in zip(parts, spec.array[2].reshape(9, 10, 20), strict=True):
            np.testing.assert_array_equal(part.compute(), expected)
        assert len(inflated) == 1
        np.testing.assert_array_equal((lazy + 1).compute(), spec.array + 1)
        assert len(inflated) == 4  # 36 blocks, in threads


def test_whole_frames_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "a.nd2", Nd2Spec(loops=(("T", 4),), zlib=True))
    inflated = counted(monkeypatch)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        file.asarray()
        file.read_frame(1)
        assert not file._reader.frames.cache._frames
    assert len(inflated) == 5


def test_many_threads_read_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 40)], channels=2, height=30, width=31)
    wrong: list[int] = []
    frames = spec.frames
    with nd2.ND2File(path) as file:

        def work(seed: int) -> None:
            indices = np.random.default_rng(seed).integers(0, 40, 200).tolist()
            wrong.extend(i for i in indices if not np.array_equal(file.read_frame(i), frames[i].squeeze()))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.nd2"
