"""Damaged optional chunks: whatever is in them, parsing gives values, or a ValueError that says so."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nd2._core import errors
from nd2._core.chunks import binary_layers, events, form, jobs, recorded_data, regions
from nd2._core.format import clx_lite, masks
from nd2._core.format.clx_lite import Items
from nd2.structures import ROI, ExperimentEvent

KEYS = st.sampled_from(
    [
        *("RoiMetadata_v1", "Global_0", "Global_", "2PerMPoint_1", "0", "Id", "Info", "ShapeType"),
        *("AnimParams_0", "BoxShape", "SizeX", "ExtrudedShape", "BasePoints_0", "Label", ""),
        *("RLxExperimentRecord", "pEvents", "pFirstEvent", "i0000000000", "T", "M", "S", "D", "A"),
        *("CustomTagDescription_v1.0", "Tag0", "Tag1", "ID", "Type", "Size", "Desc", "Unit"),
        *("BinaryMetadata_v1", "Name", "FileTag", "Job", "ProgramDesc"),
        *("CLxCustomDescription", "vData", "CLxItem", "eType", "sName", "iSelection", "aDate"),
    ]
)
LEAVES = (
    st.none()
    | st.integers(-2, 2**33)
    | st.floats()
    | st.text(max_size=3)
    | st.booleans()
    | st.binary(max_size=9)
)
TREES = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES | st.lists(st.integers(0, 255), max_size=3),
        lambda inner: st.dictionaries(KEYS, inner, max_size=6) | st.lists(inner, max_size=3),
        max_leaves=40,
    ),
)


@given(TREES)
def test_any_tree_gives_values(tree: dict[str, Any]) -> None:
    assert all(isinstance(roi, ROI) for roi in regions.parse(tree).values())
    assert all(isinstance(event, ExperimentEvent) for event in events.parse(tree))
    assert all(info.file_tag for info in binary_layers.parse_runs(tree))
    assert set(jobs.parse(tree, None, b"a\0")) >= {"Job", "ProtectedJob", "JobRunGUID"}
    for column in recorded_data.parse(tree, lambda _: b"\1" * 64).values():
        assert column.values.ndim == 1
        assert column.size <= 0 or len(column.values) <= column.size


ITEMS = st.recursive(
    LEAVES,
    lambda inner: st.lists(st.tuples(KEYS, inner), max_size=6).map(Items),
    max_leaves=40,
)


@given(st.lists(st.tuples(KEYS, ITEMS)).map(Items))
def test_any_form_gives_fields(items: Items) -> None:
    for field in form.parse(items):
        assert isinstance(field.name, str)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"nothing", "no JSON"),
        (b"{}", "no list"),
        (b'[{"binWidth": 0}]', "impossible tiles"),
        (b'[{"binWidth": 8, "binHeight": 8, "binBitdepth": 7}]', "impossible tiles"),
        (b'[{"binWidth": 9999999, "binHeight": 9999999}]', "too large"),
    ],
)
def test_a_damaged_list_of_raster_layers(data: bytes, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        binary_layers.parse_rasters(data)


def test_compression_that_is_not_known() -> None:
    with pytest.raises(NotImplementedError, match="'jpeg' compression"):
        binary_layers.parse_rasters(b'[{"binCompressionId": "jpeg"}]')


@given(st.lists(st.integers(0, 12) | st.integers(0, 2**32 - 1), max_size=40), st.booleans())
def test_any_block_gives_a_mask_or_an_error(words: list[int], plausible: bool) -> None:
    if plausible:
        words = [3, 8, 6, *words]
    block = struct.pack(f"<{len(words)}I", *words)
    data = struct.pack("<I", len(block)) + zlib.compress(block)
    try:
        mask = masks.decode_runs(data, (6, 8))
    except errors.ND2Error:
        return
    assert mask is not None
    assert mask.shape[0] <= 6
    assert mask.shape[1] <= 8


@given(st.binary(max_size=60))
def test_any_bytes_are_no_reason_to_fail_otherwise(data: bytes) -> None:
    for decode in (
        lambda: masks.decode_runs(data, (6, 8)),
        lambda: masks.decode_tile(data, (2, 4), 32, compressed=True),
        lambda: form.parse(clx_lite.decode_items(data)),
        lambda: binary_layers.parse_rasters(data),
    ):
        try:
            decode()
        except errors.ND2Error as error:
            assert str(error)  # noqa: PT017
