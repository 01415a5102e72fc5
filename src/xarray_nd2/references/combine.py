"""References to several files, joined along a frame axis as one dataset."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nd2._core.export.pipeline import file_batches
from nd2._core.frames.array import PIXEL_DIMS
from nd2._core.io.destination import resolve
from nd2._core.io.listing import expand
from nd2._core.io.urls import is_url
from xarray_nd2.references.formats import ByteRanges, ZarrArray, ZarrGroup
from xarray_nd2.references.kerchunk import FORMS, check_form, describe_file, to_dict, write_groups
from xarray_nd2.references.layouts import SOURCE_SIZE, SOURCE_VERSION, LayoutOptions
from xarray_nd2.references.reading import read_group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

_PER_FILE = ("source", SOURCE_SIZE, SOURCE_VERSION)
_LOCAL_THREADS = 4
_REMOTE_THREADS = 16
"""Threads for URLs. A file is opened by two requests at once, so these are 32 requests at once."""


def combine_references(
    refs: Iterable[str | os.PathLike[str] | Mapping[str, Any]],
    *,
    concat_dim: str = "T",
    storage_options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Join the references of several files along one axis.

    Parameters
    ----------
    refs : iterable of str, os.PathLike or Mapping
        References that `to_kerchunk` or `write_kerchunk` made, in the order in which they are joined:
        JSON files (paths or URLs), or dictionaries; all of one Zarr format, in one group.
    concat_dim : str
        The axis: ``T``, ``P`` or ``Z``. If files do not have it, it is added, with one item per file.
    storage_options : Mapping, optional
        Options for the file system of the JSON files.

    Returns
    -------
    dict
        Kerchunk references, version 1. Coordinates along the axis are joined unchanged: times count
        from each file's own start. Attributes are those of the first file; ``source``,
        ``nd2_source_size`` and ``nd2_source_version`` are lists. Other coordinates that differ from file
        to file, and cannot be joined, are omitted; ``coordinates_left_out`` names them.

    Raises
    ------
    OSError
        If references cannot be read.
    ValueError
        If there are no references, if they already refer to several files, or if images or axes of the
        files do not fit together.
    """
    if isinstance(refs, (str, os.PathLike)):
        raise TypeError(
            f"expected several references, got one path, {os.fspath(refs)!r}; for a pattern, use "
            "sorted(glob.glob(pattern))"
        )
    check_axis(concat_dim)
    parts = [read_group(item, storage_options) for item in refs]
    if not parts:
        raise ValueError("there are no references to combine")
    forms, groups = zip(*parts, strict=True)
    if len(set(forms)) > 1:
        raise ValueError("references of Zarr formats 2 and 3 cannot be combined")
    return to_dict([join_groups(groups, concat_dim)], forms[0])


def write_combined(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    dest: str | os.PathLike[str],
    *,
    concat_dim: str = "T",
    format: Literal["json", "parquet"] = "parquet",
    zarr_format: Literal[2, 3] = 2,
    storage_options: Mapping[str, Any] | None = None,
    inline_coords: bool | int = True,
    squeeze: bool = True,
    check: bool = True,
    dest_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    client: Any = None,
) -> None:
    """Write the references of several ND2 files, joined as one dataset.

    Frames are in arrays, not in objects: thousands of files with millions of frames fit into memory.

    Parameters
    ----------
    sources : str, os.PathLike or iterable of these
        ND2 files in the order in which they are joined: paths, URLs, or patterns, whose files
        are sorted by name.
    dest : str or os.PathLike
        The folder of Parquet tables, or the JSON file; path, or URL that fsspec supports.
    concat_dim : str
        The axis: ``T``, ``P`` or ``Z``; see `combine_references`.
    format : {"parquet", "json"}
        See `write_kerchunk`.
    zarr_format, storage_options, inline_coords, squeeze, check
        See `to_kerchunk`.
    dest_options, overwrite
        See `write_kerchunk`.
    client : distributed.Client, optional
        Cluster whose workers read the files. They must reach the files by the same paths.

    Raises
    ------
    OSError, ImportError
        As in `write_kerchunk`, or if a pattern matches no file.
    ValueError
        As in `write_kerchunk`, or if the files' images or axes do not fit together.

    Examples
    --------
    >>> write_combined("s3://bucket/plate7/*.nd2", "plate7.parq")  # doctest: +SKIP
    """
    check_axis(concat_dim)
    check_form(format, zarr_format)
    given = [sources] if isinstance(sources, (str, os.PathLike)) else sources
    files = [file for source in given for file in expand(source, storage_options)]
    if not files:
        raise ValueError("there are no files to combine")
    destination = resolve(dest, FORMS[format], overwrite=overwrite, sources=files, storage_options=dest_options)
    options = LayoutOptions(None, "flat", inline_coords, squeeze, check)
    describe = partial(describe_files, storage_options=storage_options, zarr_format=zarr_format, options=options)
    if client is None:
        parts = describe(files)
    else:
        batches = file_batches(client, files)
        futures = client.map(describe, batches, pure=False)
        parts = [part for batch in client.gather(futures) for part in batch]
    write_groups([join_groups(parts, concat_dim)], destination, zarr_format, template=True)


