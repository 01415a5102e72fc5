"""Settings of the software: ``custom_data``."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

import nd2
from nd2._core.chunks import settings
from nd2._core.format import clx_lite, clx_xml
from nd2._core.format.clx_lite import Items
from tests.builder import build

if TYPE_CHECKING:
    from pathlib import Path


def custom_data(folder: Path, payload: bytes) -> Any:
    build(folder / "a.nd2", chunks={settings.name("Mine"): payload})
    with nd2.ND2File(folder / "a.nd2") as file:
        return file.custom_data["Mine"]


@pytest.mark.parametrize("module", [clx_lite, clx_xml], ids=["lite", "xml"])
@pytest.mark.parametrize("value", [2457743.9939621, "text", True])
def test_one_value_without_a_name_is_that_value(tmp_path: Path, module: Any, value: Any) -> None:
    assert custom_data(tmp_path, module.encode(Items([("", value)]))) == value


def test_several_values_without_names_are_a_tree(tmp_path: Path) -> None:
    payload = clx_xml.encode(Items([("", 1.5), ("", 2.5)]))
    assert custom_data(tmp_path, payload) == {"i0000000000": 1.5, "i0000000001": 2.5}


def test_byte_arrays_are_mutable(tmp_path: Path) -> None:
    value = custom_data(tmp_path, clx_xml.encode(Items([("Selection", bytes(3))])))["Selection"]
    assert type(value) is bytearray
    assert value == b64encode(bytes(3))


@pytest.mark.parametrize("value", [1.5, "text", {"Name": 1, "Bytes": bytearray(b"AAAA")}])
def test_what_was_read_can_be_written(tmp_path: Path, value: Any) -> None:
    assert custom_data(tmp_path, settings.encode_chunk(value)) == value


@pytest.mark.parametrize(
    "software", ["NIS-Elements AR 5.42.03 (Build 1812)", "NIS-Elements AR 4.50.00 (Build 1117) Patch 04", "mine"]
)
def test_software(software: str) -> None:
    tree = settings.encode_software(software)
    data = clx_xml.encode(settings.encode(tree))
    assert settings.decode_software(clx_xml.decode(data, strip_prefix=True)) == software


def test_names_and_left_out_items_come_back() -> None:
    tree: dict[str, Any] = {
        "Version": 3,
        "lower": {"i0000000001": 5, "i0000000003": "x"},
        "Nothing": None,
        "List": [1, 2.5],
    }
    decoded = clx_xml.decode(clx_xml.encode(settings.encode(tree)), strip_prefix=True)
    assert decoded["Version"] == 3
    assert decoded["lower"] == {"i0000000001": 5, "i0000000003": "x"}
    assert "Nothing" not in decoded
    assert list(decoded["List"].values()) == [1, 2.5]


def test_a_long_tag_is_refused() -> None:
    assert settings.name("a" * 240).endswith(b"a!")
    with pytest.raises(ValueError, match="240 bytes"):
        settings.name("µ" * 121)
