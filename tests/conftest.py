"""Fixtures for all tests, the settings of hypothesis, and a short report of skipped tests."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from hypothesis import HealthCheck, settings

from tests import rich_file
from tests.builder import build
from tests.clusters import local_cluster
from tests.samples import ABSENT, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fsspec.implementations.memory import MemoryFileSystem

# A busy machine must fail no test. Fixtures of functions are folders and files that no example changes.
settings.register_profile(
    "here", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("here")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why tests were skipped: one line per reason, not one per test."""
    reasons = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count}: {reason}")


@pytest.fixture(scope="session")
def shared_samples() -> Path:
    """Return the folder with ``real``, ``made``, ``expected``; skip if it is absent."""
    if not SAMPLES.is_dir():
        pytest.skip(ABSENT)
    return SAMPLES


@pytest.fixture(scope="session", name="rich")
def _rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with something of everything that the writer knows."""
    return rich_file.write(tmp_path_factory.mktemp("rich") / "rich.nd2")


@pytest.fixture(scope="session")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file alone in its folder, with channels DAPI, GFP-L and mCherry, and positions A1 to A3."""
    path = tmp_path_factory.mktemp("named") / "a.nd2"
    channels = ["DAPI", "GFP-L", "mCherry"]
    build(path, loops=[("T", 2), ("P", 3)], channels=3, channel_names=channels)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file of four compressed frames, which a test may damage."""
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 4)], height=40, width=40, zlib=True)
    return path


@pytest.fixture
def time_parts(tmp_path: Path) -> list[Path]:
    """Return three parts of a time series, of unlike length."""
    paths = []
    for i, count in enumerate((3, 2, 4)):
        paths.append(tmp_path / f"part{i}.nd2")
        build(paths[-1], loops=[("T", count), ("Z", 2)], channels=2, seed=i)
    return paths


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Yield a client of a cluster of two processes with one thread each."""
    with local_cluster() as client:
        yield client


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """Yield the file system behind ``memory://``, empty before and after."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
