"""Exports to OME-Zarr, as other people's readers read them: every pixel, every label, axes, steps and places.

ome-zarr-py and ngff-zarr live in an environment of their own, ``.venv-ngff`` (``make ngff``), because they pin versions
of packages that the tests of this one leave free. Each reads all exports in one process.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
import zarr

import nd2
from tests.builder import build
from tests.exports import as_tczyx, attributes, image_paths, images, masks
from tests.samples import SAMPLES, each_sample, sample_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
BIN = "Scripts" if sys.platform == "win32" else "bin"
PYTHON = next((ROOT / ".venv-ngff" / BIN).glob("python*"), None)
LIBRARIES = ["ome-zarr", "ngff-zarr"]

pytestmark = [
    pytest.mark.skipif(PYTHON is None, reason="the readers are not installed (make ngff)"),
]

MADE: dict[str, dict[str, Any]] = {
    "T P Z C": {"loops": [("T", 2), ("P", 3), ("Z", 4)], "channels": 3, "height": 9, "width": 11},
    "plate": {"loops": [("P", 3), ("T", 2)]},
    "color": {"samples": 3, "channels": 2, "dtype": "u1", "loops": [("Z", 2)]},
    "float": {"dtype": "<f4", "pixel_type": 2, "loops": [("T", 2)]},
    "missing": {"zlib": True, "loops": [("T", 5)], "missing": frozenset({2, 4})},
}


@dataclass(frozen=True)
class Export:
    """A store, the file that it was made of, and folders in it with the pixels that they must hold."""

    store: Path
    source: Path
    pixels: dict[Path, NDArray[Any]] = field(default_factory=dict)
    positions: dict[Path, int] = field(default_factory=dict)
    models: list[tuple[str, Path]] = field(default_factory=list)

    @property
    def plate(self) -> bool:
        return "plate" in attributes(self.store)["ome"]


def export(source: Path, store: Path, **options: Any) -> Export:
    with nd2.ND2File(source) as file:
        file.write_ome_zarr(store, levels=2, **options)
    made = Export(store, source)
    paths = image_paths(store)
    for position, (path, image) in enumerate(zip(paths, images(source), strict=True)):
        made.pixels[store / path] = as_tczyx(image)
        made.positions[store / path] = position
        made.models.append(("Image", store / path))
    for number, layer in enumerate(masks(source)):
        for position, (path, mask) in enumerate(zip(paths, layer, strict=True)):
            name = attributes(store / path, "labels")["ome"]["labels"][number]
            made.pixels[store / path / "labels" / name] = as_tczyx(mask)
            made.positions[store / path / "labels" / name] = position
            made.models.append(("Labels", store / path / "labels"))
            made.models.append(("ImageLabel", store / path / "labels" / name))
    if made.plate:
        made.models.append(("HCS", store))
        wells = attributes(store)["ome"]["plate"]["wells"]
        made.models.extend(("Well", store / well["path"]) for well in wells)
    elif paths != [""]:
        made.models.append(("BioFormats2Raw", store))
    return made


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Export]:
    """Export every sample and some made files, each at two levels."""
    folder = tmp_path_factory.mktemp("readers")
    found = {}
    for name in sample_names():
        store = folder / f"{name.replace('/', '-')}.zarr"
        found[name] = export(SAMPLES / f"{name}.nd2", store)
    for name, spec in MADE.items():
        source = folder / f"{name}.nd2"
        build(source, **spec)
        found[name] = export(source, folder / f"{name}.zarr")
    labeled = folder / "labeled.nd2"
    shape = (2, 3, 4, 10, 12)
    cells = np.random.default_rng(0).integers(0, 70_000, shape)
    nd2.imwrite(labeled, np.zeros(shape, "u2"), axes="TPZYX", labels={"cells": cells, "nuclei": cells > 30_000})
    found["labeled"] = export(labeled, folder / "labeled.zarr")
    found["sharded"] = export(
        folder / "T P Z C.nd2",
        folder / "sharded.zarr",
        chunk_shape=(1, 1, 2, 4, 4),
        shard_shape=(2, 3, 4, 8, 8),
        force_series=True,
        backend="zarr",
    )
    return found


@pytest.fixture(scope="module", params=LIBRARIES)
def answers(request: pytest.FixtureRequest, exports: dict[str, Export]) -> dict[Path, Any]:
    """Return how a library reads every image, label and plate."""
    folders = [folder for made in exports.values() for folder in made.pixels]
    plates = [made.store for made in exports.values() if made.plate]
    asked = {"images": list(map(str, folders)), "plates": list(map(str, plates))}
    found = ask(request.param, asked)
    return {**dict(zip(folders, found["images"], strict=True)), **dict(zip(plates, found["plates"], strict=True))}


def ask(library: str, asked: Any) -> Any:
    script = str(ROOT / "tests" / "ngff_readers.py")
    done = subprocess.run(
        [str(PYTHON), "-I", "-W", "ignore", script, library],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def digest(pixels: NDArray[Any]) -> str:
    return hashlib.sha1(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def steps(source: Path, position: int, axes: list[str]) -> list[tuple[float, str | None]]:
    """Return step and unit along each axis of a position, as in the engine: 1 without unit where unknown."""
    with nd2.ND2File(source) as file:
        selected = position if "P" in file.sizes else None
        voxel = file.voxel_size()._asdict()
    with xr.open_dataset(source, engine="nd2", position=selected, squeeze=False) as dataset:
        found = {axis: step(dataset, axis.upper()) for axis in axes}
        for axis in {"y", "x"} & found.keys():  # also of one row or column
            if "units" in dataset[axis.upper()].attrs:
                found[axis] = voxel[axis], "micrometer"
    return list(found.values())


def step(dataset: xr.Dataset, axis: str) -> tuple[float, str | None]:
    unit, factor = ("millisecond", 1000) if axis == "T" else ("micrometer", 1)
    if axis not in "TZYX" or dataset[axis].attrs.get("units", "1") == "1":
        return 1.0, None
    # Loops of time within one another are one axis of OME-Zarr.
    values = dataset[axis if "T2" not in dataset.dims or axis != "T" else "time"].values.ravel()
    distance = abs(factor * float(values[-1] - values[0])) / max(len(values) - 1, 1)
    return (distance, unit) if distance else (1.0, None)


def check(made: Export, answers: dict[Path, Any]) -> None:
    for folder, pixels in made.pixels.items():
        full, half = answers[folder]
        assert full["shape"] == list(pixels.shape)
        assert full["dtype"] == pixels.dtype.name
        assert full["sha1"] == digest(pixels)
        axes = full["axes"]
        assert len(axes) == pixels.ndim
        assert axes == sorted(axes, key="tczyx".index)
        known = steps(made.source, made.positions[folder], axes)
        scale = [step for step, _ in known]
        assert full["units"] == half["units"] == [unit for _, unit in known]
        assert full["scale"] == pytest.approx(scale)
        assert full["translation"] == [0.0] * len(axes)
        inner = [axis in "yx" for axis in axes]
        assert half["sha1"] == digest(np.asarray(zarr.open_array(folder / "1", mode="r")[...]))
        assert half["scale"] == pytest.approx([2 * s if i else s for s, i in zip(scale, inner, strict=True)])
        assert half["translation"] == pytest.approx([s / 2 if i else 0.0 for s, i in zip(scale, inner, strict=True)])


@each_sample()
def test_samples(sample: Path, exports: dict[str, Export], answers: dict[Path, Any]) -> None:
    check(exports[f"{sample.parent.name}/{sample.stem}"], answers)


@pytest.mark.parametrize("name", [*MADE, "labeled", "sharded"])
def test_made_files(name: str, exports: dict[str, Export], answers: dict[Path, Any]) -> None:
    check(exports[name], answers)


def test_labels_are_among_them(exports: dict[str, Export]) -> None:
    assert sum("labels" in path.parts for path in exports["labeled"].pixels) == 2 * 3
    if SAMPLES.is_dir():
        assert len(exports["made/binary_T3"].pixels) == 2


def test_plates(exports: dict[str, Export], answers: dict[Path, Any]) -> None:
    found = answers[exports["plate"].store]
    assert found == {"rows": ["A"], "columns": ["1", "2", "3"], "wells": ["A/1", "A/2", "A/3"]}


def test_models(exports: dict[str, Export]) -> None:
    """The models of the format's own community accept every document."""
    asked = [(kind, str(path)) for made in exports.values() for kind, path in made.models]
    kinds = {kind for kind, _ in asked}
    assert kinds == {"Image", "ImageLabel", "Labels", "HCS", "Well", "BioFormats2Raw"}
    assert ask("ome-zarr-models", asked) == [None] * len(asked)
