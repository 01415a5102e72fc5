"""Many files in one process: open files are bounded, and files that change are noticed."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.base
import numpy as np
import pytest
import xarray as xr

import nd2
from tests.builder import build

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITED = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import dask.array as da
import numpy as np
import xarray as xr
import nd2
paths = sorted(Path(sys.argv[1]).glob("*.nd2"))
numbers = np.arange(len(paths))

def datasets():
    opened = [xr.open_dataset(path, engine="nd2") for path in paths]
    return [int(one.image[1, 2, 3]) - first for one in opened]

def mfdataset():
    with xr.open_mfdataset(paths, engine="nd2", combine="nested", concat_dim="file") as data:
        return data.image[:, 1, 2, 3].compute().values - first

def stacked():
    stack = da.stack([nd2.imread(path, dask=True) for path in paths])
    return stack[:, 1, 2, 3].compute() - first

first = nd2.imread(paths[0])[1, 2, 3]
assert (np.array(locals()[sys.argv[2]]()) == numbers).all()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 files; one pixel of each is larger by one than that of the file before."""
    folder = tmp_path_factory.mktemp("files")
    build(folder / "00.nd2", loops=[("T", 2)])
    with nd2.ND2File(folder / "00.nd2") as file:
        offset, _ = file._reader.frames.table.location(1)
        value = file.asarray()[1, 2, 3]
        place = offset + 2 * file._reader.frames.pixels.row_bytes + 3 * value.itemsize
    for number in range(1, 80):
        path = folder / f"{number:02}.nd2"
        shutil.copyfile(folder / "00.nd2", path)
        with path.open("r+b") as handle:
            handle.seek(place)
            handle.write((value + number).astype("<u2").tobytes())
    return folder


@pytest.mark.parametrize("how", ["datasets", "mfdataset", "stacked"])
def test_more_files_than_the_process_may_open(folder: Path, how: str) -> None:
    command = [sys.executable, "-c", LIMITED, str(folder), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_left_of_many_files() -> None:
    script = Path(__file__).parents[1] / "load.py"
    command = [sys.executable, str(script), "120", "64", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    usage = json.loads(done.stdout)
    assert {one["descriptors"] for one in usage.values()} == {usage["files, all"]["descriptors"]}
    assert {one["threads"] for one in usage.values()} == {1}


def rewrite(path: Path, **options: Any) -> None:
    """Write another file in place, as a copy over it does, at a later time."""
    stat = path.stat()
    with io.BytesIO() as other:
        build(path.with_suffix(".new"), **options)
        other.write(path.with_suffix(".new").read_bytes())
        with path.open("r+b") as handle:
            handle.write(other.getvalue())
            handle.truncate()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


def test_a_file_that_is_overwritten_while_it_is_open_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 4)])
    file, dataset = nd2.ND2File(path), xr.open_dataset(path, engine="nd2")
    lazy = file.to_dask()
    assert file.read_frame(0).shape == dataset.image[0].values.shape
    np.asarray(lazy[:2])
    rewrite(path, loops=[("T", 4)], seed=1)
    reads: list[Callable[[], Any]] = [
        lambda: file.read_frame(1),
        file.asarray,
        lambda: dataset.image[1].values,
        lambda: np.asarray(lazy[2:]),
        lambda: np.asarray(file.to_dask()),
    ]
    for read in reads:
        with pytest.raises(OSError, match=r"changed since it was opened; open it again.*a\.nd2"):
            read()
    file.close()
    dataset.close()
    with nd2.ND2File(path) as again:
        assert again.asarray().shape == (4, 6, 8)


def test_a_file_that_was_touched_or_copied_keeps_its_index(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.nd2", tmp_path / "b.nd2"
    spec = build(path, loops=[("T", 3)])
    nd2.save_index(path)
    shutil.copyfile(path, copy)
    shutil.copyfile(f"{path}.index", f"{copy}.index")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 5_000_000_000))
    for one in (path, copy):
        with nd2.ND2File(one, index=True) as file:
            np.testing.assert_array_equal(file.asarray(), spec.array)


def test_arrays_of_one_file_opened_in_two_ways_are_two_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 3)])
    data = bytearray(path.read_bytes())
    with nd2.ND2File(path) as file:
        offset, _ = file._reader.frames.table.location(1)
    # The header of a frame is damaged: validation does not find the frame, and gives zeros.
    start = data.rfind(b"ImageDataSeq|1!", 0, offset) - 16
    data[start : start + 4] = b"gone"
    path.write_bytes(data)
    validated = nd2.ND2File(path, validate_frames=True)
    with pytest.warns(UserWarning, match="1 of 3 frames .* not found"):
        validated.asarray()
    with nd2.ND2File(path) as plain, validated:
        one, two = plain.to_dask(), validated.to_dask()
        assert one.name != two.name
        first, second = dask.base.compute(one + 0, two + 0)  # type: ignore[no-untyped-call]
        np.testing.assert_array_equal(first, plain.asarray())
        np.testing.assert_array_equal(second, validated.asarray())
        assert first[1].any()
        assert not second[1].any()


def test_dask_arrays_of_buffers_have_their_own_names(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 2)])
    content = (tmp_path / "a.nd2").read_bytes()
    names = set()
    for _ in range(20):
        with nd2.ND2File(io.BytesIO(content)) as file:
            name = file.to_dask().name
            assert name == file.to_dask().name
            names.add(name)
    assert len(names) == 20
