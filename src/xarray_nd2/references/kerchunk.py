"""Kerchunk references, as JSON or Parquet: the file's own bytes as a Zarr hierarchy that any reader opens."""

from __future__ import annotations

import base64
import json
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nd2._core import errors
from nd2._core.io.destination import resolve
from nd2._core.open import open_reader
from xarray_nd2.references.formats import FORMATS, V2, ByteRanges
from xarray_nd2.references.layouts import LayoutOptions, describe

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nd2._core.io.destination import Destination
    from xarray_nd2.references.formats import Data, ZarrFormat, ZarrGroup
    from xarray_nd2.references.layouts import LayoutName

_BLOCK = 1 << 15
"""Number of references that are turned into text at once."""
_RECORD_SIZE = 100_000
"""Number of references per table of Parquet."""

_TEMPLATE = "u"
"""Name of the template that stands for the file's URL."""

FORMS: dict[Literal["json", "parquet"], str] = {"json": "JSON", "parquet": "Parquet references"}
"""Format of the destination for each value of ``format``; the first is the default."""


def to_kerchunk(
    source: Any,
    *,
    url: str | None = None,
    zarr_format: Literal[2, 3] = 2,
    storage_options: Mapping[str, Any] | None = None,
    inline_coords: bool | int = True,
    layout: LayoutName = "flat",
    squeeze: bool = True,
    check: bool = True,
) -> dict[str, Any]:
    """Describe an ND2 file as kerchunk references.

    Parameters
    ----------
    source : str, os.PathLike, BinaryIO
        Local path, URL that fsspec supports, or open binary file.
    url : str, optional
        Path or URL at which readers of the references find the file; by default that of ``source``.
    zarr_format : {2, 3}
        2 is read by every reader of kerchunk references; the axes of its image are ``(T, P, Z, Y, X, C, S)``, those
        that the file has. 3 is read by zarr-python; its axes are those of the engine, ``(T, P, Z, C, Y, X, S)``.
    storage_options : Mapping, optional
        Options for the file system of a URL. They are not written into the references.
    inline_coords : bool or int
        Whether coordinates are written. Of those that vary from frame to frame, only those of at most
        8 MiB (or this number of bytes) are; the attribute ``coordinates_left_out`` names the others.
    layout : {"flat", "positions", "ome-zarr"}
        One group; a group for each position (``P0``, ``P1``, ...); or OME-Zarr 0.5 (format 3 only), where the image is
        the array ``0`` with the axes t, c, z, y, x, and several positions are the images ``0``, ``1``, ...
    squeeze : bool
        Whether axes of size 1 other than Y and X are dropped.
    check : bool
        Whether the header of every frame's chunk is read and compared.

    Returns
    -------
    dict
        Kerchunk references, version 1. The variable ``image`` has the engine's attributes and coordinates; its color
        samples are in stored order, labeled ``B``, ``G``, ``R``. Missing frames have no entry. The attributes
        ``nd2_source_size`` and ``nd2_source_version`` (ETag or mtime) show later whether the file changed.

    Raises
    ------
    OSError
        If the file cannot be opened, or is not ND2.
    ValueError
        If it is damaged, its frames' bytes are not those of any Zarr chunk, or the URL holds a credential.
    """
    options = LayoutOptions(url, layout, inline_coords, squeeze, check)
    groups = describe_file(source, storage_options, zarr_format, options)
    return to_dict(groups, FORMATS[zarr_format])


