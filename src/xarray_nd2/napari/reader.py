"""Readers that napari calls to open files, folders of files, and several files as one stack."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.io.urls import file_name, is_url
from nd2._core.open import is_supported_file
from xarray_nd2.napari.layers import read_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from xarray_nd2.napari.regions import Layer


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[Layer]] | None:
    """Return the function that reads a path, or several as a stack; None for a folder without ND2 files."""
    if not isinstance(path, (str, os.PathLike)):
        return read_stack
    if not is_url(path) and os.path.isdir(path):
        return read_folder if next(_files(path), None) is not None else None
    return read_layers


def _files(folder: str) -> Iterator[str]:
    """Yield the ND2 files of a folder in the order of their names; each is opened only then."""
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.lower().endswith(".nd2") and os.path.isfile(path) and is_supported_file(path):
            yield path


def read_folder(folder: str) -> list[Layer]:
    """Return the layers of all files of a folder, each named by its file; warn of files that are damaged."""
    layers: list[Layer] = []
    damaged: list[ValueError] = []
    for path in _files(folder):
        try:
            of_file = read_layers(path)
        except ValueError as error:
            damaged.append(error)
            continue
        for data, options, kind in of_file:
            name = f"{file_name(path)}: {options['name']}"
            layers.append((data, {**options, "name": name}, kind))
    if not layers:
        raise damaged[0]
    for one in damaged:
        warnings.warn(str(one), stacklevel=2)
    return layers


def read_stack(paths: Sequence[str]) -> list[Layer]:
    """Return the layers of files that have the same channels, shapes and types, stacked along a new first axis."""
    files = [[layer for layer in read_layers(path) if layer[2] in ("image", "labels")] for path in paths]
    first = [_signature(layer) for layer in files[0]]
    for path, layers in zip(paths, files, strict=True):
        if [_signature(layer) for layer in layers] != first:
            raise ValueError(
                f"files of a stack must have the same channels, shapes and types: {path!r} differs "
                f"from {paths[0]!r}; open them without stack=True"
            )
    stacked = []
    for group in zip(*files, strict=True):
        _, options, kind = group[0]
        arrays = [data if options["multiscale"] else [data] for data, options, _ in group]
        levels = [np.stack(level) for level in zip(*arrays, strict=True)]
        new = {
            "scale": (1.0, *options["scale"]),
            "translate": (0.0, *options["translate"]),
            "units": ("pixel", *options["units"]),
            "axis_labels": ("file", *options["axis_labels"]),
            "metadata": {"files": [options["metadata"] for _, options, _ in group]},
        }
        stacked.append((levels if options["multiscale"] else levels[0], {**options, **new}, kind))
    return stacked


def _signature(layer: Layer) -> tuple[Any, ...]:
    data, options, kind = layer
    arrays = data if options["multiscale"] else [data]
    return (kind, options["name"], *((array.shape, array.dtype) for array in arrays))
