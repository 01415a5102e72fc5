"""Tables of binary layers, as run lengths and as rasters."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nd2._core import errors
from nd2._core.chunks import binary_layers
from tests.trees import trees


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"nothing", "not JSON"),
        (b"{}", "not a list"),
        (b'[{"binWidth": 0}]', "impossible tiles"),
        (b'[{"binWidth": 8, "binHeight": 8, "binBitdepth": 7}]', "impossible tiles"),
        (b'[{"binWidth": 9999999, "binHeight": 9999999}]', "larger than 67108864 pixels"),
    ],
)
def test_a_damaged_list_of_raster_layers(data: bytes, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        binary_layers.decode_rasters(data)


def test_compression_that_is_not_known() -> None:
    with pytest.raises(NotImplementedError, match="'jpeg' compression"):
        binary_layers.decode_rasters(b'[{"binCompressionId": "jpeg"}]')


@given(trees("BinaryMetadata_v1", "BinaryItem", "Name", "FileTag", "CompName", "ID"))
def test_any_tree_gives_layers(tree: dict[str, Any]) -> None:
    assert all(info.file_tag for info in binary_layers.decode_runs(tree))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_list_of_rasters_or_refused(data: bytes) -> None:
    with contextlib.suppress(errors.ND2Error):
        binary_layers.decode_rasters(data)