def write_kerchunk(
    source: Any,
    dest: str | os.PathLike[str],
    *,
    format: Literal["json", "parquet"] = "json",
    url: str | None = None,
    zarr_format: Literal[2, 3] = 2,
    storage_options: Mapping[str, Any] | None = None,
    inline_coords: bool | int = True,
    layout: LayoutName = "flat",
    squeeze: bool = True,
    check: bool = True,
    template: bool = True,
    dest_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the references of an ND2 file.

    Parameters
    ----------
    source : str, os.PathLike, BinaryIO
        Local path, URL that fsspec supports, or open binary file.
    dest : str or os.PathLike
        The JSON file, or the folder of Parquet tables; path, or URL that fsspec supports.
    format : {"json", "parquet"}
        Parquet is for many frames: readers load the parts that they need. It is Zarr format 2, without
        groups, and no frame may be missing.
    url, zarr_format, storage_options, inline_coords, layout, squeeze, check
        See `to_kerchunk`.
    template : bool
        Whether the URL is in a JSON file once, as the template ``u``: readers override it with
        ``template_overrides={"u": url}`` when the file has moved. VirtualiZarr's JSON parser does not
        support templates. A URL with ``{{``, ``{%`` or ``{#`` is never in a template.
    dest_options : Mapping, optional
        Options for the file system of ``dest``.
    overwrite : bool
        Whether to replace a file, or a folder of references in Parquet, when the new one is complete. Nothing else is
        replaced: no ND2 file, and no folder with one in it.

    Raises
    ------
    OSError, ValueError
        As in `to_kerchunk`; if the references cannot be written, or not in this form: the message names the option
        that helps.
    FileExistsError
        If ``dest`` exists and is not to be overwritten, or must not be replaced.
    ImportError
        If fastparquet is not installed, which Parquet needs.
    """
    check_form(format, zarr_format)
    destination = resolve(dest, FORMS[format], overwrite=overwrite, storage_options=dest_options)
    options = LayoutOptions(url, layout, inline_coords, squeeze, check)
    groups = describe_file(source, storage_options, zarr_format, options)
    write_groups(groups, destination, zarr_format, template=template)


def check_form(form: str, zarr_format: int) -> None:
    """Refuse a format in which references cannot be written, before any file is read."""
    if form not in FORMS:
        raise ValueError(f"format must be 'json' or 'parquet', not {form!r}")
    if form == "parquet":
        with errors.requirement("fastparquet", "virtual", "for references in Parquet"):
            import fastparquet  # noqa: F401  # only whether it is installed
        if zarr_format != 2:
            raise ValueError("references in Parquet are of Zarr format 2 only; use format='json'")


def write_groups(groups: Sequence[ZarrGroup], destination: Destination, zarr_format: int, *, template: bool) -> None:
    """Write references in the format of their destination, one of `FORMS`."""
    if destination.form == FORMS["json"]:
        with destination.file() as path, path.open("w", encoding="utf-8") as handle:
            handle.writelines(to_json(groups, FORMATS[zarr_format], template=template))
        return
    _check_parquet(groups)
    with destination.local_folder() as folder:
        write_parquet(groups, folder)


def describe_file(
    source: Any, storage_options: Mapping[str, Any] | None, zarr_format: int, options: LayoutOptions
) -> list[ZarrGroup]:
    """Describe a file as groups of one Zarr format, the root first."""
    if zarr_format not in FORMATS:
        raise ValueError(f"zarr_format must be 2 or 3, not {zarr_format!r}")
    form = FORMATS[zarr_format]
    if options.layout == "ome-zarr" and form.stored_order:
        raise ValueError("OME-Zarr 0.5 is of Zarr format 3; pass zarr_format=3")
    with open_reader(source, storage_options=storage_options) as reader:
        return describe(reader, options, stored_order=form.stored_order)


def to_dict(groups: Sequence[ZarrGroup], form: ZarrFormat) -> dict[str, Any]:
    """Return kerchunk references, version 1; those to several files have templates."""
    refs: dict[str, Any] = dict(_texts(groups, form))
    urls = next(ranges.urls for _, ranges in _ranges(groups))
    urls, templates = _templates(urls) if len(urls) > 1 else (urls, {})
    for path, ranges in _ranges(groups):
        where = np.nonzero(ranges.lengths)
        files = repeat(0) if ranges.files is None else ranges.files[where].tolist()
        indices = zip(*(index.tolist() for index in where), strict=True)
        keys = map(form.chunk_key(path.replace("%", "%%"), ["%d"] * len(where)).__mod__, indices)
        offsets, lengths = ranges.offsets[where].tolist(), ranges.lengths[where].tolist()
        places = map(list, zip(map(urls.__getitem__, files), offsets, lengths, strict=False))
        refs.update(zip(keys, places, strict=True))
    return {"version": 1, "refs": refs, **({"templates": templates} if templates else {})}


def to_json(groups: Sequence[ZarrGroup], form: ZarrFormat, *, template: bool) -> Iterator[str]:
    """Yield the parts of references as JSON; with ``template`` each URL is in it once, if it may be."""
    urls = next(ranges.urls for _, ranges in _ranges(groups))
    urls, templates = _templates(urls) if template else (urls, {})
    texts = list(map(json.dumps, urls))
    head = f'"templates":{json.dumps(templates)},' if templates else ""
    yield f'{{"version":1,{head}"refs":{{\n'
    yield ",\n".join(f"{json.dumps(key)}:{json.dumps(text)}" for key, text in _texts(groups, form))
    for path, ranges in _ranges(groups):
        grid = ranges.lengths.shape
        longer = [size > 1 for size in grid]
        key = json.dumps(form.chunk_key(path.replace("%", "%%"), ["%d" if n else "0" for n in longer]))
        text = "%s" if ranges.files is not None else texts[0].replace("%", "%%")
        line = f"{key}:[{text},%d,%d]"
        offsets, lengths = ranges.offsets.reshape(-1), ranges.lengths.reshape(-1)
        for start in range(0, len(lengths), _BLOCK):
            where = np.flatnonzero(lengths[start : start + _BLOCK]) + start
            if len(where):
                indices = compress(np.unravel_index(where, grid), longer)
                columns = [c.tolist() for c in (*indices, offsets[where], lengths[where])]
                if ranges.files is not None:
                    files = ranges.files.reshape(-1)[where].tolist()
                    columns.insert(-2, list(map(texts.__getitem__, files)))
                rows = zip(*columns, strict=True)
                yield ",\n" + ",\n".join(map(line.__mod__, rows))
    yield "\n}}\n"


def _templates(urls: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return URLs as the names of templates, and the templates.

    URLs stay unchanged if readers, which pass templates to Jinja, would run a part of one as code.
    """
    if any(mark in url for url in urls for mark in ("{{", "{%", "{#")):
        return urls, {}
    names = [_TEMPLATE] if len(urls) == 1 else [f"{_TEMPLATE}{i}" for i in range(len(urls))]
    return tuple(f"{{{{{name}}}}}" for name in names), dict(zip(names, urls, strict=True))


def with_url(content: dict[str, Any], url: str) -> dict[str, Any]:
    """Return references to the file at another place."""
    _, template = _templates((url,))
    if template and _TEMPLATE in content.get("templates", {}):
        return {**content, "templates": {**content["templates"], **template}}
    return {**content, "templates": {}, "refs": with_links(content["refs"], lambda _: url)}


def with_links(refs: Mapping[str, Any], move: Callable[[str], str]) -> dict[str, Any]:
    """Return references to other places."""
    return {key: [move(value[0]), *value[1:]] if isinstance(value, list) else value for key, value in refs.items()}


def _ranges(groups: Iterable[ZarrGroup]) -> Iterator[tuple[str, ByteRanges]]:
    for group in groups:
        for path, array in group.items:
            if isinstance(array.data, ByteRanges):
                yield path, array.data


def _texts(groups: Sequence[ZarrGroup], form: ZarrFormat) -> Iterator[tuple[str, str]]:
    """Return keys and texts of everything except byte ranges."""
    for key, document in form.documents(groups).items():
        yield key, json.dumps(document, ensure_ascii=False)
    for group in groups:
        for path, array in group.items:
            if isinstance(array.data, np.ndarray):
                text = base64.b64encode(form.encode(array.data)).decode("ascii")
                yield form.chunk_key(path, ["0"] * array.data.ndim), f"base64:{text}"


def _check_parquet(groups: Sequence[ZarrGroup]) -> None:
    """Refuse arrays that Parquet references would return changed."""
    if len(groups) > 1:
        raise ValueError("groups do not read back from Parquet; use layout='flat' or format='json'")
    data = (array.data for _, array in groups[0].items)
    if not all(ranges.lengths.all() for ranges in data if isinstance(ranges, ByteRanges)):
        raise ValueError(
            "frames are missing from the file, and a missing reference does not read back from "
            "Parquet; use format='json'"
        )


def write_parquet(groups: Sequence[ZarrGroup], folder: Path) -> None:
    """Write references, checked with `_check_parquet`, into a folder as fsspec's lazy mapper reads them."""
    import pandas as pd
    from fastparquet import write

    for group in groups:
        for path, array in group.items:
            (folder / path).mkdir()
            for record, columns in enumerate(_tables(array.data)):
                write(
                    str(folder / path / f"refs.{record}.parq"),
                    pd.DataFrame(columns, copy=False),
                    compression="ZSTD",
                    write_index=False,
                    stats=False,
                    object_encoding={"raw": "bytes", "path": "utf8"},
                    has_nulls=[name for name in ("path", "raw") if name in columns],
                )
    metadata = V2.documents(groups)[".zmetadata"]["metadata"]
    head = {"metadata": metadata, "record_size": _RECORD_SIZE}
    (folder / ".zmetadata").write_text(json.dumps(head), encoding="utf-8")


def _tables(data: Data) -> Iterator[dict[str, Any]]:
    """Yield the columns of each table of an array."""
    import pandas as pd

    if not isinstance(data, ByteRanges):
        raw = np.array([V2.encode(np.asarray(data))], dtype=object)
        nothing = np.zeros(1, np.int64)
        yield {"path": np.array([None], dtype=object), "offset": nothing, "size": nothing, "raw": raw}
        return
    offsets = data.offsets.reshape(-1).astype(np.int64)
    lengths = data.lengths.reshape(-1).astype(np.int64)
    files = np.zeros(len(offsets), np.intp) if data.files is None else data.files.reshape(-1)
    urls = pd.Index(data.urls)
    for start in range(0, len(offsets), _RECORD_SIZE):
        part = slice(start, start + _RECORD_SIZE)
        paths = pd.Categorical.from_codes(files[part].astype(np.int32), urls)
        yield {"path": paths.remove_unused_categories(), "offset": offsets[part], "size": lengths[part]}
