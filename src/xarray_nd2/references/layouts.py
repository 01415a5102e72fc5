"""A file as Zarr groups, whose chunks are byte ranges: one group, one for each position, or an OME-Zarr image.

Byte ranges come from the chunk map; they are compared with the headers of the frames unless the user declines.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nd2._core import errors
from nd2._core.export import zarr_documents
from nd2._core.format import chunks
from nd2._core.io.urls import file_stem, redact
from nd2._core.values import record
from nd2._core.views.facts import Facts
from nd2._core.views.jsonable import plain
from xarray_nd2.dataset.build import dataset_model, position_model
from xarray_nd2.references.formats import ByteRanges, ZarrArray, ZarrGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from nd2._core.format.pixels import PixelLayout
    from nd2._core.frames.array import FrameArray
    from nd2._core.readers import Reader
    from xarray_nd2.dataset.model import DatasetModel, VariableModel

LayoutName = Literal["flat", "positions", "ome-zarr"]

MAX_INLINE = 8 << 20
"""Bytes up to which a coordinate that varies from frame to frame is written with the references."""

SOURCE_SIZE, SOURCE_VERSION = "nd2_source_size", "nd2_source_version"
"""Attributes that show later whether the file is still the one that was described."""

BAND_BYTES = 64 << 20
"""Larger frames are cut into bands of rows of at most this size, if their height allows it."""
_MIN_BAND = 1 << 20
_INSTEAD = "write the pixels as Zarr instead, with xarray.open_dataset(file, engine='nd2').to_zarr(folder)"
_OME_ORDER = "TCSZYX"
_BATCH = 1 << 16
"""Number of frames whose headers are checked at once."""


@record
class LayoutOptions:
    """Content and target of references, as the user chose them; see `to_kerchunk`."""

    url: str | None = None
    layout: LayoutName = "flat"
    inline_coords: bool | int = True
    squeeze: bool = True
    check: bool = True


def describe(reader: Reader, options: LayoutOptions, *, stored_order: bool) -> list[ZarrGroup]:
    """Describe a file as groups, the root first; with ``stored_order``, axes have the order of the bytes."""
    if options.layout not in ("flat", "positions", "ome-zarr"):
        raise ValueError(f"layout must be 'flat', 'positions' or 'ome-zarr', not {options.layout!r}")
    facts = Facts(reader)
    model = dataset_model(facts, squeeze=options.squeeze, labels=False)
    url = _public_url(reader.source.url if options.url is None else options.url)
    model, left_out = _inline_coords(model, options.inline_coords)
    _, size, version = reader.source.identity
    attrs = {**model.attrs, "source": url, SOURCE_SIZE: int(size), SOURCE_VERSION: version}
    if left_out:
        attrs["coordinates_left_out"] = left_out
    model = replace(model, attrs=attrs)

    def group(path: str, part: DatasetModel) -> ZarrGroup:
        image = image_array(part.image, url, part.image_attrs)
        image = image if stored_order else image.with_dims(part.image.dims)
        values = {
            name: ZarrArray.from_values(variable.dims, variable.values, variable.attrs)
            for name, variable in part.coords.items()
        }
        return ZarrGroup.from_image(path, part.attrs, image, values)

    if options.layout == "ome-zarr":
        groups = ome_groups(facts, model, lambda image, _: [image_array(image, url, {})])
    elif options.layout == "positions" and "P" in model.image.dims:
        parts = [group(f"P{i}", position_model(facts, model, i)) for i in range(model.image.sizes["P"])]
        groups = [ZarrGroup("", attrs), *parts]
    else:
        groups = [group("", model)]
    if options.check:
        check_frames(reader, model.image.grid.frames().reshape(-1))
    return groups


def _public_url(url: str) -> str:
    """Return a URL that may be written; one that holds a credential is refused."""
    if not url:
        raise ValueError("the file object has no name; pass url=, where readers find the file")
    if redact(url) != url:
        raise ValueError(
            "the URL holds a credential, which must not enter references: pass "
            f"url={redact(url)!r}, and give the credential when the references are read"
        )
    if url != url.encode(errors="replace").decode():
        raise ValueError(f"references are UTF-8, which cannot hold the path {url!r}: rename the file, or link to it")
    return url


def _inline_coords(model: DatasetModel, inline_coords: bool | int) -> tuple[DatasetModel, list[str]]:
    """Return a dataset with the coordinates to write, in memory, and the names of those that are too large."""
    if inline_coords is False:
        return replace(model, coords={}), []
    limit = MAX_INLINE if inline_coords is True else inline_coords
    sizes = model.image.sizes
    kept: dict[str, VariableModel] = {}
    left_out = []
    for name, variable in model.coords.items():
        large = 8 * math.prod(sizes[dim] for dim in variable.dims) > limit
        if large and variable.dims != (name,):
            left_out.append(name)
        else:
            kept[name] = replace(variable, values=np.asarray(variable.values))
    return replace(model, coords=kept), left_out


def ome_groups(
    facts: Facts, model: DatasetModel, describe_image: Callable[[FrameArray, int | None], Iterable[ZarrArray]]
) -> list[ZarrGroup]:
    """Describe a dataset as OME-Zarr: the image in the root, or one image group for each position.

    ``describe_image`` returns the levels of an image; its second argument is the index of the position, or None.
    """

    def group(path: str, image: FrameArray, position: int | None) -> ZarrGroup:
        axes = _ome_axes(image.dims)
        levels = [
            replace(array.with_dims(tuple(axes)), dims=tuple(axes.values()))
            for array in describe_image(image, position)
        ]
        names = "".join(axes.values())
        described = zarr_documents.ImageAxes.from_shape(names, levels[0].shape, facts, image.grid.steps("T"))
        stem, order = file_stem(str(model.attrs["source"])), str(image.frames.pixels.sample_order)
        block = zarr_documents.image_block(described, stem, facts, len(levels), order)
        arrays = {str(number): array for number, array in enumerate(levels)}
        return ZarrGroup(path, {"ome": block, **model.attrs}, arrays)

    if "P" not in model.image.dims:
        return [group("", model.image, None)]
    names = [str(i) for i in range(model.image.sizes["P"])]
    root, series = zarr_documents.collection(names)
    return [
        ZarrGroup("", {"ome": root, **model.attrs}),
        ZarrGroup("OME", {"ome": series}),
        *(group(name, model.image.fix("P", i).drop_dims("P"), i) for i, name in enumerate(names)),
    ]


def _ome_axes(dims: tuple[str, ...]) -> dict[str, str]:
    """Return the axes in the order of OME-Zarr (time, channel, space), each with its name there."""
    odd = [dim for dim in dims if dim not in _OME_ORDER]
    if odd:
        raise ValueError(f"OME-Zarr has no axis for {', '.join(odd)}; references have it with layout='flat'")
    if "C" in dims and "S" in dims:
        raise ValueError("OME-Zarr has one axis for channels: it cannot hold several color channels; use layout='flat'")
    return {dim: "c" if dim == "S" else dim.lower() for dim in sorted(dims, key=_OME_ORDER.index)}


def image_array(image: FrameArray, url: str, attrs: Mapping[str, Any]) -> ZarrArray:
    """Describe an image as chunks of the file at ``url``, its axes in stored order: loops, Y, X, C, S.

    A chunk is a frame; a row if rows are padded by part of a pixel; a band of rows if an
    uncompressed frame is larger than 64 MiB.
    """
    pixels = image.frames.pixels
    codec, rows, width = _chunk_form(pixels)
    sizes, loops = image.all_sizes, image.grid.dims
    dims = (*loops, *(dim for dim in ("Y", "X", "C", "S") if dim in image.dims))
    chunk = {"Y": rows, "X": width, "C": pixels.channels, "S": pixels.samples}
    offsets, lengths = image.frames.table.locations(image.grid.frames().reshape(-1))
    present = lengths > 0
    if codec == "raw":
        # The padding after the last pixel of a row belongs to no chunk of one row.
        nbytes = pixels.packed_row_bytes if (rows, width) == (1, pixels.width) else rows * pixels.row_bytes
        lengths = np.where(present, nbytes, 0)
    bands = max(pixels.height // max(rows, 1), 1)
    if bands > 1:
        offsets = offsets[:, None] + np.arange(bands) * rows * pixels.row_bytes
        offsets[~present] = 0
        lengths = np.repeat(lengths[:, None], bands, axis=1)
    grid = (*image.grid.shape, *(bands if dim == "Y" else 1 for dim in dims[len(loops) :]))
    return ZarrArray(
        dims,
        tuple(sizes[dim] for dim in dims),
        tuple(chunk.get(dim, 1) for dim in dims),
        pixels.dtype,
        ByteRanges((url,), offsets.astype(np.uint64).reshape(grid), lengths.astype(np.uint64).reshape(grid)),
        plain(attrs),
        codec,
    )


def _chunk_form(pixels: PixelLayout) -> tuple[Literal["raw", "zlib"], int, int]:
    """Return the codec of a chunk, its number of rows, and its width in pixels."""
    if pixels.codec not in ("raw", "zlib"):
        raise ValueError(
            f"frames are stored as {pixels.codec}, for which no Zarr reader has a built-in codec: {_INSTEAD}"
        )
    pixel_bytes = pixels.channels * pixels.samples * pixels.dtype.itemsize
    width, padding = divmod(pixels.row_bytes, pixel_bytes)
    if pixels.codec == "raw":
        return ("raw", 1, pixels.width) if padding else ("raw", _band_rows(pixels), width)
    if padding:
        raise ValueError(
            "frames are compressed and their rows are padded by part of a pixel "
            f"({pixels.row_bytes} bytes, {pixel_bytes} per pixel): no Zarr chunk has these "
            f"bytes; {_INSTEAD}"
        )
    return "zlib", pixels.height, width


def _band_rows(pixels: PixelLayout) -> int:
    """Return the rows of a chunk: all, or of a huge frame a divisor of the height, as chunks are equal."""
    counts = range(max(math.ceil(pixels.frame_bytes / BAND_BYTES), 1), pixels.frame_bytes // _MIN_BAND + 1)
    return next((pixels.height // count for count in counts if pixels.height % count == 0), pixels.height)


def check_frames(reader: Reader, index: NDArray[np.intp]) -> None:
    """Compare the places of frames with the headers of their chunks: magic number, name, place, length.

    A remote file needs one small request per frame; one request reads several if frames are small.
    """
    positions = reader.frame_positions
    offsets, lengths = reader.frames.table.locations(index)
    present = np.flatnonzero((lengths > 0) & (index < len(positions)))
    raw = reader.frames.pixels.codec == "raw"
    needed = np.full(len(index), reader.frames.pixels.frame_bytes) if raw else lengths
    beyond = present[(offsets + needed)[present] > reader.source.size]
    if len(beyond):
        first = beyond[0]
        message = f"the frame's data are beyond the file's end at {reader.source.size}"
        raise _wrong(reader, int(index[first]), message, int(offsets[first]))
    digits = np.searchsorted(10 ** np.arange(1, 19), index, side="right") + 1
    for count in np.unique(digits[present]):
        alike = present[digits[present] == count]
        for start in range(0, len(alike), _BATCH):
            part = alike[start : start + _BATCH]
            _check_batch(reader, index[part], positions[index[part]], offsets[part], needed[part])


def _check_batch(
    reader: Reader, index: NDArray[np.intp], positions: NDArray[np.uint64], offsets: NDArray[Any], needed: NDArray[Any]
) -> None:
    """Check frames whose indices have the same number of digits, so that their headers are equally long."""
    digits = len(str(index[0]))
    name = chunks.FRAME_PREFIX + b"0" * digits + b"!"
    names = np.tile(np.frombuffer(name, np.uint8), (len(index), 1))
    names[:, -1 - digits : -1] += (index[:, None] // 10 ** np.arange(digits)[::-1] % 10).astype(np.uint8)
    header = np.dtype([("magic", "<u4"), ("name_length", "<u4"), ("data_length", "<u8"), ("name", "u1", len(name))])
    data = reader.source.read_many([(position, header.itemsize) for position in positions.tolist()])
    headers = np.frombuffer(b"".join(data), header)
    start = positions + np.uint64(chunks.HEADER.size + chunks.TIMESTAMP) + headers["name_length"]
    needed = needed.astype(np.uint64) + np.uint64(chunks.TIMESTAMP)
    checks = {
        "no chunk starts here": headers["magic"] != chunks.MAGIC,
        "another chunk is here": (headers["name"] != names).any(axis=1),
        "the frame's data does not start where its chunk says": start != offsets.astype(np.uint64),
        "the frame's chunk is shorter than its pixels": headers["data_length"] < needed,
    }
    for message, wrong in checks.items():
        if wrong.any():
            first = int(np.argmax(wrong))
            raise _wrong(reader, int(index[first]), message, int(positions[first]))


def _wrong(reader: Reader, frame: int, message: str, offset: int) -> ValueError:
    return errors.corrupt(
        message, path=reader.source.url, chunk=chunks.frame_name(frame).decode(), frame=frame, offset=offset
    )
