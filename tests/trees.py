"""Trees of metadata with anything in them, as damaged files may hold them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

LEAVES = st.none() | st.integers(-2, 2**33) | st.floats() | st.text(max_size=3) | st.booleans() | st.binary(max_size=9)


def trees(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Trees whose items have some of these names, in any order and depth, with any value."""
    keys = st.sampled_from([*names, "0", "i0000000000", ""])
    return st.dictionaries(
        keys,
        st.recursive(
            LEAVES | st.lists(st.integers(0, 255), max_size=3),
            lambda inner: st.dictionaries(keys, inner, max_size=6) | st.lists(inner, max_size=3),
            max_leaves=20,
        ),
    )
