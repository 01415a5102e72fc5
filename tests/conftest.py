"""Fixtures that every test may ask for, and the settings of hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import rich
from tests.samples import ABSENT, SAMPLES

if TYPE_CHECKING:
    from pathlib import Path

# A busy machine must fail no test. Fixtures of functions are folders and files that no example changes.
settings.register_profile(
    "here",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("here")


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
