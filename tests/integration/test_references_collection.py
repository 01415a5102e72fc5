"""References to many files, made from the files: Parquet and JSON, in threads and on a cluster."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from tests.builder import build
from tests.clusters import local_cluster
from tests.references import OLD_PARQUET, V3_ZLIB
from tests.servers import range_server
from xarray_nd2 import StaleReferencesWarning, open_references, write_combined
from xarray_nd2.references.combine import join_groups
from xarray_nd2.references.formats import ByteRanges, ZarrArray, ZarrGroup
from xarray_nd2.references.kerchunk import describe_file, write_parquet
from xarray_nd2.references.layouts import LayoutOptions

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("fastparquet")
pytestmark = [pytest.mark.filterwarnings(OLD_PARQUET), pytest.mark.filterwarnings(V3_ZLIB)]


def assert_joined(dataset: xr.Dataset, files: list[Path], concat_dim: str = "T") -> None:
    expected = xr.open_mfdataset(files, engine="nd2", combine="nested", concat_dim=concat_dim)
    image = dataset.image.transpose(*expected.image.dims)
    np.testing.assert_array_equal(image.values, expected.image.values)
    assert image.dtype == np.uint16
    for name in ("Z", "C", concat_dim):
        if name in expected.coords:
            np.testing.assert_array_equal(dataset[name].values, expected[name].values)
    assert dataset.attrs["source"] == [str(path) for path in files]


@pytest.mark.parametrize(
    ("name", "options"),
    [("all.parq", {}), ("all.json", {"format": "json"}), ("all.json", {"format": "json", "zarr_format": 3})],
)
def test_files_are_joined(time_parts: list[Path], tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    dest = tmp_path / name
    write_combined(tmp_path / "part*.nd2", dest, **options)
    assert_joined(open_references(dest), time_parts)
    for files in ([time_parts[2], time_parts[0]], [*time_parts[:2], time_parts[0]]):
        write_combined(files, dest, overwrite=True, **options)
        assert_joined(open_references(dest), files)


def test_other_readers_of_kerchunk(time_parts: list[Path], tmp_path: Path) -> None:
    write_combined(time_parts, tmp_path / "all.json", format="json")
    dataset = xr.open_dataset(str(tmp_path / "all.json"), engine="kerchunk", chunks={})
    assert_joined(dataset, time_parts)
    write_combined(time_parts, tmp_path / "all.parq")
    dataset = xr.open_dataset(
        str(tmp_path / "all.parq"), engine="kerchunk", storage_options={"remote_protocol": "file"}, chunks={}
    )
    assert_joined(dataset, time_parts)


def test_a_new_axis(tmp_path: Path) -> None:
    files = [tmp_path / f"well{i}.nd2" for i in range(3)]
    for i, path in enumerate(files):
        build(path, loops=[("T", 2)], seed=i)
    write_combined(files, tmp_path / "all.parq", concat_dim="P")
    dataset = open_references(tmp_path / "all.parq")
    assert dict(dataset.sizes) == {"P": 3, "T": 2, "Y": 6, "X": 8}
    assert_joined(dataset, files, "P")


def test_what_cannot_be_joined(time_parts: list[Path], tmp_path: Path) -> None:
    build(tmp_path / "other.nd2", loops=[("T", 2), ("Z", 2)], channels=1)
    dest = tmp_path / "all.parq"
    with pytest.raises(ValueError, match="does not fit"):
        write_combined([*time_parts, tmp_path / "other.nd2"], dest)
    with pytest.raises(ValueError, match="frames are whole"):
        write_combined(time_parts, dest, concat_dim="Y")
    with pytest.raises(FileNotFoundError, match="matches no file"):
        write_combined(tmp_path / "none*.nd2", dest)
    with pytest.raises(ValueError, match="no files"):
        write_combined([], dest)
    build(tmp_path / "gap.nd2", loops=[("T", 2), ("Z", 2)], channels=2, missing=frozenset({1}))
    with pytest.raises(ValueError, match="missing"):
        write_combined([*time_parts, tmp_path / "gap.nd2"], dest)
    assert not dest.exists()


def test_a_cluster_reads_the_files(time_parts: list[Path], tmp_path: Path) -> None:
    with local_cluster(set_as_default=False) as client:
        write_combined(time_parts, tmp_path / "all.parq", client=client)
    write_combined(time_parts, tmp_path / "serial.parq")
    assert_joined(open_references(tmp_path / "all.parq"), time_parts)
    for path in (tmp_path / "serial.parq").rglob("*"):
        if path.is_file():
            other = tmp_path / "all.parq" / path.relative_to(tmp_path / "serial.parq")
            assert other.read_bytes() == path.read_bytes()


def test_an_object_that_is_not_a_client(time_parts: list[Path], tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"distributed\.Client, not str"):
        write_combined(time_parts, tmp_path / "all.parq", client="tcp://127.0.0.1:8786")
    assert not (tmp_path / "all.parq").exists()


def test_changes_of_remote_files_are_noticed_by_their_heads(time_parts: list[Path], tmp_path: Path) -> None:
    with range_server(tmp_path) as server:
        write_combined([server.url(path.name) for path in time_parts], tmp_path / "all.parq")
        server.reset()
        open_references(tmp_path / "all.parq")
        assert [seen.method for seen in server.seen].count("HEAD") == 3
        build(time_parts[1], loops=[("T", 2), ("Z", 2)], channels=2, seed=9)
        with pytest.warns(StaleReferencesWarning, match="part1"):
            open_references(tmp_path / "all.parq")


def test_references_take_no_object_each(time_parts: list[Path], tmp_path: Path) -> None:
    """Half a million references of combined files."""
    [group] = describe_file(time_parts[0], None, 2, LayoutOptions())
    image = group.arrays["image"]
    assert isinstance(image.data, ByteRanges)
    times, count = 5000, 50
    coords = {name: ZarrArray.from_values(("T",), np.arange(times, dtype=float)) for name in ("T", "time")}
    grid = (times, *image.grid[1:])
    lengths = np.full(grid, 192, np.uint64)
    offsets = np.arange(lengths.size, dtype=np.uint64).reshape(grid) * np.uint64(4096)
    large = replace(image, shape=(times, *image.shape[1:]))

    def part(number: int) -> ZarrGroup:
        ranges = ByteRanges((f"s3://bucket/{number}.nd2",), offsets, lengths)
        return ZarrGroup("", group.attrs, {"image": replace(large, data=ranges), **coords})

    parts = [part(number) for number in range(count)]
    tracemalloc.start()
    try:
        joined = join_groups(parts, "T")
        write_parquet([joined], tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    references = joined.arrays["image"].data.lengths.size  # type: ignore[attr-defined]
    assert references == 500_000
    assert peak < 80 * references
