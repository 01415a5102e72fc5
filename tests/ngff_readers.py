"""Reads OME-Zarr images with other libraries, in their environment, without this package.

``python ngff_readers.py LIBRARY`` takes a JSON document at standard input and prints one. For a
reader, the document has ``images`` and ``plates``, lists of folders; the answer has lists in the same order, with one
item for each level of an image. For ``ome-zarr-models``, it is a list of pairs of a model and a folder.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import numpy as np


def level(
    data: Any, axes: list[str], units: list[str | None], scale: list[float], shift: list[float]
) -> dict[str, Any]:
    """Say what was read of a level; the pixels by their digest."""
    pixels = np.ascontiguousarray(data)
    return {
        "shape": list(pixels.shape),
        "dtype": pixels.dtype.name,
        "sha1": hashlib.sha1(pixels.tobytes()).hexdigest(),
        "axes": axes,
        "units": units,
        "scale": scale,
        "translation": shift,
    }


def by_ome_zarr(folder: str) -> list[dict[str, Any]]:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    location = parse_url(folder)
    assert location is not None, f"{folder} is not OME-Zarr"
    # For a label, the reader also returns the image that it belongs to.
    [node] = [node for node in Reader(location)() if node.zarr.path == location.path]
    axes = [axis["name"] for axis in node.metadata["axes"]]
    units = [axis.get("unit") for axis in node.metadata["axes"]]
    found = []
    for data, steps in zip(node.data, node.metadata["coordinateTransformations"], strict=True):
        known = {step["type"]: step[step["type"]] for step in steps}
        shift = known.get("translation", [0.0] * len(axes))
        found.append(level(data.compute(), axes, units, known["scale"], shift))
    return found


def by_ngff_zarr(folder: str) -> list[dict[str, Any]]:
    from ngff_zarr import from_ngff_zarr

    return [
        level(
            image.data.compute(),
            list(image.dims),
            [image.axes_units[dim] for dim in image.dims],
            [image.scale[dim] for dim in image.dims],
            [image.translation[dim] for dim in image.dims],
        )
        for image in from_ngff_zarr(folder, validate=True).images
    ]


def plate_by_ome_zarr(folder: str) -> dict[str, Any]:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Plate, Reader

    [node] = [node for node in Reader(parse_url(folder))() if node.load(Plate)]
    plate = node.load(Plate)
    return {"rows": plate.row_names, "columns": plate.col_names, "wells": list(plate.well_paths)}


def plate_by_ngff_zarr(folder: str) -> dict[str, Any]:
    from ngff_zarr import from_hcs_zarr

    plate = from_hcs_zarr(folder, validate=True)
    return {
        "rows": [row.name for row in plate.rows],
        "columns": [column.name for column in plate.columns],
        "wells": [well.path for well in plate.wells],
    }


def by_models(kind: str, folder: str) -> str | None:
    """Return the error of the format's own models for a group; None if it is valid."""
    import zarr
    from ome_zarr_models import v05

    try:
        getattr(v05, kind).from_zarr(zarr.open_group(folder, mode="r"))
    except Exception as error:
        return f"{kind} {folder}: {error}"
    return None


LIBRARIES = {"ome-zarr": by_ome_zarr, "ngff-zarr": by_ngff_zarr}
PLATES = {"ome-zarr": plate_by_ome_zarr, "ngff-zarr": plate_by_ngff_zarr}


def main() -> None:
    asked = json.load(sys.stdin)
    library = sys.argv[1]
    if library == "ome-zarr-models":
        json.dump([by_models(kind, folder) for kind, folder in asked], sys.stdout)
        return
    answer = {
        "images": [LIBRARIES[library](folder) for folder in asked["images"]],
        "plates": [PLATES[library](folder) for folder in asked["plates"]],
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
