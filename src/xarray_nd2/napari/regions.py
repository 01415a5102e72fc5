"""Regions of interest as layers: shapes, and points for those without an extent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nd2._core.views.channels import stored_hex
from nd2._core.views.regions import outline, region_kind, region_steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.frames.array import FrameArray
    from nd2._core.region_types import ROI, AnimParam
    from nd2._core.views.facts import Facts
    from nd2._core.views.regions import Outline

Layer: TypeAlias = tuple[Any, dict[str, Any], str]
"""Data, options of the layer, and its type: ``image``, ``labels``, ``shapes``, ``points``."""
_MAX_PLACES = 2000
"""Regions that move or belong to one position are repeated per frame; above this number, all frames show them."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """An outline and the index of its frame; the index is empty if it is in all frames."""

    region: ROI
    outline: Outline
    index: tuple[int, ...] = ()

    def points(self) -> NDArray[np.float64]:
        """Return the coordinates of each point: index of the frame, y, x; pixels are centered on whole numbers."""
        plane = self.outline.vertices()[:, ::-1] - 0.5
        index = np.broadcast_to(np.array(self.index, np.float64), (len(plane), len(self.index)))
        return np.hstack([index, plane])


def region_layers(facts: Facts, image: FrameArray, axes: Mapping[str, Any], position: int | None = None) -> list[Layer]:
    """Return the layers of the regions of an image; ``position`` is the only position that it shows."""
    rois = facts.reader.rois.values()
    regions = [region for region in rois if position is None or region.position in (None, position)]
    placed = list(_placed(regions, facts, image))
    layers: list[Layer] = []
    for fixed in (True, False):
        group = [one for one in placed if fixed is not bool(one.index)]
        options = {key: values[-2:] if fixed else values for key, values in axes.items()}
        shapes = [one for one in group if one.outline.shape != "point"]
        points = [one for one in group if one.outline.shape == "point"]
        if shapes:
            kinds = [one.outline.shape for one in shapes]
            look = {"shape_type": kinds, "edge_color": _colors(shapes), "edge_width": 2}
            shown = {"name": "regions", **look, **_described(shapes), **options}
            layers.append(([one.points() for one in shapes], shown, "shapes"))
        if points:
            look = {"border_color": _colors(points), "symbol": "cross"}
            shown = {"name": "regions (points)", **look, **_described(points), **options}
            layers.append((np.concatenate([one.points() for one in points]), shown, "points"))
    return layers


def _described(placed: Sequence[_Placed]) -> dict[str, Any]:
    labels = [one.region.info.label for one in placed]
    features = {"label": labels, "id": [one.region.id for one in placed]}
    text = {"string": "{label}", "size": 8, "color": "white", "anchor": "upper_left"}
    return {"face_color": "transparent", "features": features, **({"text": text} if any(labels) else {})}


def _colors(placed: Sequence[_Placed]) -> list[str]:
    """Return the color of each region."""
    return [stored_hex(one.region.info.color) for one in placed]


def _placed(regions: Sequence[ROI], facts: Facts, image: FrameArray) -> Iterator[_Placed]:
    pixels = image.frames.pixels
    room = _MAX_PLACES
    for region in regions:
        kind = region_kind(region.info)
        steps = sorted(region_steps(region), key=lambda step: step.timeMs)
        outlines = [outline(kind, step, pixels.width, pixels.height) for step in steps]
        indices = _indices(region, steps, facts, image)
        count = sum(map(len, indices))
        if not 0 < count <= room:
            yield from (_Placed(region, one) for one in outlines[:1])
            continue
        room -= count
        for one, frames in zip(outlines, indices, strict=True):
            yield from (_Placed(region, one, tuple(index)) for index in frames.tolist())


def _indices(region: ROI, steps: Sequence[AnimParam], facts: Facts, image: FrameArray) -> list[NDArray[np.intp]]:
    """Return the indices of the frames of each step, shape (n, loops); an empty list for a region in all frames."""
    dims, shape = image.grid.dims, image.grid.shape
    time = next((dim for dim in dims if dim[0] == "T"), None)
    moves = time is not None and len(steps) > 1
    local = region.position is not None and "P" in dims
    if not (moves or local):
        return []
    index = np.indices(shape).reshape(len(shape), -1).T
    if local:
        index = index[index[:, dims.index("P")] == region.position]
    if time is None or not moves:
        return [index]
    times = facts.step_times(image.grid.steps(time)).values
    starts = [step.timeMs for step in steps]  # since the first frame
    current = np.searchsorted(starts, times - times[:1], side="right") - 1
    step_of_frame = current.clip(0)[index[:, dims.index(time)]]
    return [index[step_of_frame == number] for number in range(len(steps))]
