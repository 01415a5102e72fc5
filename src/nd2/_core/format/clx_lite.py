"""CLX-lite, the binary tree ("lite variant") in which version 3 files keep their metadata.

A record is a type byte, the length of its name in UTF-16 units (with the terminating NUL), the name, and a value. A
level holds child records and, after them, a table of their offsets sorted by name. As observed in real files.

`decode` returns the dictionary of ``unstructured_metadata``; `decode_items` loses nothing; `encode`
writes either of them. Integers have their stored type: `I32`, `U32`, `I64`, `U64`.
"""

from __future__ import annotations

import codecs
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from nd2._core import errors
from nd2._core.format.inflate import inflate_bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

Parts: TypeAlias = "Mapping[str, Collection[str]]"
"""Names of the needed children of some levels, by the name of the level."""

_BOOL, _I32, _U32, _I64, _U64, _F64, _POINTER, _STRING, _BYTES = range(1, 10)
_LEVEL = 11

MAX_DEPTH: Final = 100
"""Deepest nesting of levels that is read or written; files by NIS-Elements stay below twenty."""
TYPE_PREFIX: Final = "_abcdefghijklmnopqrstuvwxyz"
"""Letters of the type prefix of a name: ``uiCount`` is ``Count``."""

_COMPRESSED: Final = b"LV0Z"
_MAX_INFLATED: Final = 1 << 28
"""Bytes that a compressed payload may inflate to; real ones stay below a few MB."""
_MAX_INFLATION: Final = 32
_SMALL_INFLATED: Final = 1 << 20
"""A payload that inflates to more, and by a higher ratio, is hostile: trees take many times more."""
_SPARE_VALUES: Final = 1 << 16
_BYTES_PER_VALUE: Final = 8
"""Values of a tree take 40 bytes and more in real files; those made to fill the memory take 3."""
_COMPRESSED_BYTES_PER_VALUE: Final = 2
_BYTES_OF_LIST: Final = 32
"""Items of a list of bytes that take the memory of one value, some 250 bytes."""
_NESTING_COST: Final = MAX_DEPTH // 8
"""Levels that a tree within a byte array counts as: each is a copy of its content."""

_i32 = Struct("<i").unpack_from
_u32 = Struct("<I").unpack_from
_i64 = Struct("<q").unpack_from
_u64 = Struct("<Q").unpack_from
_f64 = Struct("<d").unpack_from
_level = Struct("<IQ").unpack_from
_pack_u64 = Struct("<Q").pack
# four times as fast as bytes.decode, which looks the codec up each time
_text = codecs.utf_16_le_decode


class I32(int):
    """An integer stored in 32 bits."""


class U32(int):
    """An unsigned integer stored in 32 bits."""


class I64(int):
    """An integer stored in 64 bits."""


class U64(int):
    """An unsigned integer stored in 64 bits."""


def is_xml(data: bytes) -> bool:
    """Return whether a payload is a document of the XML variant, and not a tree of this one."""
    return data[:64].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0")[:1] == b"<"


def without_prefix(name: str) -> str:
    """Return a name without its type prefix; one that consists of nothing else stays."""
    return name.lstrip(TYPE_PREFIX) or name


class Budget:
    """How many values the trees of some payloads may hold together, so that they cannot fill the memory.

    65,536, and one for each 8 bytes of a payload (compressed: 2 bytes).
    """

    def __init__(self) -> None:
        self.left: int = _SPARE_VALUES

    def add(self, data: bytes) -> None:
        """Add what a payload may hold."""
        compressed = data.startswith(_COMPRESSED)
        self.left += len(data) // (_COMPRESSED_BYTES_PER_VALUE if compressed else _BYTES_PER_VALUE)

    def take(self, count: int) -> None:
        """Take some values."""
        self.left -= count
        if self.left < 0:
            raise errors.corrupt("the metadata hold more values than their bytes are worth")


class Items(list[tuple[str, Any]]):
    """Children of a level in stored order: pairs of name ("" for unnamed ones) and value."""

    __slots__ = ()


