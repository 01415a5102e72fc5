"""An ND2 file with something of everything that the writer knows: loops, times, columns, events, labels."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

import nd2
from nd2.structures import ExperimentEvent

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZES = {"T": 3, "P": 2, "Z": 2, "C": 2, "Y": 6, "X": 8}
FRAMES = 12
TIMES = np.arange(FRAMES) * 250.0 + 1000.5
TEMPERATURE = np.linspace(-8, -7, FRAMES)
START = datetime(2024, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def pixels() -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 4000, tuple(SIZES.values())).astype(np.uint16)


def masks() -> NDArray[np.uint16]:
    shape = tuple(size for dim, size in SIZES.items() if dim != "C")
    return np.random.default_rng(1).integers(0, 3, shape).astype(np.uint16)


def write(path: Path, **options: Any) -> Path:
    """A file with something of everything."""
    given: dict[str, Any] = {
        "channels": ["DAPI", "GFP"],
        "voxel_size": (0.5, 0.5, 2.0),
        "positions": ["A1", "B2"],
        "times": TIMES,
        "start": START,
        "columns": {
            "Camera Temperature [°C]": TEMPERATURE,
            "Gain": np.arange(FRAMES),
            "Note": [f"frame {i}" for i in range(FRAMES)],
        },
        "events": [ExperimentEvent(id=1, time=1300.0, meaning=7, description="Command Executed", data="x")],
        "labels": {"my cells": masks()},
        **options,
    }
    with nd2.ND2Writer(path, SIZES, "uint16", **given) as writer:
        frames = pixels().reshape(FRAMES, SIZES["C"], SIZES["Y"], SIZES["X"])
        for index, frame in enumerate(frames):
            writer.write_frame(index, frame)
    return path
