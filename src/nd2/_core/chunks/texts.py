"""Text information: from the ``ImageTextInfo`` tree to `TextInfo`."""

from __future__ import annotations

from typing import cast

from nd2._core.chunks import fields
from nd2._core.structures import TextInfo

# In the order of the stored items, TextInfoItem_0 and so on.
TEXT_ITEMS = tuple(TextInfo.__annotations__)


def parse(raw: fields.Tree) -> TextInfo:
    """Return the items that are not empty.

    Parameters
    ----------
    raw : mapping
        The decoded tree, with or without its root level.
    """
    tree = fields.root(raw, "SLxImageTextInfo")
    items = {key: fields.text(tree, f"TextInfoItem_{i}") for i, key in enumerate(TEXT_ITEMS)}
    return cast("TextInfo", {key: item for key, item in items.items() if item})
