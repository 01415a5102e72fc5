"""Every Python block of the README and the docs runs, page by page, on files that the documentation writes."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec.config
import matplotlib as mpl
import pytest

from tests.pages import BLOCK, blocks, bucket_with, run
from tests.servers import range_server

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    page
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "_build" not in page.parts and BLOCK.search(page.read_text(encoding="utf-8"))
]


@pytest.fixture(scope="session")
def example_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    module = runpy.run_path(str(ROOT / "docs" / "example_files.py"))
    module["write_example_files"](folder)
    return folder


@pytest.fixture(scope="session")
def bucket(example_files: Path) -> Iterator[dict[str, str]]:
    with bucket_with(example_files) as environment:
        yield environment


# Reading a damaged file warns, as its page says.
@pytest.mark.filterwarnings("ignore::UserWarning")
# fsspec reads references in Parquet through an engine that pandas 4 drops.
@pytest.mark.filterwarnings("ignore:The .fastparquet. engine")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(
    page: Path, example_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    for file in example_files.iterdir():
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    monkeypatch.setattr(fsspec.config, "conf", dict(fsspec.config.conf))
    code = list(blocks(page))
    if any("s3://" in block for block in code):
        for name, value in request.getfixturevalue("bucket").items():
            monkeypatch.setenv(name, value)
    # Readers run the recipes of the README more than once, each on its own.
    is_readme = page.name == "README.md"
    namespace: dict[str, object] = {"__name__": "__docs__"}
    with range_server(tmp_path) as server:
        for block in code * (2 if is_readme else 1):
            if is_readme:
                namespace = {"__name__": "__docs__"}
            run(block.replace("https://host/", server.url("")), page, namespace)
