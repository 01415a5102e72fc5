"""The versions of packages that pyproject.toml admits."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    texts = [*project["dependencies"], *(text for extra in extras for text in extra)]
    return [Requirement(text) for text in texts if not text.startswith("xarray-nd2")]


@pytest.mark.parametrize(
    ("name", "vulnerable"),
    [
        ("fsspec", "2026.4.0"),  # Jinja templates of references without a sandbox
        ("aiohttp", "3.13.3"),  # CVE-2026-22815
        ("jinja2", "3.1.5"),  # CVE-2025-27516
    ],
)
def test_vulnerable_versions_are_not_admitted(name: str, vulnerable: str) -> None:
    found = [need for need in requirements() if need.name == name]
    assert found
    assert not any(need.specifier.contains(vulnerable) for need in found)


def test_s3fs_asks_for_an_fsspec_that_is_admitted() -> None:
    """Releases of both packages belong together."""
    bounds = {need.name: str(need.specifier) for need in requirements()}
    assert bounds["s3fs"] == bounds["fsspec"]