_INTEGERS: Final[Mapping[type[int], tuple[int, Struct, range]]] = {
    I32: (_I32, Struct("<i"), range(-(1 << 31), 1 << 31)),
    I64: (_I64, Struct("<q"), range(-(1 << 63), 1 << 63)),
    U64: (_U64, Struct("<Q"), range(1 << 64)),
    U32: (_U32, Struct("<I"), range(1 << 32)),
}
"""Type byte, form and values of the stored integers, in the order in which a plain one tries them."""
_INTEGER_TYPES: Final = {code: kind for kind, (code, _, _) in _INTEGERS.items()}


def integer_type(value: int) -> type[int]:
    """Return the stored type of an integer: its own, or for a plain one the first that holds it."""
    kinds = [type(value)] if type(value) in _INTEGERS else _INTEGERS
    for kind in kinds:
        if int(value) in _INTEGERS[kind][2]:
            return kind
    raise ValueError(f"{value} does not fit an integer of the metadata")


def decode(
    data: bytes | memoryview, *, strip_prefix: bool = False, partial: Parts | None = None, budget: Budget | None = None
) -> dict[str, Any]:
    """Decode a payload to nested dictionaries.

    Unnamed children get the keys ``i0000000000``, ``i0000000001``, ... Among named children, the
    unnamed ones become a list (a single one itself) under ``""``. The last of children with
    the same name wins; `decode_items` keeps all. A byte array becomes the tree that it encodes, or else a
    list of integers. Children that are not in ``partial`` are usually not decoded, and a level of which no
    child is needed is left out.
    """
    names = _STRIPPED_NAMES if strip_prefix else _NAMES
    tree: dict[str, Any] = _decode(data, names, budget or Budget(), partial or {}, lossless=False)
    return tree


def decode_items(data: bytes | memoryview) -> Items:
    """Decode without loss: levels as `Items`, integers with their type, byte arrays as bytes.

    A tree that a byte array encodes can be decoded in turn. Values are those that `encode` takes.
    """
    tree: Items = _decode(data, _NAMES, Budget(), {}, lossless=True)
    return tree


class _Names(dict[bytes, str]):
    """Stored name -> name, filled on demand.

    Shared by all payloads, which have the same few hundred names: a look-up costs a fifth of
    decoding. It is cleared when it exceeds what real files need.
    """

    _MAX_NAMES: Final = 4096

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __missing__(self, raw: bytes) -> str:
        if len(self) >= self._MAX_NAMES:
            self.clear()
        name = _text(raw, "replace")[0].partition("\0")[0].lstrip(self._prefix)
        self[raw] = name
        return name


_NAMES: Final = _Names("")
_STRIPPED_NAMES: Final = _Names(TYPE_PREFIX)


def _decode(data: bytes | memoryview, names: _Names, budget: Budget, partial: Parts, *, lossless: bool) -> Any:
    data = bytes(data)
    budget.add(data)
    try:
        return _payload(data, names, lossless, 0, budget, partial, compressible=True)
    except (IndexError, struct_error):
        raise errors.corrupt("a metadata record ends too early", offset=len(data)) from None


