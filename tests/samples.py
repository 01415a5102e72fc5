"""Sample files of real microscopes: where they are, and a test for each of them.

They are not part of the repository. ``ND2_SAMPLES`` is the folder that contains ``real`` and ``made``; without
it, tests that need samples are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

SAMPLES = Path(os.environ.get("ND2_SAMPLES", Path(__file__).resolve().parents[2] / "shared" / "samples")).expanduser()
BEYOND_THE_LOOPS = {"long_T", "loop_ne_novalid", "loop_t_count0", "noloop_n6"}
"""Samples with frames that no loop reaches: opening them logs a warning."""
ABSENT = "no sample files (ND2_SAMPLES): see CONTRIBUTING.md"


def sample_names(*folders: str, damaged: bool = False) -> list[str]:
    """Names of the samples, such as ``real/zstack_z11``, sorted; empty if there are none.

    Without `folders`, those of ``real`` and ``made``. Files called damaged are left out, or with
    `damaged` are the only ones.
    """
    return sorted(
        f"{folder}/{path.stem}"
        for folder in folders or ("real", "made")
        for path in (SAMPLES / folder).glob("*.nd2")
        if path.stem.startswith("damaged") is damaged
    )


def each_sample(names: Iterable[str] | None = None, argname: str = "sample") -> pytest.MarkDecorator:
    """Parametrize a test by the paths of samples (by default all except damaged ones).

    Where the samples are absent the test is skipped once, with the reason.
    """
    names = sample_names() if names is None else list(names)
    present = [pytest.param(SAMPLES / f"{name}.nd2", id=name) for name in names]
    absent = [pytest.param(None, id="none", marks=pytest.mark.skip(reason=ABSENT))]
    return pytest.mark.parametrize(argname, present if SAMPLES.is_dir() else absent)
