"""Links and pictures of the README and the documentation resolve: files, headings, figures that the build makes."""

from __future__ import annotations

import re
import runpy
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    page
    for page in [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / name for name in ("CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md")),
        *sorted(DOCS.rglob("*.md")),
    ]
    if "_build" not in page.parts
]
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"(`+).+?\1")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
FIGURES = "_static/figures/"


class Link(NamedTuple):
    """A link or a picture of a page."""

    page: Path
    is_picture: bool
    text: str
    target: str


def links(page: Path) -> list[Link]:
    prose = INLINE_CODE.sub("code", FENCE.sub("", page.read_text(encoding="utf-8")))
    return [Link(page, bool(mark), text, target) for mark, text, target in LINK.findall(prose)]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and MyST make them."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    names = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose)]
    return {name.strip().replace(" ", "-") for name in names}


@pytest.fixture(scope="module")
def figures() -> set[str]:
    """Names of the figures that the build of the documentation makes."""
    sys.path.insert(0, str(DOCS))
    try:
        return set(runpy.run_path(str(DOCS / "figures.py"))["FIGURES"])
    finally:
        sys.path.remove(str(DOCS))


def resolves(link: Link, figures: set[str]) -> bool:
    path, _, anchor = link.target.partition("#")
    if path.startswith(FIGURES):
        return path.removeprefix(FIGURES) in figures
    file = (link.page.parent / path).resolve() if path else link.page
    if not file.exists():
        return False
    return not anchor or anchor in anchors(file)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path, figures: set[str]) -> None:
    inside = [link for link in links(page) if not link.target.startswith(("https://", "http://"))]
    assert [link.target for link in inside if not resolves(link, figures)] == []


def test_pictures_say_what_they_show() -> None:
    pictures = [link for page in PAGES for link in links(page) if link.is_picture]
    assert len(pictures) > 5
    assert [picture.target for picture in pictures if len(picture.text.split()) < 4] == []


def test_the_page_on_installation_lists_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (DOCS / "installation.md").read_text(encoding="utf-8")
    assert [extra for extra in project["optional-dependencies"] if f"`{extra}`" not in page] == []


# Words that a microscopist types into the search.
WORDS = (
    "maximum projection",
    "Z-stack",
    "time-lapse",
    "intensity over time",
    "crop",
    "stitch",
    "mosaic",
    "plate",
    "well",
    "movie",
    "napari",
    "Fiji",
    "ImageJ",
    "QuPath",
    "OME-TIFF",
    "OME-Zarr",
    "channel",
    "background",
    "scale bar",
    "pixel size",
    "convert a whole folder",
    "corrupt",
    "out of memory",
)


def test_the_search_finds_words_of_microscopists() -> None:
    text = " ".join(page.read_text(encoding="utf-8") for page in PAGES if page.parent == DOCS)
    text = " ".join(text.split()).lower()
    assert [word for word in WORDS if word.lower() not in text] == []


def test_every_figure_is_shown(figures: set[str]) -> None:
    shown = {link.target for page in PAGES for link in links(page) if link.is_picture}
    assert {FIGURES + name for name in figures} - shown == set()


def test_every_page_is_reached() -> None:
    listed = {DOCS / "index.md"}
    for page in PAGES:
        for fence in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            listed |= {page.parent / f"{line}.md" for line in fence.splitlines() if line and not line.startswith(":")}
    # the build copies the notebook of the examples
    assert {*(page for page in PAGES if page.is_relative_to(DOCS)), DOCS / "tour.md"} == listed
