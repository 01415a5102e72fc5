"""The XML variant: values survive the round trip, unusual trees are read, other text raises an error."""

from __future__ import annotations

import math
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nd2._core.format import clx_xml
from nd2._core.format.clx_lite import I32, I64, MAX_DEPTH, U32, U64, Items
from nd2._core.format.clx_xml import decode, decode_items, encode
from tests.legacy_builder import document

PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'


def variant(content: str) -> bytes:
    return f'{PROLOG}<variant version="1.0">{content}</variant>'.encode()


LETTERS = string.ascii_letters + "_"
NAMES = st.builds(
    str.__add__, st.sampled_from(LETTERS), st.text(st.sampled_from(LETTERS + string.digits + ".-"), max_size=6)
).filter(lambda name: name not in ("no_name", "BinaryItem", "TextInfoItem", "Wavelength", "MinSrc", "MaxSrc"))
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1).map(I32),
    st.integers(0, 2**32 - 1).map(U32),
    st.integers(-(2**63), 2**63 - 1).map(I64),
    st.integers(0, 2**64 - 1).map(U64),
    st.floats(allow_nan=False),
    TEXT | st.sampled_from(["\t a\r\nb ", "<&>\"'", "&amp;"]),
)
TREES = st.dictionaries(
    NAMES, st.recursive(SCALARS, lambda inner: st.dictionaries(NAMES, inner, max_size=5), max_leaves=10)
)
ITEMS = st.recursive(
    SCALARS | st.binary(),
    lambda inner: st.lists(st.tuples(NAMES | st.just(""), inner), max_size=5).map(Items),
    max_leaves=10,
)


@given(TREES)
def test_decode_inverts_encode(tree: dict[str, Any]) -> None:
    assert decode(encode(tree)) == tree


@given(st.lists(st.tuples(NAMES | st.just(""), ITEMS)).map(Items))
def test_decode_items_inverts_encode(items: Items) -> None:
    decoded = decode_items(encode(items))
    assert decoded == items
    assert encode(decoded) == encode(items)


def test_lists_leave_gaps_where_items_are_falsy() -> None:
    data = encode({"a": [True, False, 2.0], "b": [0, ""], "c": False})
    assert decode(data) == {"a": {"i0000000000": True, "i0000000002": 2.0}, "b": {}, "c": False}
    assert decode_items(data)[0] == ("a", [("", True), ("", False), ("", 2.0)])


def test_a_document_of_one_unnamed_level_is_that_level() -> None:
    data = variant('<no_name runtype="RLxExperiment"><eType runtype="lx_uint32" value="1"/></no_name>')
    assert decode(data) == {"eType": 1}
    assert decode(encode({"uLoopPars": [{"uiCount": 3}]})) == {"uLoopPars": {"i0000000000": {"uiCount": 3}}}


def test_scalars_as_they_are_written() -> None:
    data = variant(
        '<a runtype="bool" value="TRUE"/><b runtype="bool" value="1"/><c runtype="bool" value="no"/>'
        '<d runtype="double" value="inf"/><e runtype="float" value="garbage"/>'
        '<f runtype="lx_int32" value="-5"/><g runtype="lx_uint64" value="garbage"/>'
        '<h runtype="unknown" value="x &amp; y"/><i runtype="CLxByteArray" value="AQI="/>'
        '<j runtype="CLxStringW"/>'
    )
    tree = decode(data)
    assert math.isnan(tree.pop("e"))
    assert tree == {
        "a": True,
        "b": True,
        "c": False,
        "d": math.inf,
        "f": -5,
        "g": None,
        "h": "x & y",
        "i": b"AQI=",
        "j": "",
    }
    assert ("i", b"\1\2") in decode_items(data)


def test_prefixes_are_stripped_unless_nothing_else_is_left() -> None:
    data = encode({"m_sName": 1, "left": 2, "a0": 3, "l": [4]})
    assert decode(data, strip_prefix=True) == {"Name": 1, "left": 2, "0": 3, "l": {"i0000000000": 4}}


