"""Fixtures that every test may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.samples import ABSENT, SAMPLES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def shared_samples() -> Path:
    """Return the folder with ``real``, ``made``, ``expected``; skip where it is absent."""
    if not SAMPLES.is_dir():
        pytest.skip(ABSENT)
    return SAMPLES
