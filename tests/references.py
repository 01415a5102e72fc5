"""Comparison of a virtual dataset with that of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

V3_ZLIB = "ignore:Numcodecs codecs are not in the Zarr version 3 specification"
"""zarr-python says so of every compressed frame in format 3."""
OLD_PARQUET = "ignore:The 'fastparquet' engine is deprecated"
"""pandas says so of the only engine with which fsspec reads references in Parquet."""

ABOUT_THE_FILE = ("source", "nd2_source_size", "nd2_source_version")


def assert_same(virtual: xr.Dataset, dataset: xr.Dataset) -> None:
    """Compare pixels bit for bit, dtype, coordinates, their attributes, and those of the dataset."""
    assert virtual.image.dtype == dataset.image.dtype
    if "S" in dataset.dims:  # stored order, equal by label
        virtual = virtual.sel(S=dataset.S.values)
    image = virtual.image.transpose(*dataset.image.dims)
    np.testing.assert_array_equal(image.values, dataset.image.values)
    assert virtual.image.attrs == dataset.image.attrs
    assert set(virtual.coords) == set(dataset.coords)
    for name, expected in dataset.coords.items():
        found = virtual.coords[name]
        assert found.dims == expected.dims
        assert found.attrs == expected.attrs
        if expected.dtype.kind in "UOT":
            assert found.values.tolist() == expected.values.tolist()
        else:
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found.values, expected.values)
    assert about(virtual) == about(dataset)


def about(dataset: xr.Dataset) -> dict[str, Any]:
    """Return attributes without the location and the state of the file."""
    return {name: value for name, value in dataset.attrs.items() if name not in ABOUT_THE_FILE}