def test_repeated_items_are_a_list() -> None:
    data = variant(
        '<BinaryMetadata_v1 runtype="CLxListVariant">'
        '<BinaryItem runtype="CLxListVariant"><strName runtype="CLxStringW" value="one"/></BinaryItem>'
        '<BinaryItem runtype="CLxListVariant"><strName runtype="CLxStringW" value="two"/></BinaryItem>'
        "</BinaryMetadata_v1>"
    )
    assert decode(data, strip_prefix=True) == {
        "BinaryMetadata_v1": {"i0000000000": {"Name": "one"}, "i0000000001": {"Name": "two"}}
    }


@pytest.mark.parametrize(("version", "content"), [("1.000000", {"x": "1"}), ("1.100000", {})])
def test_documents_of_their_own_keep_their_root(version: str, content: dict[str, str]) -> None:
    data = f'<Report _VERSION="{version}"><Item x="1"/></Report>'.encode()
    assert decode(data)["Report"]["Item"] == content
    assert decode_items(data)[0][0] == "Report"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings_whatever_the_prolog_says(encoding: str) -> None:
    text = PROLOG + '<variant><s runtype="CLxStringW" value="µm"/></variant>'
    assert decode(text.encode(encoding)) == {"s": "µm"}


@pytest.mark.parametrize("tail", [b"\0\0", b"\n", b"junk", b"</x>", b"<more/>"])
def test_what_follows_the_document_is_ignored(tail: bytes) -> None:
    assert decode(encode({"n": 1, "s": "x"}) + tail) == {"n": 1, "s": "x"}


def test_characters_that_xml_does_not_allow_are_dropped() -> None:
    data = variant('<s runtype="CLxStringW" value="a\x01b\xff & c"/><n runtype="lx_int32" value="1"/>')
    data = data.replace("\xff".encode(), b"\xff")
    assert decode(data) == {"s": "ab & c", "n": 1}


def test_a_cut_tail_keeps_the_elements_before_it() -> None:
    whole = encode({"n": 1, "level": {"m": 2, "s": "x"}})
    trees = []
    for end in range(len(whole)):
        try:
            trees.append(decode(whole[:end]))
        except ValueError as error:
            assert "XML" in str(error)  # noqa: PT017 - most cuts give a tree
    assert {"n": 1, "level": {"m": 2}} in trees
    assert trees[-1] == decode(whole)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0",
        b"hello",
        b"\xff\xfe\xff",
        b'<!DOCTYPE v [<!ENTITY a "aaaa">]><variant><s runtype="CLxStringW" value="&a;"/></variant>',
        b"<a>" * (MAX_DEPTH + 2),
        b"<a>" * 100_000,
    ],
)
def test_what_is_not_a_document_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"XML|deeper"):
        decode(data)
    with pytest.raises(ValueError, match=r"XML|deeper"):
        decode_items(data)


@given(st.binary(max_size=100))
def test_any_bytes_decode_or_are_refused(junk: bytes) -> None:
    whole = encode({"n": 1, "level": {"m": 2, "s": "x"}})
    for data in (junk, whole[:90] + junk, whole[:80] + junk + whole[80:]):
        try:
            tree = decode(data)
        except ValueError:
            continue
        assert isinstance(tree, dict)


@pytest.mark.parametrize(
    ("tree", "error"),
    [
        ({"uiCon20(L": 1}, ValueError),
        ({"s": "a\0b"}, ValueError),
        ({"n": U32(-1)}, ValueError),
        ({"n": 2**64}, ValueError),
        ({"n": None}, TypeError),
    ],
)
def test_what_cannot_be_stored_is_refused(tree: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        encode(tree)


def decoded(inner: str) -> dict[str, Any]:
    return clx_xml.decode_legacy(f"<Root><no_name>{inner}<iLast/></no_name></Root>".encode())


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
    assert clx_xml.decode_legacy(content.encode()) == expected


def test_xml_with_byte_order_mark_and_trailing_nul() -> None:
    text = document("Root", {"wsName": "λ", "iA": 1})
    assert clx_xml.decode_legacy(b"\xef\xbb\xbf" + text.encode() + b"\0garbage") == {"Name": "λ", "A": 1}


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
        clx_xml.decode_legacy(text.encode())
