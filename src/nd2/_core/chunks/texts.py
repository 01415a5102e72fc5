"""Text information: ``ImageTextInfo``."""

from __future__ import annotations

from typing import Any, cast

from nd2._core import errors
from nd2._core.chunks import fields
from nd2._core.structures import TextInfo

NAMES = (b"ImageTextInfoLV!", b"ImageTextInfo!")

_ITEMS = tuple(TextInfo.__annotations__)
"""In the order of the stored items, TextInfoItem_0 and so on."""


def decode(raw: fields.Tree) -> TextInfo:
    """Return the items that are not empty."""
    tree = fields.root(raw, "SLxImageTextInfo")
    items = {key: fields.text(tree, f"TextInfoItem_{i}") for i, key in enumerate(_ITEMS)}
    return cast("TextInfo", {key: item for key, item in items.items() if item})


def encode(value: TextInfo) -> dict[str, Any]:
    """Return the tree of the text items."""
    for key in value.keys() - set(_ITEMS):
        raise errors.no_such("text", key, _ITEMS)
    items = {f"TextInfoItem_{i}": str(value.get(key, "")) for i, key in enumerate(_ITEMS)}
    last = f"TextInfoItem_{len(_ITEMS) - 1}"
    if not items[last]:  # older files end before it
        del items[last]
    return {"SLxImageTextInfo": items}