def describe_files(
    files: Sequence[str], storage_options: Mapping[str, Any] | None, zarr_format: int, options: LayoutOptions
) -> list[ZarrGroup]:
    """Describe files, several at a time, each as one group."""
    threads = _REMOTE_THREADS if any(map(is_url, files)) else _LOCAL_THREADS
    with ThreadPoolExecutor(threads, thread_name_prefix="nd2-refs") as executor:
        return list(executor.map(lambda file: describe_file(file, storage_options, zarr_format, options)[0], files))


def check_axis(concat_dim: str) -> None:
    """Refuse an axis along which files cannot be joined."""
    if concat_dim in PIXEL_DIMS:
        raise ValueError(f"frames are whole: files cannot be joined along {concat_dim}")


def join_groups(groups: Sequence[ZarrGroup], concat_dim: str) -> ZarrGroup:
    """Join the groups of several files along an axis; see `combine_references`."""
    first = groups[0]
    images = [group.arrays["image"] for group in groups]
    image = _join_images(images, concat_dim)
    new_axis = concat_dim not in images[0].dims
    coords: dict[str, ZarrArray] = {}
    left_out = list(first.attrs.get("coordinates_left_out", []))
    for name, coord in first.arrays.items():
        if name == "image":
            continue
        same = [group.arrays[name] for group in groups if name in group.arrays]
        whole = _join_coords(name, same, concat_dim, new_axis) if len(same) == len(groups) else None
        if whole is not None:
            coords[name] = whole
        elif coord.dims == (name,):
            raise ValueError(f"the files differ on the axis {name}")
        else:
            left_out.append(name)
    per_file = {key: [group.attrs.get(key) for group in groups] for key in _PER_FILE}
    attrs = {**first.attrs, **per_file}
    if left_out:
        attrs["coordinates_left_out"] = left_out
    return ZarrGroup.from_image("", attrs, image, coords)


def _join_images(images: Sequence[ZarrArray], dim: str) -> ZarrArray:
    """Join images along an axis, which is added if they do not have it; byte ranges do not change."""
    first = images[0]
    for i, image in enumerate(images):
        if _fixed(image, dim) != _fixed(first, dim):
            raise ValueError(
                f"the image of file {i} does not fit that of file 0: "
                f"{dict(zip(image.dims, image.shape, strict=True))} of {image.dtype}, "
                f"not {dict(zip(first.dims, first.shape, strict=True))} of {first.dtype}"
            )
    whole = first if dim in first.dims else _prepend_axis(first, dim)
    axis = whole.dims.index(dim)
    join: Callable[..., NDArray[Any]] = partial(np.concatenate, axis=axis) if whole is first else np.stack
    ranges = [image.data for image in images if isinstance(image.data, ByteRanges)]
    # A file may be given several times.
    numbers = {url: number for number, url in enumerate(dict.fromkeys(part.urls[0] for part in ranges))}
    joined = ByteRanges(
        tuple(numbers),
        join([part.offsets for part in ranges]),
        join([part.lengths for part in ranges]),
        join([np.full(part.lengths.shape, numbers[part.urls[0]], np.intp) for part in ranges]),
    )
    shape = (*whole.shape[:axis], joined.lengths.shape[axis], *whole.shape[axis + 1 :])
    return replace(whole, shape=shape, data=joined)


def _fixed(image: ZarrArray, free: str) -> Any:
    """Return what must agree between images that are joined along the axis ``free``."""
    sizes = [n for dim, n in zip(image.dims, image.shape, strict=True) if dim != free]
    return sizes, image.dims, image.chunks, image.dtype, image.codec, image.transpose


def _prepend_axis(image: ZarrArray, dim: str) -> ZarrArray:
    """Return an image with an additional first axis of length 1, without its data."""
    order = image.transpose
    return replace(
        image,
        dims=(dim, *image.dims),
        shape=(1, *image.shape),
        chunks=(1, *image.chunks),
        transpose=None if order is None else (0, *(place + 1 for place in order)),
    )


def _join_coords(name: str, coords: Sequence[ZarrArray], dim: str, new_axis: bool) -> ZarrArray | None:
    """Join a coordinate of all files; None if they differ and cannot be placed on the axis."""
    first = coords[0]
    if any(coord.dims != first.dims for coord in coords):
        return None
    values: list[NDArray[Any]] = [np.asarray(coord.data) for coord in coords]

    def join(dims: tuple[str, ...], whole: NDArray[Any]) -> ZarrArray:
        return ZarrArray.from_values(dims, whole, first.attrs)

    if dim in first.dims:
        axis = first.dims.index(dim)
        shapes = {(*v.shape[:axis], *v.shape[axis + 1 :]) for v in values}
        return join(first.dims, np.concatenate(values, axis)) if len(shapes) == 1 else None
    same = all(np.array_equal(v, values[0], equal_nan=v.dtype.kind == "f") for v in values)
    if new_axis and (name == dim or not same) and len({v.shape for v in values}) == 1:
        # An axis of the image that differs cannot become a coordinate on two axes.
        return None if first.dims == (name,) else join((dim, *first.dims), np.stack(values))
    return first if same else None
