"""Exports of labeled arrays: their readers, and chunks that suit the blocks of lazy ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nd2._core.export.blocks import Grid
from nd2._core.export.zarr_documents import ImageAxes
from nd2._core.io.destination import resolve
from nd2._core.views.facts import Facts
from nd2._core.views.placement import IMAGE_AXES, Placement
from nd2._core.write.arrays import input_paths
from nd2._core.write.virtual import array_reader

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import xarray as xr

    from nd2._core.readers import Reader


def export_reader(
    labeled: xr.DataArray | xr.Dataset,
    dest: Any,
    form: str,
    options: Mapping[str, Any],
    storage_options: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
) -> tuple[Reader, Facts]:
    """Return a reader of an array and its facts, if the destination may be written, and the array does not read it."""
    resolve(
        dest,
        form,
        overwrite=overwrite,
        sources=sorted(input_paths(labeled)) if overwrite else (),
        storage_options=storage_options,
        local=form == "TIFF",
    )
    reader = array_reader(labeled, **options)
    return reader, Facts(reader)


def export_chunks(reader: Reader, facts: Facts, blocks: Mapping[Hashable, Sequence[int]]) -> tuple[int, ...]:
    """Return the chunks of an OME-Zarr, each within one of the array's blocks, whose sizes are given by axis."""
    placement = Placement.from_layout(reader.layout)
    axes = ImageAxes.from_facts(facts, placement)
    order = placement.nesting[::-1].lower()
    grid = Grid.choose(axes, reader.dtype, order[0], "auto", None, 1)
    return tuple(_align(grid.chunks, blocks, order).values())


def _align(chunks: Mapping[str, int], blocks: Mapping[Hashable, Sequence[int]], order: str) -> dict[str, int]:
    """Return chunks whose t and z divide the blocks; they never have more pixels.

    ``order`` is ``"tz"`` or ``"zt"``: the axis first that is to have the longer chunks.
    """
    aligned = dict(chunks)
    planes = math.prod(chunks.get(name, 1) for name in order)
    for name in order:
        if name in chunks:
            sizes = next(sizes for dim, sizes in blocks.items() if IMAGE_AXES.get(str(dim)[0]) == name.upper())
            # A block of any length may end the axis.
            common = math.gcd(*sizes[:-1]) or sum(sizes)
            whole = [n for n in range(1, planes + 1) if common % n == 0]
            aligned[name] = max(whole, default=1) if len(sizes) > 1 else min(planes, common)
            planes //= aligned[name]
    return aligned
