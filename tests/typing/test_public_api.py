"""The types that a user's checker sees: the checkers assert each, and at run time the values have that type.

A comment that ignores an error is also an assertion: checkers report comments that ignore nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import dask.array
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from ome_types import OME

import nd2
import xarray_nd2
from nd2 import structures
from nd2._core.readers.reader import RescueReport
from nd2._core.views.picture import Picture
from nd2._core.write.writer import FileWriter
from nd2.jobs.types import JobsDict
from tests.builder import build
from xarray_nd2 import combine_references, open_references, to_kerchunk, write_kerchunk


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("types") / "a.nd2"
    build(path, loops=[("T", 2), ("P", 2)])
    return path


def test_imread(path: Path) -> None:
    assert_type(nd2.imread(path), NDArray[Any])
    assert_type(nd2.imread(str(path), dask=False, xarray=False), NDArray[Any])
    assert_type(nd2.imread(path, dask=True), dask.array.Array)
    assert_type(nd2.imread(path, xarray=True), xr.DataArray)
    assert_type(nd2.imread(path, xarray=True, dask=True), xr.DataArray)
    with path.open("rb") as handle:
        assert_type(nd2.imread(handle), NDArray[Any])
    flag = len(str(path)) > 0
    either = nd2.imread(path, dask=flag)
    assert_type(either, Any)
    any_of_them = nd2.imread(path, dask=flag, xarray=flag)
    assert_type(any_of_them, Any)
    assert isinstance(nd2.imread(path), np.ndarray)
    assert isinstance(either, dask.array.Array)
    assert isinstance(any_of_them, xr.DataArray)


def test_reading(path: Path) -> None:
    with nd2.ND2File(path) as file:
        assert_type(file, nd2.ND2File)
        assert_type(file.asarray(), NDArray[Any])
        assert_type(file.asarray(position="A1"), NDArray[Any])
        assert_type(file.read_frame(0), NDArray[Any])
        assert_type(file.to_dask(), dask.array.Array)
        assert_type(file.to_xarray(), xr.DataArray)
        assert_type(file.to_xarray(delayed=False, position=1), xr.DataArray)
        assert_type(file.sizes, Mapping[str, int])
        assert_type(file.shape, tuple[int, ...])
        assert_type(file.dtype, np.dtype[Any])
        assert_type(file.nbytes, int)
        assert_type(file.is_rgb, bool)
        assert_type(file.loop_indices, tuple[dict[str, int], ...])
        assert_type(file.thumbnail(), Picture)
        assert_type(file.thumbnail().pixels, NDArray[np.uint8])


def test_metadata(path: Path) -> None:
    with nd2.ND2File(path) as file:
        assert_type(file.attributes, structures.Attributes)
        assert_type(file.metadata, structures.Metadata | dict[str, Any])
        assert_type(file.frame_metadata(0), structures.FrameMetadata | dict[str, Any])
        assert_type(file.experiment, list[structures.ExpLoop])
        assert_type(file.text_info, structures.TextInfo)
        assert_type(file.voxel_size(), structures.VoxelSize)
        assert_type(file.voxel_size().x, float)
        assert_type(file.rois, dict[int, structures.ROI])
        assert_type(file.binary_data, nd2.BinaryLayers | None)
        assert_type(file.jobs(), JobsDict | None)
        assert_type(file.rescued, RescueReport | None)
        assert_type(file.unstructured_metadata(), dict[str, Any])
        assert_type(file.ome_metadata(), OME)
        for loop in file.experiment:  # the field `type` tells the loops apart
            if loop.type == "TimeLoop":
                assert_type(loop, structures.TimeLoop)
                assert_type(loop.parameters.periodMs, float)
            elif loop.type == "XYPosLoop":
                assert_type(loop, structures.XYPosLoop)


def test_layers() -> None:
    layer = nd2.BinaryLayer([None], "cells", "tag", None, None, None, None, None, None, ())
    layers = nd2.BinaryLayers([layer])
    assert_type(layers[0], nd2.BinaryLayer)
    assert_type(layers["cells"], nd2.BinaryLayer)
    assert_type(layers[:1], list[nd2.BinaryLayer])
    assert_type(layers[0][0], NDArray[Any] | None)
    assert_type(layers.asarray(), NDArray[Any] | None)
    assert layers["cells"] is layer


def test_events(path: Path) -> None:
    with nd2.ND2File(path) as file:
        assert_type(file.events(), list[dict[str, Any]])
        assert_type(file.events(orient="records"), list[dict[str, Any]])
        assert_type(file.events(orient="list"), dict[str, list[Any] | NDArray[Any]])
        assert_type(file.events(orient="dict", null_value=None), dict[str, dict[int, Any]])


def test_writing(path: Path, tmp_path: Path) -> None:
    with nd2.ND2File(path) as file:
        assert_type(file.write_nd2(tmp_path / "b.nd2", "A1", T=slice(0, 1)), None)
        assert_type(file.write_tiff(tmp_path / "a.tif"), None)
        assert_type(file.write_ome_zarr(tmp_path / "a.zarr"), Path | str)
        with file.writer(tmp_path / "d.nd2") as like:
            assert_type(like, FileWriter)
            for index in range(4):
                like.write_frame(index, file.read_frame(index))
    with nd2.ND2Writer(tmp_path / "c.nd2", {"T": 1, "Y": 2, "X": 3}, "u2") as writer:
        assert_type(writer, nd2.ND2Writer)
        writer.write_frame(0, np.zeros((2, 3), "u2"))
    assert_type(nd2.save_index(path, tmp_path / "a.index"), str)
    assert_type(nd2.imread(path, index=tmp_path / "a.index"), NDArray[Any])


def test_functions(path: Path) -> None:
    assert_type(nd2.is_supported_file(path), bool)
    assert_type(nd2.is_legacy(path), bool)
    assert_type(nd2.ND2File.is_supported_file(path), bool)
    assert_type(nd2.structures.VoxelSize(1, 2, 3), structures.VoxelSize)
    assert_type(nd2.AXIS.TIME, str)
    assert_type(nd2.__version__, str)
    assert isinstance(nd2.__version__, str)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_references(path: Path, tmp_path: Path) -> None:
    refs = to_kerchunk(path)
    assert_type(refs, dict[str, Any])
    assert_type(open_references(refs), xr.Dataset)
    assert_type(combine_references([refs, refs], concat_dim="file"), dict[str, Any])
    write_kerchunk(path, tmp_path / "a.json")
    assert isinstance(open_references(tmp_path / "a.json"), xr.Dataset)


if TYPE_CHECKING:

    def refused(file: nd2.ND2File) -> None:
        nd2.imred()  # type: ignore[attr-defined]
        xarray_nd2.to_kerchnk()  # type: ignore[attr-defined]
        nd2.imread("a.nd2", True)  # type: ignore[call-overload]
        nd2.imread("a.nd2", dask="yes")  # type: ignore[call-overload]
        nd2.imread(3)  # type: ignore[call-overload]
        nd2.ND2File("a.nd2", indx=True)  # type: ignore[call-arg]
        file.events(orient="rows")  # type: ignore[call-overload]
        file.asarray(position=1.5)  # type: ignore[arg-type]
        file.write_ome_zarr("a.zarr", backend="other")  # type: ignore[arg-type]
        file.sizes["T"] = 3  # type: ignore[index]
        file.shape = (1, 2)  # type: ignore[misc]
        to_kerchunk("a.nd2", layout="flatt")  # type: ignore[arg-type]
