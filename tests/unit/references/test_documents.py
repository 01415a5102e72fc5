"""Documents and chunks of Zarr hierarchies, without any library of Zarr."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xarray_nd2.references import documents
from xarray_nd2.references.zarr_array import ChunkReferences, ZarrModel


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 2, 3], ">i4"),
        np.array([[0.5, np.nan]], ">f8"),
        np.arange(12, dtype="<u2").reshape(3, 4)[:, ::-1].T,
        np.array(["a", "longer", "µ"]),
        np.array(["a", None], object),
        np.array(["a", "longer"], np.dtypes.StringDType()),
        np.array(["", ""]),
        np.array([True, False]),
        np.float64(2.5),
    ],
)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_values_of_any_kind_come_back(values: Any, zarr_format: int) -> None:
    stored = documents.as_stored(values)
    if zarr_format == 2:
        document, data = documents.values_v2(stored), documents.chunk_v2(stored)
    else:
        document, data = documents.values_v3(stored, {}, ()), documents.chunk_v3(stored)
    found = documents.decode_values(document, data)
    assert found.dtype.byteorder in "<|=U"
    assert found.shape == np.shape(values)
    if found.dtype.kind == "U":
        assert found.tolist() == [str(value) for value in values]
    else:
        np.testing.assert_array_equal(found, values)


def model(dims: tuple[str, ...], shape: tuple[int, ...], chunks: tuple[int, ...]) -> ZarrModel:
    nothing = np.zeros([n // m for n, m in zip(shape, chunks, strict=True)], np.uint64)
    references = ChunkReferences(nothing, nothing)
    return ZarrModel(dims, shape, chunks, np.dtype("<u2"), "raw", references)


def codecs(zarr: ZarrModel) -> list[str]:
    return [codec["name"] for codec in documents.image_v3(zarr, {}, zarr.dims)["codecs"]]


def test_axes_of_one_item_change_places_without_a_codec() -> None:
    stored = model(("T", "Y", "X", "C"), (3, 4, 5, 1), (1, 4, 5, 1))
    moved = stored.with_dims(("T", "C", "Y", "X"))
    assert (moved.shape, moved.chunks) == ((3, 1, 4, 5), (1, 1, 4, 5))
    assert codecs(moved) == ["bytes"]


def test_longer_axes_change_places_by_a_codec() -> None:
    stored = model(("T", "Y", "X", "C"), (3, 4, 5, 2), (1, 4, 5, 2))
    moved = stored.with_dims(("T", "C", "Y", "X"))
    assert codecs(moved) == ["transpose", "bytes"]
    assert moved.transpose == (0, 2, 3, 1)
