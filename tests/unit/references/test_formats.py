"""Documents and chunks of Zarr hierarchies, without any library of Zarr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from xarray_nd2.references.formats import V2, V3, ByteRanges, ZarrArray, ZarrGroup

if TYPE_CHECKING:
    from xarray_nd2.references.formats import ZarrFormat


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
@pytest.mark.parametrize("form", [V2, V3], ids=["v2", "v3"])
def test_values_of_any_kind_come_back(values: Any, form: ZarrFormat) -> None:
    array = ZarrArray.from_values("yx"[: np.ndim(values)], values, {"unit": np.float64(2)})
    groups = [ZarrGroup("", {}, {"a": array})]
    written = form.arrays(json.loads(json.dumps(form.documents(groups))))["a"]
    assert (written.dims, written.attrs) == (array.dims, {"unit": 2.0})
    decoded = form.decode(written, form.encode(np.asarray(array.data)))
    assert decoded.dtype.byteorder in "<|=U"
    assert decoded.shape == np.shape(values)
    if decoded.dtype.kind == "U":
        assert decoded.tolist() == [str(value) for value in values]
    else:
        np.testing.assert_array_equal(decoded, values)


@pytest.mark.parametrize("form", [V2, V3], ids=["v2", "v3"])
def test_numbers_that_are_not_finite_do_not_enter_json(form: ZarrFormat) -> None:
    odd = {"a": float("nan"), "b": [1, np.float32(np.inf)]}
    array = ZarrArray.from_values("x", [1.0], odd)
    documents = json.dumps(form.documents([ZarrGroup.from_image("", odd, array, {})]), allow_nan=False)
    assert form.arrays(json.loads(documents))["image"].attrs == {"a": None, "b": [1, None]}


def image(dims: tuple[str, ...], shape: tuple[int, ...], chunks: tuple[int, ...]) -> ZarrArray:
    nothing = np.zeros([n // m for n, m in zip(shape, chunks, strict=True)], np.uint64)
    ranges = ByteRanges(("file:///a.nd2",), nothing, nothing)
    return ZarrArray(dims, shape, chunks, np.dtype("<u2"), ranges)


def codecs(array: ZarrArray) -> list[str]:
    return [codec["name"] for codec in V3.array_document(array)["codecs"]]


def test_axes_of_one_item_change_places_without_a_codec() -> None:
    stored = image(("T", "Y", "X", "C"), (3, 4, 5, 1), (1, 4, 5, 1))
    moved = stored.with_dims(("T", "C", "Y", "X"))
    assert (moved.shape, moved.chunks) == ((3, 1, 4, 5), (1, 1, 4, 5))
    assert codecs(moved) == ["bytes"]


def test_longer_axes_change_places_by_a_codec() -> None:
    stored = image(("T", "Y", "X", "C"), (3, 4, 5, 2), (1, 4, 5, 2))
    moved = stored.with_dims(("T", "C", "Y", "X"))
    assert codecs(moved) == ["transpose", "bytes"]
    assert moved.transpose == (0, 2, 3, 1)
