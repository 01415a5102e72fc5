"""CLX-lite: what is encoded comes back, what is damaged is refused."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nd2._core.format.clx_lite import I32, I64, MAX_DEPTH, U32, U64, Budget, Items, decode, decode_items, encode
from tests.builder import compressed

if TYPE_CHECKING:
    from collections.abc import Callable

# A tree with a list in it, byte for byte as in files.
EXAMPLE = bytes.fromhex(
    "0b02 5300 0000 04000000 6a00000000000000"
    "0304 7500 6900 4e00 0000 02000000"
    "0603 6400 5400 0000 000000000000f83f"
    "0803 7300 4100 0000 6800 6900 0000"
    "0b02 7600 0000 02000000 1c00000000000000 0101 0000 01 0101 0000 00"
    "1200000000000000 1700000000000000"
    "2000000000000000 3000000000000000 1200000000000000 3e00000000000000".replace(" ", "")
)
EXAMPLE_TREE = {"S": {"uiN": U32(2), "dT": 1.5, "sA": "hi", "v": [True, False]}}

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NAMES = TEXT.filter(bool)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1).map(I32),
    st.integers(0, 2**32 - 1).map(U32),
    st.integers(-(2**63), 2**63 - 1).map(I64),
    st.integers(0, 2**64 - 1).map(U64),
    st.floats(allow_nan=False),
    TEXT,
)
DICTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, min_size=1, max_size=5) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=15,
)
ITEMS = st.recursive(
    SCALARS | st.binary(), lambda inner: st.lists(st.tuples(TEXT, inner), max_size=5).map(Items), max_leaves=15
)
ENCODERS = st.sampled_from([encode, compressed])


def listed(value: Any) -> Any:
    """Return a tree with its lists as `decode` gives them."""
    if isinstance(value, list):
        return {f"i{i:010d}": listed(item) for i, item in enumerate(value)}
    return {name: listed(item) for name, item in value.items()} if isinstance(value, dict) else value


def level(count: int, length: int, children: bytes) -> bytes:
    return struct.pack("<BBHIQ", 11, 1, 0, count, length) + children


def types(items: Items) -> list[Any]:
    return [types(value) if isinstance(value, Items) else type(value) for _, value in items]


def test_the_worked_example_byte_for_byte() -> None:
    assert encode(EXAMPLE_TREE) == EXAMPLE
    assert decode(EXAMPLE) == {"S": {"uiN": 2, "dT": 1.5, "sA": "hi", "v": {"i0000000000": True, "i0000000001": False}}}


@given(st.dictionaries(NAMES, DICTS), ENCODERS)
def test_decode_inverts_encode(tree: dict[str, Any], encoder: Callable[[Any], bytes]) -> None:
    assert decode(encoder(tree)) == listed(tree)


@given(st.lists(st.tuples(TEXT, ITEMS)).map(Items), ENCODERS)
def test_decode_items_inverts_encode(items: Items, encoder: Callable[[Any], bytes]) -> None:
    data = encoder(items)
    decoded = decode_items(data)
    assert decoded == items
    assert types(decoded) == types(items)
    assert encoder(decoded) == data


@given(st.integers(-(2**63), 2**64 - 1))
def test_a_plain_integer_comes_back(value: int) -> None:
    assert decode(encode({"n": value})) == {"n": value}


def test_a_memoryview_decodes_as_bytes_do() -> None:
    assert decode(memoryview(EXAMPLE)) == decode(EXAMPLE)


def test_repeated_names() -> None:
    data = encode({"Z": Items([("dZLow", 1.0), ("b", True), ("dZLow", 2.0)])})
    assert decode(data) == {"Z": {"dZLow": 2.0, "b": True}}
    assert decode_items(data) == [("Z", [("dZLow", 1.0), ("b", True), ("dZLow", 2.0)])]


def test_unnamed_children_among_named_ones() -> None:
    one = encode({"a": Items([("n", 1), ("", 2)])})
    two = encode({"a": Items([("", 3), ("n", 1), ("", 2)])})
    assert decode(one) == {"a": {"n": 1, "": 2}}
    assert decode(two) == {"a": {"n": 1, "": [3, 2]}}


def test_long_lists_have_ten_digit_keys() -> None:
    assert list(decode(encode({"v": list(range(70))}))["v"])[69] == "i0000000069"


@pytest.mark.parametrize(
    ("stored", "stripped"),
    [
        ("uiWidth", "Width"),
        ("m_sName", "Name"),
        ("uiCon20(L", "Con20(L"),
        ("sizeObjFullChip.cx", "ObjFullChip.cx"),
        ("a0", "0"),
        ("2PerMPoint", "2PerMPoint"),
    ],
)
def test_prefixes_are_stripped(stored: str, stripped: str) -> None:
    assert decode(encode({stored: 1}), strip_prefix=True) == {stripped: 1}
    assert decode(encode({stored: 1})) == {stored: 1}


def test_names_that_are_all_prefix_become_a_list() -> None:
    rect = {"left": 1, "top": 2, "right": 3}
    assert decode(encode({"Rect": rect}), strip_prefix=True) == {
        "Rect": {"i0000000000": 1, "i0000000001": 2, "i0000000002": 3}
    }


def test_a_byte_array_is_the_tree_in_it_or_a_list_of_integers() -> None:
    inner = encode({"CLxTable": {"uiN": 7}})
    for nested in (inner, compressed({"CLxTable": {"uiN": 7}})):
        assert decode(encode({"ba": nested})) == {"ba": {"CLxTable": {"uiN": 7}}}
        assert decode_items(encode({"ba": nested})) == [("ba", nested)]
    assert decode(encode({"p": b"\1\1\0\1"})) == {"p": [1, 1, 0, 1]}
    assert decode(encode({"p": b""})) == {"p": []}
    assert decode(encode({"p": inner + b"\1"})) == {"p": list(inner + b"\1")}


def test_records_that_decoders_disagree_on() -> None:
    name = b"n\0\0\0"
    assert decode(b"\1\2" + name + b"\x74") == {"n": True}  # a boolean other than 0 and 1
    assert decode(b"\7\2" + name + struct.pack("<Q", 2) + b"\5\6") == {"n": [5, 6]}
    assert decode(b"\7\2" + name + struct.pack("<Q", 99)) == {"n": 99}
    assert decode(b"\1\0\1") == {"i0000000000": True}  # no name at all, not even its NUL
    assert decode(b"") == {}
    assert decode(EXAMPLE + b"\0" * 9) == decode(EXAMPLE)
    assert decode(EXAMPLE + b"\1\2" + name + b"\1") == {**decode(EXAMPLE), "n": True}


def test_a_child_of_unknown_type_is_skipped() -> None:
    tree = Items([("a", 1), ("b", "gone"), ("c", 3)])
    data = bytearray(encode({"S": tree}))
    data[data.index(b"\x08\x02b")] = 10
    assert decode(bytes(data)) == {"S": {"a": 1, "c": 3}}
    with pytest.raises(ValueError, match="unknown type 10"):
        decode(b"\x0a\x01\0\0")


@pytest.mark.parametrize("encoder", [encode, compressed])
def test_any_truncation_is_an_error(encoder: Callable[[Any], bytes]) -> None:
    data = encoder(EXAMPLE_TREE)
    for end in range(1, len(data)):
        with pytest.raises(ValueError, match=r"metadata"):
            decode(data[:end])
        with pytest.raises(ValueError, match=r"metadata"):
            decode_items(data[:end])


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    for payload in (data, b"LV0Z" + data, level(2, 12 + len(data), data), EXAMPLE[:60] + data):
        try:
            tree = decode(payload)
        except ValueError:
            continue
        assert isinstance(tree, dict)


@given(st.integers(0, len(EXAMPLE) - 1), st.integers(0, 255))
def test_one_wrong_byte_decodes_or_is_refused(at: int, byte: int) -> None:
    data = bytearray(EXAMPLE)
    data[at] = byte
    try:
        tree = decode(bytes(data))
    except ValueError:
        return
    assert isinstance(tree, dict)


@pytest.mark.parametrize(
    "data",
    [
        level(0xFFFFFFFF, 16, b""),
        level(1, 2**64 - 1, b"\1\0\1"),
        level(0, 0, b""),
        level(1, 0, b""),
        b"\x09\x01\0\0" + struct.pack("<Q", 2**64 - 1),
        b"\x09\x01\0\0" + struct.pack("<Q", 100) + b"\0" * 99,
        b"\x08\x01\0\0x\0",
        b"\x08\x01\0\0\x00\x01\0\0\x01",
    ],
)
def test_lengths_and_counts_that_do_not_fit_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="metadata"):
        decode(data)


def test_a_string_of_units_with_zero_bytes_ends_where_it_ends() -> None:
    text = "aĀbĀ\x01Ā"  # low and high bytes of neighbors are zero
    assert decode(encode({"s": text, "t": ""})) == {"s": text, "t": ""}


def test_deep_nesting_is_refused() -> None:
    data = b""
    for _ in range(MAX_DEPTH + 1):
        data = level(1, 16 + len(data), data) + struct.pack("<Q", 16)
    with pytest.raises(ValueError, match="deeper"):
        decode(data)
    tree: dict[str, Any] = {}
    for _ in range(MAX_DEPTH):
        tree = {"a": tree}
    assert decode(encode(tree)) == tree
    with pytest.raises(ValueError, match="deeper"):
        encode({"a": tree})


def test_byte_arrays_within_byte_arrays_end_as_bytes() -> None:
    data = encode({"n": 1})
    for _ in range(50):
        data = encode({"ba": data})
    tree: Any = decode(data)
    depth = 0
    while isinstance(tree, dict):
        tree, depth = tree["ba"], depth + 1
    assert isinstance(tree, list)
    assert 2 < depth < 20


def test_bombs_are_refused_before_they_are_inflated() -> None:
    bomb = zlib.compress(bytes(1 << 24), 9)
    claims_more = b"LV0Z" + struct.pack("<Q", 1 << 40) + bomb
    claims_less = b"LV0Z" + struct.pack("<Q", 1 << 10) + bomb
    inner = compressed({"a": 1})
    twice = b"LV0Z" + struct.pack("<Q", len(inner)) + zlib.compress(inner)
    tracemalloc.start()
    for data in (claims_more, claims_less, twice):
        with pytest.raises(ValueError, match="metadata"):
            decode(data)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_compressed_tree_within_compressed_metadata_stays_bytes() -> None:
    inner = compressed({"a": 1})
    assert decode(encode({"aInner": inner}))["aInner"] == {"a": 1}
    assert decode(compressed({"aInner": inner}))["aInner"] == list(inner)
    plain = encode({"aInner": inner})
    assert decode(compressed({"aOuter": plain}))["aOuter"] == {"aInner": list(inner)}


def test_compressed_data_that_is_damaged_is_refused() -> None:
    data = bytearray(compressed(EXAMPLE_TREE))
    data[20] ^= 0xFF
    with pytest.raises(ValueError, match="inflate"):
        decode(bytes(data))


@pytest.mark.parametrize(
    ("tree", "error"),
    [
        ({"n" * 255: 1}, ValueError),
        ({"s": "a\0b"}, ValueError),
        ({"n": U32(-1)}, ValueError),
        ({"n": I32(2**31)}, ValueError),
        ({"n": 2**64}, ValueError),
        ({"n": None}, TypeError),
    ],
)
def test_what_cannot_be_stored_is_refused(tree: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        encode(tree)


def test_the_longest_name_fits() -> None:
    assert decode(encode({"n" * 254: 1})) == {"n" * 254: 1}


def test_the_offset_table_is_sorted_by_name() -> None:
    data = encode({"S": {"b": 1, "a": 2}})
    (first, second) = struct.unpack("<2Q", data[-16:])
    assert data[first:][:3] == b"\x02\x02a"
    assert data[second:][:3] == b"\x02\x02b"


def test_levels_are_left_out_by_name() -> None:
    tree = {"a": {"skip": {"x": 1.0}, "y": 2.0}, "skip": {"a": {"z": 1.0}}, "end": "text"}
    data = encode(tree)
    assert decode(data, partial={"skip": ()}) == {"a": {"y": 2.0}, "end": "text"}
    assert decode(data, partial={"y": (), "end": ()}) == tree  # they are not levels


def test_children_of_a_level_are_decoded_by_name() -> None:
    children = {"a": U32(1), "b": "text", "c": {"d": 2.0}, "e": True, "bb": 3.0}
    data = encode({"level": children, "rest": {"a": U32(4), "b": "x"}})
    partial = {"level": ("b", "c", "absent")}
    expected = {"level": {"b": "text", "c": {"d": 2.0}}, "rest": {"a": 4, "b": "x"}}
    assert decode(data, partial=partial) == expected
    assert decode(compressed(decode_items(data)), partial=partial) == expected


@pytest.mark.parametrize("where", ["value", "table"])
def test_a_level_is_decoded_whole_if_names_are_not_certain(where: str) -> None:
    hidden = "\u0221b"  # its end has the bytes of a record named "b"
    tree = {"level": {"a": hidden if where == "value" else "x", "b": U32(1), "c": U32(2)}}
    data = bytearray(encode(tree))
    if where == "table":
        data[-24:] = bytes(24)
    whole = decode(bytes(data))
    assert decode(bytes(data), partial={"level": ("b",)})["level"]["b"] == whole["level"]["b"] == 1


def test_values_of_a_tree_are_bounded_by_its_bytes() -> None:
    """The limit: 65,536 values and one for each 8 bytes (compressed: 2 bytes)."""
    bools = b"\x01\x00\x01" * 600_000  # without names, at the root
    with pytest.raises(ValueError, match="more values than their bytes are worth"):
        decode(compressed({"a": [True] * 300_000}))
    assert len(decode(compressed({"a": [True] * 60_000}))["a"]) == 60_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more values"):
            decode(bools)
        assert tracemalloc.get_traced_memory()[1] < (32 << 20) + 40 * len(bools)
    finally:
        tracemalloc.stop()


def test_lists_of_bytes_count_as_values() -> None:
    data = compressed({"a": bytes(3_000_000)})
    with pytest.raises(ValueError, match="metadata"):
        decode(data)
    plain = encode({"a": bytes(3_000_000)})
    assert len(decode(plain)["a"]) == 3_000_000


def test_trees_share_a_budget() -> None:
    data = b"\x01\x00\x01" * 60_000
    budget = Budget()
    decode(data, budget=budget)
    with pytest.raises(ValueError, match="more values"):
        decode(data, budget=budget)