def _payload(
    data: bytes, cache: _Names, lossless: bool, depth: int, budget: Budget, partial: Parts, *, compressible: bool
) -> Any:
    """Decode all records of a payload; zero bytes may follow them."""
    if data.startswith(_COMPRESSED):
        if not compressible:  # no real file does that; a chain of bombs would
            raise errors.corrupt("compressed metadata within compressed metadata")
        data, compressible = _inflate(data), False

    finish: Callable[[list[str], list[Any]], Any] = _as_items if lossless else _as_dict

    def records(pos: int, start: int, end: int, count: int, depth: int, names: list[str], values: list[Any]) -> int:
        """Append ``count`` records from ``pos`` on to the lists; return the position after them.

        Their level begins at ``start`` and has its offset table at ``end``, before which they end;
        the root has no table and starts at -1. One loop for all types, the frequent ones first:
        this is what opening a file costs.
        """
        starts: list[int] | None = None
        value: Any
        budget.take(count)
        for _ in range(count):
            kind = data[pos]
            at = pos + 2 + 2 * data[pos + 1]
            name = cache[data[pos + 2 : at]]
            if kind == _U32:
                value = _u32(data, at)[0]
                pos = at + 4
            elif kind == _STRING:
                stop = data.find(b"\0\0", at)
                while (stop - at) & 1 and stop >= 0:  # the zero bytes of two neighbors
                    stop = data.find(b"\0\0", stop + 1)
                if stop < 0:
                    raise errors.corrupt("a metadata string has no end", offset=at)
                value = _text(data[at:stop], "replace")[0]
                pos = stop + 2
            elif kind == _F64:
                value = _f64(data, at)[0]
                pos = at + 8
            elif kind == _LEVEL:
                n, length = _level(data, at)
                stop = pos + length
                if not at + 12 <= stop <= end - 8 * n:
                    raise errors.corrupt("a metadata level does not fit its parent", offset=pos)
                if depth >= MAX_DEPTH:
                    raise errors.corrupt(f"metadata levels nest deeper than {MAX_DEPTH}", offset=pos)
                wanted = partial.get(name)
                if wanted is not None and not wanted:
                    pos = stop + 8 * n
                    continue
                below: tuple[list[str], list[Any]] = [], []
                firsts = None if wanted is None else _starts_of(data, wanted, pos, stop, n)
                if firsts is None:
                    records(at + 12, pos, stop, n, depth + 1, *below)
                else:
                    for first in firsts:
                        records(first, pos, stop, 1, depth + 1, *below)
                value = finish(*below)
                pos = stop + 8 * n
            elif kind == _I32:
                value = _i32(data, at)[0]
                pos = at + 4
            elif kind == _BOOL:
                value = data[at] != 0
                pos = at + 1
            elif kind == _BYTES:
                pos = at + 8 + _u64(data, at)[0]
                if pos > end:
                    raise errors.corrupt("a metadata byte array does not fit its parent", offset=at)
                value = data[at + 8 : pos]
                if not lossless:
                    value = _nested(value, cache, depth, budget, compressible)
            elif kind == _I64:
                value = _i64(data, at)[0]
                pos = at + 8
            elif kind == _U64:
                value = _u64(data, at)[0]
                pos = at + 8
            elif kind == _POINTER:
                # never seen in a real file: a length with its bytes, or else a number
                value = _u64(data, at)[0]
                pos = at + 8
                if value <= end - pos:
                    value, pos = data[pos : pos + value], pos + value
                    value = value if lossless else _byte_list(value, budget)
            else:
                if starts is None:
                    starts = _starts(data, pos, start, end)
                pos = starts[bisect_right(starts, pos)]
                continue
            if pos > end:
                raise errors.corrupt("a metadata record does not fit its parent", offset=at)
            if lossless and kind in _INTEGER_TYPES:
                value = _INTEGER_TYPES[kind](value)
            names.append(name)
            values.append(value)
        return pos

    root: tuple[list[str], list[Any]] = [], []
    pos = 0
    while pos < len(data) and (data[pos] or data.count(0, pos) < len(data) - pos):
        pos = records(pos, -1, len(data), 1, depth, *root)
    return finish(*root)


def _as_items(names: list[str], values: list[Any]) -> Items:
    return Items(zip(names, values, strict=True))


def _as_dict(names: list[str], values: list[Any]) -> dict[str, Any]:
    tree = dict(zip(names, values, strict=True))
    if "" in tree:
        if len(tree) == 1:
            return {f"i{i:010d}": value for i, value in enumerate(values)}
        unnamed = [value for name, value in zip(names, values, strict=True) if not name]
        tree[""] = unnamed if len(unnamed) > 1 else unnamed[0]
    return tree


def _nested(raw: bytes, cache: _Names, depth: int, budget: Budget, compressible: bool) -> Any:
    """Return the tree that fills a byte array, or else a list of its bytes."""
    depth += _NESTING_COST
    looks_like_tree = len(raw) >= 4 and ((1 <= raw[0] <= 11 and raw[1] >= 2) or raw.startswith(_COMPRESSED))
    if looks_like_tree and depth < MAX_DEPTH:
        try:
            tree = _payload(raw, cache, False, depth, budget, {}, compressible=compressible)
        except (ValueError, IndexError, struct_error):
            return _byte_list(raw, budget)
        if tree:
            return tree
    return _byte_list(raw, budget)


