"""The form that the user filled in."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from nd2._core import errors
from nd2._core.chunks import form
from nd2._core.format import clx_lite
from nd2._core.format.clx_lite import Items
from tests.trees import LEAVES

KEYS = st.sampled_from(["CLxCustomDescription", "vData", "CLxItem", "eType", "sName", "iSelection", "aDate", "0", ""])
ITEMS = st.recursive(LEAVES, lambda inner: st.lists(st.tuples(KEYS, inner), max_size=6).map(Items), max_leaves=20)


@given(st.lists(st.tuples(KEYS, ITEMS)).map(Items))
def test_any_items_give_fields(items: Items) -> None:
    for field in form.decode(items):
        assert isinstance(field.name, str)


@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with contextlib.suppress(errors.ND2Error):
        form.decode(clx_lite.decode_items(data))
