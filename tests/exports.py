"""What tests of exports share: the pixels that an export must hold, and processes that are killed in the middle of one."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

import nd2

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def images(path: Path) -> list[NDArray[Any]]:
    """Pixels of each position, axes T, Z, C, Y, X, S; colours red, green, blue."""
    with nd2.ND2File(path) as file:
        loops = dict(file._reader.layout.loops)
        shape = file._reader.frames.pixels.shape
        count = file._reader.layout.frame_count
        frames = np.stack([file.read_frame(i).reshape(shape) for i in range(count)])
        if file._reader.frames.pixels.sample_order == "BGR":
            frames = frames[..., ::-1]
    names = list(loops)
    data = frames.reshape(*loops.values(), *shape)
    # one axis for each of P, T and Z: nested loops of a kind are laid out one inside the other
    order = [i for kind in ("P", "TU", "Z") for i, name in enumerate(names) if name[0] in kind]
    sizes = [
        int(np.prod([loops[name] for name in names if name[0] in kind], dtype=int))
        for kind in ("P", "TU", "Z")
    ]
    data = data.transpose(*order, *range(len(names), data.ndim))
    return list(data.reshape(*sizes, *shape))


def killed(code: str, *arguments: object) -> None:
    """Run code in a process that kills itself with SIGKILL, and see that it did."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
