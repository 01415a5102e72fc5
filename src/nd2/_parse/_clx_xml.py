"""Metadata in XML, as nd2 0.12.0 decodes it."""

from __future__ import annotations

from typing import Any

from nd2._core.format import clx_xml


def json_from_clx_variant(bxml: bytes, strip_variant: bool = True) -> dict[str, Any]:
    """Decode a tree; without `strip_variant` below its root element."""
    tree = clx_xml.decode(bxml)
    return tree if strip_variant else {"variant": tree}
