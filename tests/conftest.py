"""Fixtures that every test may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import rich
from tests.samples import ABSENT, SAMPLES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def shared_samples() -> Path:
    """Return the folder with ``real``, ``made``, ``expected``; skip where it is absent."""
    if not SAMPLES.is_dir():
        pytest.skip(ABSENT)
    return SAMPLES


@pytest.fixture(scope="session", name="rich")
def _rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with something of everything that the writer knows."""
    return rich.write(tmp_path_factory.mktemp("rich") / "rich.nd2")
