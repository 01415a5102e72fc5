"""Texts of a file: description, optics, and others."""

from __future__ import annotations

from nd2._core.chunks import texts


def test_text_items_that_are_not_empty() -> None:
    items = {"TextInfoItem_13": "Plan Apo 20x", "TextInfoItem_5": "Dimensions: T(3)", "TextInfoItem_9": ""}
    expected = {"description": "Dimensions: T(3)", "optics": "Plan Apo 20x"}
    assert texts.decode({"SLxImageTextInfo": items}) == expected
    assert texts.decode(items) == expected
    assert list(texts.decode(items)) == ["description", "optics"]
    assert texts.decode({"SLxImageTextInfo": {"TextInfoItem_0": 3}}) == {}
