"""OME-Zarr written by the workers of a cluster: the same bytes, also when a worker is killed."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import nd2
import xarray_nd2.accessor  # noqa: F401  # arrays that no engine opened
from nd2._core.cli import main
from tests import rich_file
from tests.builder import Nd2Spec, build
from tests.clusters import local_cluster
from tests.servers import s3_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of two processes, one of which may be killed."""
    with local_cluster(silence_logs=50) as client:
        yield client


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("backend", ["zarr", "tensorstore"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"levels": 3, "chunk_shape": (2, 1, 2, 4, 4), "shard_shape": (2, 2, 2, 8, 8)},
        {"position": 1},
        {"force_series": True, "include_labels": False, "include_all_metadata": False},
    ],
)
def test_the_same_bytes(backend: Any, options: Any, client: Any, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    path = rich_file.write(tmp_path / "a.nd2")
    with nd2.ND2File(path) as file:
        file.write_ome_zarr(tmp_path / "serial.zarr", backend=backend, **options)
        dest = file.write_ome_zarr(tmp_path / "b.zarr", backend=backend, client=client, **options)
    assert dest == tmp_path / "b.zarr"
    assert contents(tmp_path / "b.zarr") == contents(tmp_path / "serial.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nd2", "b.zarr", "serial.zarr"]


def test_options_of_the_file_reach_the_workers(client: Any, tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 4), ("Z", 2)], missing=frozenset({3}))
    with nd2.ND2File(tmp_path / "a.nd2", flat_frames=True) as file:
        file.write_ome_zarr(tmp_path / "serial.zarr")
        file.write_ome_zarr(tmp_path / "b.zarr", client=client)
    assert contents(tmp_path / "b.zarr") == contents(tmp_path / "serial.zarr")


def test_a_file_in_a_bucket_to_a_bucket(client: Any, tmp_path: Path) -> None:
    spec = Nd2Spec(loops=[("T", 9)], height=64, width=64, zlib=True)
    with s3_bucket({"a": spec}, tmp_path) as options:
        import s3fs

        with nd2.ND2File("s3://images/a.nd2", storage_options=options) as file:
            for name, extra in (("serial", {}), ("b", {"client": client})):
                file.write_ome_zarr(
                    f"s3://images/{name}.zarr", storage_options=options, chunk_shape=(2, 64, 64), levels=2, **extra
                )
        endpoint = options["client_kwargs"]["endpoint_url"]
        items = [f"client_kwargs.endpoint_url={endpoint}", "key=test-key", "secret=test-secret"]
        command = ["zarr", "s3://images/*.nd2", "--out-dir", "s3://images/out", "--levels", "2"]
        command += ["--chunks", "2,64,64", "--dask", client.scheduler.address]
        for item in items:
            command += ["--storage-option", item, "--dest-option", item]
        assert main(command) == 0
        fs = s3fs.S3FileSystem(**options)
        found = [
            {key.partition("/")[2].partition("/")[2]: fs.cat(key) for key in fs.find(f"images/{n}.zarr")}
            for n in ("serial", "b", "out/a.ome")
        ]
    assert found[0] == found[1]
    assert {key.removeprefix("a.ome.zarr/"): data for key, data in found[2].items()} == found[0]
    assert len(found[0]) == 3 + 2 * 5


@pytest.mark.filterwarnings("ignore::UserWarning:distributed")
@pytest.mark.parametrize("backend", ["zarr", "tensorstore"])
def test_a_worker_that_is_killed_in_the_middle(backend: Any, client: Any, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    build(tmp_path / "a.nd2", loops=[("T", 96)], height=512, width=512)

    def kill_at_third_block() -> int:
        from nd2._core.export import ome_zarr

        write, blocks = ome_zarr._Export.write, itertools.count()

        def counted(*arguments: Any) -> None:
            if next(blocks) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            write(*arguments)

        ome_zarr._Export.write = counted  # type: ignore[assignment, method-assign]
        return os.getpid()

    options: dict[str, Any] = {"backend": backend, "chunk_shape": (1, 256, 256), "levels": 2}
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        file.write_ome_zarr(tmp_path / "serial.zarr", **options)
        worker = min(client.scheduler_info()["workers"])
        killed = client.run(kill_at_third_block, workers=[worker])[worker]
        file.write_ome_zarr(tmp_path / "b.zarr", client=client, **options)
    assert contents(tmp_path / "b.zarr") == contents(tmp_path / "serial.zarr")
    client.wait_for_workers(2, timeout=60)
    assert killed not in client.run(os.getpid).values(), "it was not killed"


def test_an_error_on_a_worker_leaves_nothing(client: Any, tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 40)], height=64, width=64, zlib=True)
    data = bytearray((tmp_path / "a.nd2").read_bytes())
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        offset = int(file._reader.frames.table.offsets[31])
    data[offset + 8 : offset + 40] = bytes(32)
    (tmp_path / "a.nd2").write_bytes(data)
    with nd2.ND2File(tmp_path / "a.nd2") as file, pytest.raises(ValueError, match="frame 31"):
        file.write_ome_zarr(tmp_path / "b.zarr", client=client, chunk_shape=(1, 64, 64))
    assert [path.name for path in tmp_path.iterdir()] == ["a.nd2"]


