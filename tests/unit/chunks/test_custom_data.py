"""Settings of the software, the form that the user filled in, definitions of jobs."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nd2
from nd2._core import errors
from nd2._core.chunks import custom_data
from nd2._core.format import clx_lite, clx_xml
from nd2._core.format.clx_lite import Items
from tests.builder import build
from tests.trees import LEAVES, trees

if TYPE_CHECKING:
    from pathlib import Path

KEYS = st.sampled_from(["CLxCustomDescription", "vData", "CLxItem", "eType", "sName", "iSelection", "aDate", "0", ""])
ITEMS = st.recursive(LEAVES, lambda inner: st.lists(st.tuples(KEYS, inner), max_size=6).map(Items), max_leaves=20)


def read_back(folder: Path, payload: bytes) -> Any:
    build(folder / "a.nd2", chunks={custom_data.name("Mine"): payload})
    with nd2.ND2File(folder / "a.nd2") as file:
        return file.custom_data["Mine"]


@pytest.mark.parametrize("module", [clx_lite, clx_xml], ids=["lite", "xml"])
@pytest.mark.parametrize("value", [2457743.9939621, "text", True])
def test_one_value_without_a_name_is_that_value(tmp_path: Path, module: Any, value: Any) -> None:
    assert read_back(tmp_path, module.encode(Items([("", value)]))) == value


def test_several_values_without_names_are_a_tree(tmp_path: Path) -> None:
    payload = clx_xml.encode(Items([("", 1.5), ("", 2.5)]))
    assert read_back(tmp_path, payload) == {"i0000000000": 1.5, "i0000000001": 2.5}


def test_byte_arrays_are_mutable(tmp_path: Path) -> None:
    value = read_back(tmp_path, clx_xml.encode(Items([("Selection", bytes(3))])))["Selection"]
    assert type(value) is bytearray
    assert value == b64encode(bytes(3))


@pytest.mark.parametrize("value", [1.5, "text", {"Name": 1, "Bytes": bytearray(b"AAAA")}])
def test_what_was_read_can_be_written(tmp_path: Path, value: Any) -> None:
    assert read_back(tmp_path, clx_xml.encode(custom_data.encode(value))) == value


@pytest.mark.parametrize(
    "software", ["NIS-Elements AR 5.42.03 (Build 1812)", "NIS-Elements AR 4.50.00 (Build 1117) Patch 04", "mine"]
)
def test_software(software: str) -> None:
    tree = custom_data.encode_software(software)
    data = clx_xml.encode(custom_data.encode(tree))
    assert custom_data.decode_software(clx_xml.decode(data, strip_prefix=True)) == software


def test_names_and_left_out_items_come_back() -> None:
    tree: dict[str, Any] = {
        "Version": 3,
        "lower": {"i0000000001": 5, "i0000000003": "x"},
        "Nothing": None,
        "List": [1, 2.5],
    }
    decoded = clx_xml.decode(clx_xml.encode(custom_data.encode(tree)), strip_prefix=True)
    assert decoded["Version"] == 3
    assert decoded["lower"] == {"i0000000001": 5, "i0000000003": "x"}
    assert "Nothing" not in decoded
    assert list(decoded["List"].values()) == [1, 2.5]


def test_a_long_tag_is_refused() -> None:
    assert custom_data.name("a" * 240).endswith(b"a!")
    with pytest.raises(ValueError, match="240 bytes"):
        custom_data.name("µ" * 121)


@given(st.lists(st.tuples(KEYS, ITEMS)).map(Items))
def test_any_items_give_fields(items: Items) -> None:
    for field in custom_data.decode_form(items):
        assert isinstance(field.name, str)


@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with contextlib.suppress(errors.ND2Error):
        custom_data.decode_form(clx_lite.decode_items(data))


@given(trees("Job", "ProtectedJob", "ProgramDesc", "Data"))
def test_any_tree_gives_a_job(tree: dict[str, Any]) -> None:
    assert set(custom_data.decode_job(tree, None, b"a\0")) >= {"Job", "ProtectedJob", "JobRunGUID"}
