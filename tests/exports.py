"""Helpers for tests of exports: the expected content and places, and processes that are killed during an export."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

import nd2

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def images(path: Path) -> list[NDArray[Any]]:
    """Pixels of each position, axes T, Z, C, Y, X, S; colors red, green, blue."""
    with nd2.ND2File(path) as file:
        loops = dict(file._reader.layout.loops)
        shape = file._reader.frames.pixels.shape
        count = file._reader.layout.frame_count
        frames = np.stack([file.read_frame(i).reshape(shape) for i in range(count)])
        if file._reader.frames.pixels.sample_order == "BGR":
            frames = frames[..., ::-1]
    return _by_position(frames, loops)


def masks(path: Path) -> list[list[NDArray[Any]]]:
    """Masks of each position, for each binary layer, axes T, Z, 1, Y, X, 1; 0 for missing masks."""
    with nd2.ND2File(path) as file:
        loops = dict(file._reader.layout.loops)
        count = file._reader.layout.frame_count
        layers = []
        for layer in file.binary_data or ():
            stack = layer.asarray()
            assert stack is not None
            frames = stack.reshape(count, 1, *stack.shape[-2:], 1)
            layers.append(_by_position(frames.astype(np.uint32), loops))
    return layers


def _by_position(frames: NDArray[Any], loops: dict[str, int]) -> list[NDArray[Any]]:
    """Bring frames in the order of the file to axes T, Z and those of a frame, for each position."""
    names, shape = list(loops), frames.shape[1:]
    data = frames.reshape(*loops.values(), *shape)
    # one axis for each of P, T and Z: nested loops of a kind are laid out one inside the other
    order = [i for kind in ("P", "TU", "Z") for i, name in enumerate(names) if name[0] in kind]
    sizes = [int(np.prod([loops[name] for name in names if name[0] in kind], dtype=int)) for kind in ("P", "TU", "Z")]
    data = data.transpose(*order, *range(len(names), data.ndim))
    return list(data.reshape(*sizes, *shape))


def attributes(path: Path, group: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / group / "zarr.json").read_text())["attributes"]
    return found


def image_paths(path: Path) -> list[str]:
    """Return the groups of the images of a store, by its own metadata."""
    ome = attributes(path)["ome"]
    if "multiscales" in ome:
        return [""]
    if "plate" in ome:
        return [
            f"{well['path']}/{image['path']}"
            for well in ome["plate"]["wells"]
            for image in attributes(path, well["path"])["ome"]["well"]["images"]
        ]
    series: list[str] = attributes(path, "OME")["ome"]["series"]
    return series


def as_tczyx(image: NDArray[Any]) -> NDArray[Any]:
    """Bring T, Z, C, Y, X, S to t, c, z, y, x without the axes of size 1, except y and x."""
    t, z, c, y, x, s = image.shape
    moved = image.transpose(0, 2, 5, 1, 3, 4).reshape(t, c * s, z, y, x)
    return moved.reshape([n for n in moved.shape[:3] if n > 1] + [y, x])


def killed(code: str, *arguments: object) -> None:
    """Run code in a process that kills itself with SIGKILL, and see that it did."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def stored(path: Path) -> NDArray[Any]:
    """Read an array by zarr-python."""
    return np.asarray(zarr.open_array(path, mode="r")[...])


def read_with_tensorstore(path: Path) -> NDArray[Any]:
    tensorstore = pytest.importorskip("tensorstore")
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}
    array: NDArray[Any] = tensorstore.open(spec, open=True).result().read().result()
    return array


def check_store(path: Path, source: Path) -> None:
    """Compare the full resolution of a store with the pixels of its ND2 file, read by two libraries."""
    yaozarrs = pytest.importorskip("yaozarrs")
    yaozarrs.validate_zarr_store(str(path))
    pixels = images(source)
    paths = image_paths(path)
    assert len(paths) == len(pixels)
    for group, image in zip(paths, pixels, strict=True):
        read = stored(path / group / "0")
        np.testing.assert_array_equal(read, as_tczyx(image))
        np.testing.assert_array_equal(read_with_tensorstore(path / group / "0"), as_tczyx(image))
