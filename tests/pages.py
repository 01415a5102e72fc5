"""Python blocks of the README and the documentation, and how they run."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.servers import s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> Iterator[str]:
    """Python blocks of a page, padded so that line numbers in tracebacks are those of the page."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        yield "\n" * text[: match.start(1)].count("\n") + match[1]


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


def run(block: str, page: Path, namespace: dict[str, object]) -> None:
    """Execute a block as a notebook does: ``await`` is allowed at its top."""
    result = eval(compile(block, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), namespace)
    if inspect.iscoroutine(result):
        asyncio.run(result)