def test_progress_of_the_whole(client: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    build(tmp_path / "a.nd2", loops=[("T", 12)])
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        file.write_ome_zarr(tmp_path / "b.zarr", client=client, chunk_shape=(1, 6, 8), progress=True)
    assert "12/12" in capsys.readouterr().err


def test_an_object_that_is_not_a_client(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 2)])
    with nd2.ND2File(tmp_path / "a.nd2") as file, pytest.raises(TypeError, match=r"distributed\.Client, not str"):
        file.write_ome_zarr(tmp_path / "b.zarr", client="tcp://127.0.0.1:8786")
    assert not (tmp_path / "b.zarr").exists()


def test_an_array_in_memory_is_sent_once(client: Any, tmp_path: Path) -> None:
    image = xr.DataArray(np.arange(40 << 14, dtype=np.uint32).reshape(40, 128, 128), dims=("T", "Y", "X"))
    sent: list[int] = []
    submit = client.submit

    def counted(*arguments: Any, **keywords: Any) -> Any:
        sent.append(len(pickle.dumps((arguments[1:], keywords["options"], keywords["store"]))))
        assert not isinstance(keywords["opener"], bytes)
        return submit(*arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "submit", counted)
        image.nd2.write_ome_zarr(tmp_path / "b.zarr", client=client, chunk_shape=(1, 128, 128))
    image.nd2.write_ome_zarr(tmp_path / "serial.zarr", chunk_shape=(1, 128, 128))
    assert len(sent) > 8
    assert max(sent) < 10_000
    assert contents(tmp_path / "b.zarr") == contents(tmp_path / "serial.zarr")


def test_the_command(client: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    for number in range(5):
        build(tmp_path / "in" / f"{number}.nd2", loops=[("T", 3)], seed=number)
    (tmp_path / "in" / "bad.nd2").write_bytes(b"no ND2 file at all")
    address = client.scheduler.address
    pattern, out = str(tmp_path / "in" / "*.nd2"), str(tmp_path / "out")
    assert main(["zarr", pattern, "--out-dir", out, "--dask", address]) == 1
    printed = capsys.readouterr()
    assert sorted(printed.out.split()) == [f"{out}/{number}.ome.zarr" for number in range(5)]
    assert "bad.nd2" in printed.err
    for number in range(5):
        with nd2.ND2File(tmp_path / "in" / f"{number}.nd2") as file:
            file.write_ome_zarr(tmp_path / "serial" / f"{number}.ome.zarr")
    assert contents(tmp_path / "out") == contents(tmp_path / "serial")
    one = str(tmp_path / "one.zarr")
    assert main(["zarr", str(tmp_path / "in" / "0.nd2"), one, "--dask", address]) == 0
    assert contents(tmp_path / "one.zarr") == contents(tmp_path / "serial" / "0.ome.zarr")


@pytest.mark.parametrize("chunks", [None, {}, {"T": 3}])
def test_arrays(chunks: Any, client: Any, tmp_path: Path) -> None:
    path = rich_file.write(tmp_path / "a.nd2")
    with xr.open_dataset(path, engine="nd2", chunks=chunks) as dataset:
        for name, part in (("all", dataset), ("max", dataset.image.max("Z", keep_attrs=True))):
            options: dict[str, Any] = {"levels": 2}
            part.nd2.write_ome_zarr(tmp_path / f"{name}.serial.zarr", **options)
            part.nd2.write_ome_zarr(tmp_path / f"{name}.zarr", client=client, **options)
            serial = contents(tmp_path / f"{name}.serial.zarr")
            assert contents(tmp_path / f"{name}.zarr") == serial
            assert len(serial) > 10
