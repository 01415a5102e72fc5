"""Every Python block of the README and the documentation runs, page by page, on the files that the documentation writes."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import runpy
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec.config
import matplotlib as mpl
import pytest

from tests.servers import range_server, s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [
    page
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "_build" not in page.parts and BLOCK.search(page.read_text(encoding="utf-8"))
]


def blocks(page: Path) -> Iterator[str]:
    """Python blocks of a page, padded so that line numbers in tracebacks are those of the page."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        yield "\n" * text[: match.start(1)].count("\n") + match[1]


@pytest.fixture(scope="session")
def example_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    module = runpy.run_path(str(ROOT / "docs" / "example_files.py"))
    module["write_example_files"](folder)
    return folder


@contextmanager
def bucket_with(files: Path) -> Iterator[dict[str, str]]:
    """Serve a bucket with the files of a folder; gives the environment in which ``s3://bucket/`` is found."""
    import s3fs

    with s3_server() as options:
        fs = s3fs.S3FileSystem(**options)
        fs.call_s3("create_bucket", Bucket="bucket")
        for file in files.iterdir():
            body = file.read_bytes()
            fs.call_s3("put_object", Bucket="bucket", Key=file.name, Body=body, ACL="public-read")
        yield {
            "AWS_ENDPOINT_URL": options["client_kwargs"]["endpoint_url"],
            "AWS_ACCESS_KEY_ID": options["key"],
            "AWS_SECRET_ACCESS_KEY": options["secret"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@pytest.fixture(scope="session")
def bucket(example_files: Path) -> Iterator[dict[str, str]]:
    with bucket_with(example_files) as environment:
        yield environment


# What a damaged file has lost is warned of, as its page says.
@pytest.mark.filterwarnings("ignore::UserWarning")
# fsspec reads references in Parquet through an engine that pandas 4 drops.
@pytest.mark.filterwarnings("ignore:The .fastparquet. engine")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(
    page: Path,
    example_files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
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
    namespace: dict[str, object] = {"__name__": "__docs__"}
    with range_server(tmp_path) as server:
        for block in code:
            run(block.replace("https://host/", server.url("")), page, namespace)


def run(block: str, page: Path, namespace: dict[str, object]) -> None:
    """Execute a block as a notebook does: ``await`` is allowed at its top."""
    result = eval(
        compile(block, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), namespace
    )
    if inspect.iscoroutine(result):
        asyncio.run(result)
