"""Tables in the documentation that benchmarks replace."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_table(page: Path, name: str, text: str) -> None:
    """Replace the text between the comments ``<!-- name -->`` and ``<!-- /name -->`` of a page."""
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    found, count = marked.subn(lambda m: m[1] + text + m[2], page.read_text(encoding="utf-8"))
    if count != 1:
        raise ValueError(f"{page.name} does not have one table {name!r}")
    page.write_text(found, encoding="utf-8")
