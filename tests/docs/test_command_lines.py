"""Every ``nd2`` command in the documentation has arguments that its parser accepts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from nd2._core.cli import all_commands, full_parser

ROOT = Path(__file__).resolve().parents[2]
_LINE = re.compile(r"^nd2 .*$", re.MULTILINE)
_BLOCK = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _lines() -> list[str]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    found = [line for block in _BLOCK.findall(text) for line in _LINE.findall(block)]
    for _, command in all_commands():
        found += [line for line in command.examples.splitlines() if line.startswith("nd2 ")]
    return [line for line in dict.fromkeys(found) if not line.startswith("nd2 --")]


@pytest.mark.parametrize("line", _lines())
def test_arguments(line: str) -> None:
    arguments = shlex.split(line, comments=True)[1:]
    stop = next((i for i, item in enumerate(arguments) if item in {">", "|", "&&"}), None)
    full_parser().parse_args(arguments[:stop])
