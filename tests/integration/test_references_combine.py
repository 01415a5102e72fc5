"""References to several files, references that have moved or gone stale, catalogs of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from tests.builder import Nd2Spec, build
from xarray_nd2 import combine_references, open_references, to_kerchunk, write_kerchunk

if TYPE_CHECKING:
    from pathlib import Path

each_zarr_format = pytest.mark.parametrize("zarr_format", [2, 3])


@each_zarr_format
def test_files_are_joined_as_xarray_joins_them(time_parts: list[Path], tmp_path: Path, zarr_format: Any) -> None:
    refs: list[Any] = []
    for path in time_parts:
        refs.append(tmp_path / f"{path.stem}.json")
        write_kerchunk(path, refs[-1], zarr_format=zarr_format)
    refs[1] = to_kerchunk(time_parts[1], zarr_format=zarr_format)  # in memory, without a template
    combined = combine_references(refs, concat_dim="T")
    dataset = open_references(combined)
    expected = xr.open_mfdataset(time_parts, engine="nd2", combine="nested", concat_dim="T")
    np.testing.assert_array_equal(dataset.image.transpose(*expected.image.dims).values, expected.image.values)
    assert dataset.image.dtype == np.uint16
    for name in ("T", "Z", "time", "stage_x"):
        np.testing.assert_array_equal(dataset[name].values, expected[name].values)
    assert dataset.C.values.tolist() == expected.C.values.tolist()
    assert dataset.attrs["source"] == [str(path) for path in time_parts]
    (tmp_path / "all.json").write_text(json.dumps(combined))
    options = {"fo": str(tmp_path / "all.json")}
    again = xr.open_zarr("reference://", storage_options=options, consolidated=False)
    xr.testing.assert_identical(again.load(), dataset.load())


@each_zarr_format
def test_files_make_an_axis_that_none_of_them_has(tmp_path: Path, zarr_format: Any) -> None:
    paths = [tmp_path / f"{i}.nd2" for i in range(3)]
    specs = [
        build(path, channels=2, samples=1, times=[1000.0 * i], seed=i, missing=frozenset())
        for i, path in enumerate(paths)
    ]
    refs = [to_kerchunk(path, zarr_format=zarr_format) for path in paths]
    dataset = open_references(combine_references(refs, concat_dim="T"))
    image = dataset.image.transpose("T", "C", "Y", "X")
    np.testing.assert_array_equal(image.values, np.stack([spec.array for spec in specs]))
    assert dataset["time"].dims == ("T",)


def test_kerchunk_joins_them_too(tmp_path: Path) -> None:
    combine = pytest.importorskip("kerchunk.combine")
    specs = []
    for i in range(3):
        times = [1000.0 * i + 100 * k for k in range(4)]
        path = tmp_path / f"{i}.nd2"
        specs.append(build(path, loops=[("T", 4)], channels=2, seed=i, times=times))
    joined = combine.MultiZarrToZarr(
        [to_kerchunk(tmp_path / f"{i}.nd2") for i in range(3)],
        concat_dims=["T"],
        identical_dims=["C", "Y", "X"],
        remote_protocol="file",
    ).translate()
    dataset = xr.open_dataset(joined, engine="kerchunk", chunks={})
    assert dict(dataset.image.sizes) == {"T": 12, "Y": 6, "X": 8, "C": 2}
    image = dataset.image.transpose("T", "C", "Y", "X")
    np.testing.assert_array_equal(image.values, np.concatenate([spec.array for spec in specs]))


def test_kerchunk_joins_files_of_unlike_length(tmp_path: Path) -> None:
    """Only without coordinates of the frames, each of which is one chunk."""
    combine = pytest.importorskip("kerchunk.combine")
    specs = []
    for i, count in enumerate((5, 2, 7)):
        times = [1000.0 * i + 100 * k for k in range(count)]
        path = tmp_path / f"{i}.nd2"
        specs.append(build(path, loops=[("T", count)], channels=2, seed=i, times=times))
    joined = combine.MultiZarrToZarr(
        [to_kerchunk(tmp_path / f"{i}.nd2", inline_coords=0) for i in range(3)],
        concat_dims=["T"],
        identical_dims=["C", "Y", "X"],
        remote_protocol="file",
    ).translate()
    dataset = xr.open_dataset(joined, engine="kerchunk", chunks={})
    image = dataset.image.transpose("T", "C", "Y", "X")
    np.testing.assert_array_equal(image.values, np.concatenate([spec.array for spec in specs]))
    expected = [(1000 * i + 100 * k) / 1000 for i, n in enumerate((5, 2, 7)) for k in range(n)]
    np.testing.assert_allclose(dataset["T"], expected)


@pytest.mark.parametrize(
    ("other", "options", "message"),
    [
        ({"loops": [("T", 2)], "width": 9}, {}, "file 1 does not fit"),
        ({"loops": [("T", 2)], "dtype": "u1"}, {}, "file 1 does not fit"),
        ({"loops": [("T", 2)], "zlib": True}, {}, "file 1 does not fit"),
        ({"loops": [("T", 2)], "calibration": 0.5}, {}, "differ on the axis Y"),
        ({"loops": [("T", 2)]}, {"zarr_format": 3}, "formats 2 and 3"),
        ({"loops": [("T", 2), ("P", 2)]}, {"layout": "positions"}, "groups"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, other: dict[str, Any], options: dict[str, Any], message: str) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 2)])
    build(tmp_path / "b.nd2", Nd2Spec(**other))
    refs = [to_kerchunk(tmp_path / "a.nd2"), to_kerchunk(tmp_path / "b.nd2", **options)]
    with pytest.raises(ValueError, match=message):
        combine_references(refs, concat_dim="T")


@each_zarr_format
@pytest.mark.parametrize("concat_dim", ["T", "P"])
def test_missing_frames_stay_missing(tmp_path: Path, concat_dim: str, zarr_format: Any) -> None:
    refs, specs = [], []
    for i, missing in enumerate(({1}, {0, 2})):
        path = tmp_path / f"{i}.nd2"
        specs.append(build(path, loops=[("T", 3)], missing=frozenset(missing), seed=i))
        refs.append(to_kerchunk(path, zarr_format=zarr_format))
    combined = combine_references(refs, concat_dim=concat_dim)
    ranges = [value for value in combined["refs"].values() if isinstance(value, list)]
    assert [value[0] for value in ranges] == ["{{u0}}", "{{u0}}", "{{u1}}"]
    image = open_references(combined).image.values
    expected = np.stack([spec.array for spec in specs]).reshape(2, 3, *image.shape[-2:])
    for i, spec in enumerate(specs):
        expected[i, sorted(spec.missing)] = 0
    np.testing.assert_array_equal(image, expected.reshape(image.shape))


def test_references_to_several_files_are_not_combined_again(time_parts: list[Path]) -> None:
    refs = [to_kerchunk(path) for path in time_parts]
    both = combine_references(refs[:2])
    with pytest.raises(ValueError, match="pass the references of each file"):
        combine_references([both, refs[2]])
    one = combine_references(refs[:1])
    again = combine_references([one, refs[1]])
    assert again["templates"] == both["templates"]
    assert {k: v for k, v in again["refs"].items() if k.startswith("image/")} == {
        k: v for k, v in both["refs"].items() if k.startswith("image/")
    }


def test_an_image_that_lies_in_the_references_is_refused(time_parts: list[Path]) -> None:
    refs = to_kerchunk(time_parts[0])
    key = next(key for key, value in refs["refs"].items() if isinstance(value, list))
    refs["refs"][key] = "base64:AAAA"
    with pytest.raises(ValueError, match="not byte ranges"):
        combine_references([refs, to_kerchunk(time_parts[1])])


def test_what_cannot_be_combined_at_all(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 2)])
    write_kerchunk(tmp_path / "a.nd2", tmp_path / "refs", format="parquet")
    with pytest.raises(ValueError, match="no references"):
        combine_references([])
    with pytest.raises(ValueError, match="along X"):
        combine_references([to_kerchunk(tmp_path / "a.nd2")], concat_dim="X")
    with pytest.raises(ValueError, match="Parquet"):
        combine_references([tmp_path / "refs"])
    with pytest.raises(ValueError, match="not kerchunk references"):
        combine_references([{"version": 2}])
