"""XML of legacy files."""

from __future__ import annotations

from typing import Any

import pytest

from nd2._core.format import legacy_xml
from tests.legacy_builder import document


def decoded(inner: str) -> dict[str, Any]:
    return legacy_xml.decode(f"<Root><no_name>{inner}<iLast/></no_name></Root>".encode())


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ('<bTrue runtype="bool" value="true"/>', "True", True),
        ('<bFalse runtype="bool" value="false"/>', "False", False),
        ('<iNeg runtype="lx_int32" value="-3"/>', "Neg", -3),
        ('<uiBig runtype="lx_uint64" value="18446744073709551615"/>', "Big", (1 << 64) - 1),
        ('<dValue runtype="double" value="0.25"/>', "Value", 0.25),
        ('<fValue runtype="float" value="0.25"/>', "Value", 0.25),
        ('<wsText runtype="CLxStringW" value="a &lt; b"/>', "Text", "a < b"),
        ('<baBytes runtype="CLxByteArray" value="AAEC"/>', "Bytes", b"AAEC"),
        ('<iBad runtype="lx_int32" value="x"/>', "Bad", "x"),
        ('<lower runtype="lx_int32" value="1"/>', "lower", 1),
        ('<_00012 runtype="lx_int32" value="1"/>', "00012", 1),
        ('<q:iName xmlns:q="urn:x" runtype="lx_int32" value="1"/>', "Name", 1),
        ('<Plain value="5"/>', "Plain", "5"),
        ('<Plain Calibration_11="0.25" ws="n"/>', "Plain", {"Calibration_11": "0.25", "ws": "n"}),
        ("<Plain>hello</Plain>", "Plain", "hello"),
        ("<Empty/>", "Empty", {}),
        ('<A runtype="RLx"><iX/><iX/></A>', "A", {"X": [{}, {}]}),
        ('<A><no_name runtype="RLx"><iX runtype="lx_int32" value="1"/></no_name></A>', "A", {"X": 1}),
        ('<A><variant><iX runtype="lx_int32" value="1"/></variant></A>', "A", {"X": 1}),
        ("<A><no_name>1</no_name><no_name>2</no_name></A>", "A", {"no_name": ["1", "2"]}),
    ],
)  # fmt: skip
def test_xml_values(text: str, name: str, value: Any) -> None:
    assert decoded(text)[name] == value
    assert type(decoded(text)[name]) is type(value)


def test_xml_repeated_names_are_lists() -> None:
    content = document("Root", {"iOne": [1, 2, 3], "vLevel": [{"iX": 1}, {"iX": 2}], "dLone": 1.0})
    expected = {"One": [1, 2, 3], "Level": [{"X": 1}, {"X": 2}], "Lone": 1.0}
    assert legacy_xml.decode(content.encode()) == expected


def test_xml_with_byte_order_mark_and_trailing_nul() -> None:
    text = document("Root", {"wsName": "λ", "iA": 1})
    assert legacy_xml.decode(b"\xef\xbb\xbf" + text.encode() + b"\0garbage") == {"Name": "λ", "A": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged"),
        ("<A><B></A>", "damaged"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "document type"),
        ("<a>" * 5000 + "</a>" * 5000, "nests more than"),
    ],
)
def test_damaged_xml(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        legacy_xml.decode(text.encode())
