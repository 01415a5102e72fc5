"""Definitions of jobs."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from nd2._core.chunks import jobs
from tests.trees import trees


@given(trees("Job", "ProtectedJob", "ProgramDesc", "Data"))
def test_any_tree_gives_a_job(tree: dict[str, Any]) -> None:
    assert set(jobs.decode(tree, None, b"a\0")) >= {"Job", "ProtectedJob", "JobRunGUID"}