def _byte_list(raw: bytes, budget: Budget) -> list[int]:
    budget.take(len(raw) // _BYTES_OF_LIST)
    return list(raw)


def _starts(data: bytes, pos: int, start: int, end: int) -> list[int]:
    """Return the start of each record of a level, and its end, to skip records of unknown type."""
    if start < 0:
        raise errors.corrupt(f"a metadata record has the unknown type {data[pos]}", offset=pos)
    count = _u32(data, start + 2 + 2 * data[start + 1])[0]
    table = Struct("<Q").iter_unpack(data[end : end + 8 * count])
    return [*sorted(start + at for (at,) in table if at <= end - start), end]


def _starts_of(data: bytes, names: Collection[str], start: int, end: int, count: int) -> list[int] | None:
    """Return the starts of the records of a level that have one of some names; None if the level must be decoded."""
    table = frozenset(Struct(f"<{count}Q").unpack_from(data, end))
    starts = []
    for name in names:
        raw = bytes([len(name) + 1]) + f"{name}\0".encode("utf-16-le")
        at = data.find(raw, start, end)
        while at >= 0:
            if at - 1 - start not in table:  # a part of a value, or a damaged table
                return None
            starts.append(at - 1)
            at = data.find(raw, at + 1, end)
    return starts


def _inflate(data: bytes) -> bytes:
    size = _u64(data, 4)[0]
    if size > min(_MAX_INFLATED, _SMALL_INFLATED + _MAX_INFLATION * len(data)):
        raise errors.corrupt(f"compressed metadata claims {size} bytes, more than it can hold")
    try:
        plain = inflate_bounded(data[12:], size)
    except errors.CorruptFileError as error:
        raise errors.corrupt(f"compressed metadata does not inflate: {error.bare}") from None
    if len(plain) != size:
        raise errors.corrupt(f"compressed metadata does not inflate to the {size} bytes it claims")
    return plain


def encode(tree: Mapping[str, Any] | Items) -> bytes:
    """Encode a tree as a payload that `decode` and `decode_items` read.

    Values are bool, int, float, str, bytes, mappings, `Items`, lists and tuples. Mappings and `Items`
    become levels with named children, other lists and tuples levels with unnamed ones. A plain int is
    stored as the first of `I32`, `I64`, `U64` that holds it; an instance of these types, or of `U32`,
    as that type. For a tree within a byte array, encode it first.
    """
    return b"".join(_record(name, value, 0) for name, value in pairs(tree))


def pairs(level: Mapping[str, Any] | Sequence[Any]) -> list[tuple[str, Any]]:
    """Return names and values of the children of a level; items of a list have no name."""
    if isinstance(level, Mapping):
        return list(level.items())
    return level if isinstance(level, Items) else [("", item) for item in level]


def _record(name: str, value: Any, depth: int) -> bytes:
    name_bytes = _utf16(name)
    if len(name_bytes) > 2 * 255:
        raise ValueError(f"metadata name of {len(name_bytes) // 2 - 1} UTF-16 units; at most 254 fit")
    kind, packed = _value(value, 2 + len(name_bytes), depth)
    return bytes((kind, len(name_bytes) // 2)) + name_bytes + packed


def _value(value: Any, head: int, depth: int) -> tuple[int, bytes]:
    """Return the type and the encoded value of a record whose type and name take ``head`` bytes."""
    match value:
        case bool():
            return _BOOL, bytes((value,))
        case int():
            kind, form, _ = _INTEGERS[integer_type(value)]
            return kind, form.pack(value)
        case float():
            return _F64, Struct("<d").pack(value)
        case str():
            return _STRING, _utf16(value)
        case bytes() | bytearray() | memoryview():
            return _BYTES, _pack_u64(memoryview(value).nbytes) + bytes(value)
        case Mapping() | list() | tuple():
            return _LEVEL, _children(pairs(value), head, depth)
    raise TypeError(f"{type(value).__name__} has no form in CLX-lite metadata")


def _children(children: list[tuple[str, Any]], head: int, depth: int) -> bytes:
    """Encode the rest of a level: count, length, children, and their offsets sorted by name."""
    if depth >= MAX_DEPTH:
        raise ValueError(f"metadata levels nest deeper than {MAX_DEPTH}")
    records = [_record(name, value, depth + 1) for name, value in children]
    *offsets, end = accumulate(map(len, records), initial=head + 12)
    table = [at for _, at in sorted(zip((name for name, _ in children), offsets, strict=True))]
    count = len(records)
    return Struct("<IQ").pack(count, end) + b"".join(records) + Struct(f"<{count}Q").pack(*table)


def _utf16(text: str) -> bytes:
    if "\0" in text:
        raise ValueError("metadata text holds a NUL character")
    return text.encode("utf-16-le") + b"\0\0"
