"""Pages of a TIFF that are compressed or have smaller copies: written one by one, through tifffile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nd2._core import errors
from nd2._core.export.blocks import choose_levels
from nd2._core.values import record
from nd2._core.views.placement import rgb_picks, runs
from nd2._core.views.pyramid import pyramid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from nd2._core.readers import Reader
    from nd2._core.views.placement import Placement

Compression = Literal["zlib", "lzw", "zstd"]
COMPRESSIONS: tuple[Compression, ...] = ("zlib", "lzw", "zstd")
_BUILT_IN = "zlib"
"""The compression that tifffile has without imagecodecs."""
_TILE = 512
"""Length in pixels of the sides of a tile; pages that are not larger have none."""
_BLOCK = 32 << 20
"""Bytes of pixels that are read at once."""


@record
class PageOptions:
    """How pages are stored.

    Attributes
    ----------
    compression : str or None
        Name of the compression.
    levels : int
        Number of levels of the pyramid, the image itself included.
    """

    compression: Compression | None
    levels: int

    @classmethod
    def choose(cls, compression: str | None, levels: int | Literal["auto"], shape: tuple[int, int]) -> PageOptions:
        """Check the user's options; see ``ND2File.write_tiff``."""
        known = next((name for name in COMPRESSIONS if name == compression), None)
        if compression is not None and known is None:
            names = ", ".join(map(repr, COMPRESSIONS))
            raise ValueError(f"compression must be None or one of {names}, not {compression!r}")
        if known not in (None, _BUILT_IN):
            try:
                import imagecodecs  # noqa: F401  # only whether it is installed
            except ImportError as error:
                purpose = f"for compression={known!r}"
                raise errors.missing_package("imagecodecs", "legacy", purpose) from error
        return cls(known, choose_levels(levels, shape))

    @property
    def plain(self) -> bool:
        """Whether pages are neither compressed nor have smaller copies."""
        return self.compression is None and self.levels == 1


def write_pages(
    tifffile: Any,
    path: Path,
    reader: Reader,
    placement: Placement,
    options: PageOptions,
    layout: dict[str, Any],
    description: bytes | None,
    report: Callable[[NDArray[np.intp]], None],
) -> None:
    """Write all pages of all images.

    Parameters
    ----------
    layout : dict
        Options for tifffile that every page has.
    description : bytes or None
        OME-XML; None for a single series that tifffile describes, whose shape ``layout`` has.
    report : callable
        Called with the sequence indices of frames that are written.
    """
    layout = {**layout, "compression": options.compression, "contiguous": False}
    if options.compression is not None and reader.dtype.kind in "iu":
        layout["predictor"] = True
    with tifffile.TiffWriter(path, bigtiff=True, ome=False) as tif:
        if description is None:
            tif.write(_pages(reader, placement, report), **layout)
            return
        if max(reader.layout.height, reader.layout.width) > _TILE:
            layout["tile"] = (_TILE, _TILE)
        for page in _pages(reader, placement, report):
            first, *smaller = _levels(page, options.levels)
            tif.write(first, description=description, subifds=len(smaller), metadata=None, **layout)
            description = None
            for level in smaller:
                tif.write(level, subfiletype=1, metadata=None, **layout)


def _pages(reader: Reader, placement: Placement, report: Callable[[NDArray[np.intp]], None]) -> Iterator[NDArray[Any]]:
    """Yield the pages in the order of the directories, each of shape (Y, X) or (Y, X, S)."""
    frames, picks = reader.frames, rgb_picks(reader)
    order = np.lexsort((placement.slots(placement.nesting), placement.image))
    frame_bytes = max(int(np.prod(frames.pixels.shape)) * reader.dtype.itemsize, 1)
    for places in runs(order, max(_BLOCK // frame_bytes, 1)):
        index = placement.index[places]
        for channels in frames.read(index, picks):
            for page in channels:
                yield page if page.shape[-1] > 1 else page[..., 0]
        report(index)


def _levels(page: NDArray[Any], levels: int) -> list[NDArray[Any]]:
    """Return a page and its smaller copies."""
    if page.ndim == 2:
        return list(pyramid(page, levels))
    return [np.moveaxis(level, 0, -1) for level in pyramid(np.moveaxis(page, -1, 0), levels)]
