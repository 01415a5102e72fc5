"""Texts of strangers: time grows with their length only, and no declaration fills the memory."""

from __future__ import annotations

import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from nd2._core.chunks import legacy, picture_metadata
from nd2._core.format import clx_xml

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("keyword", ["<!DOC\x01TYPE", "<!\x02DOCTYPE", "<!DOCTYP\ufffeE"])
def test_a_document_type_with_an_illegal_character_in_its_keyword_is_refused(keyword: str) -> None:
    text = f'{keyword} v [<!ATTLIST y value CDATA "{"A" * 60_000}">]><variant>'
    data = (text + "<y/>" * 20_000 + "</variant>").encode()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="document type"):
            clx_xml.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(data)
    finally:
        tracemalloc.stop()


def xml(text: str) -> None:
    try:
        clx_xml.decode(text.encode())
    except ValueError:
        return


@pytest.mark.parametrize(
    ("decode", "text"),
    [
        pytest.param(xml, " " * 1_000_000 + "<a", id="spaces before a prolog"),
        pytest.param(xml, "<a" + " " * 1_000_000, id="spaces within a tag"),
        pytest.param(xml, "<?xml" * 200_000, id="prologs"),
        pytest.param(
            legacy.stated_step, "Z Stack Loop: 5\n" + "-Z Stack Loop: 5\n" * 50_000, id="stacks without a step"
        ),
        pytest.param(legacy.stated_step, "Z Stack Loop:" + "\n" * 1_000_000, id="empty lines"),
        pytest.param(legacy.stated_counts, "Dimensions: " + "T" * 1_000_000, id="a long name"),
        pytest.param(legacy.stated_counts, "Dimensions: " + "T(" * 500_000, id="brackets"),
        pytest.param(picture_metadata._MAGNIFICATION.search, "9" * 1_000_000, id="digits of a magnification"),
    ],
)
def test_a_megabyte_of_text_takes_less_than_seconds(decode: Callable[[str], object], text: str) -> None:
    start = time.process_time()
    decode(text)
    assert time.process_time() - start < 3  # quadratic expressions took minutes


def test_the_step_of_planes_follows_its_loop() -> None:
    text = "Dimensions: Z(5)\r\n Z Stack Loop: 5\r\n- Range\r\n- Step: 0,75 µm\r\n"
    assert legacy.stated_step(text) == 0.75
    assert legacy.stated_step("- Step: 0.75") is None
    assert legacy.stated_step("Z Stack Loop: 5\nother\n- Step: 0.75") is None
