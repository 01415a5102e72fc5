"""Read kerchunk references: with paths that are resolved, or as the group of one file."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.io.faults import explain_faults
from nd2._core.io.open import file_system
from nd2._core.io.source import is_magic
from nd2._core.io.urls import is_url, local_path, redact
from xarray_nd2.references.formats import FORMATS, ByteRanges, ZarrGroup
from xarray_nd2.references.kerchunk import with_links

if TYPE_CHECKING:
    from xarray_nd2.references.formats import ZarrArray, ZarrFormat


def load(
    refs: str | os.PathLike[str] | Mapping[str, Any], storage_options: Mapping[str, Any] | None = None
) -> tuple[str | dict[str, Any], dict[str, Any], int]:
    """Return references (for Parquet, only their location), the attributes of the root, and the Zarr format."""
    place = ""
    if isinstance(refs, Mapping):
        content: Any = dict(refs)
    elif not isinstance(refs, (str, os.PathLike)):
        raise TypeError(f"references are a path, a URL or a mapping, not {type(refs).__name__}")
    else:
        place = str(refs) if is_url(refs) else local_path(refs)
        fs, path = file_system(place, storage_options)
        with explain_faults(place):
            if fs.isdir(path):
                head = json.loads(fs.cat_file(f"{path.rstrip('/')}/.zmetadata"))
                return place, dict(head["metadata"].get(".zattrs", {})), 2
            data = fs.cat_file(path)
        if is_magic(data[:16]):
            raise ValueError(f"{redact(place)!r} is an ND2 file; xarray_nd2.write_kerchunk writes references to it")
        try:
            content = json.loads(data)
        except ValueError as error:
            raise ValueError(f"{redact(place)!r} is not JSON: {error}") from None
    if not isinstance(content, dict) or "refs" not in content:
        raise ValueError("these are not kerchunk references of version 1: they have no 'refs'")
    version = 3 if "zarr.json" in content["refs"] else 2
    attrs = FORMATS[version].root_attrs(content["refs"])
    if place:
        content = _with_absolute_paths(content, place)
        source = attrs.get("source", "")
        several = isinstance(source, list)
        sources = [_absolute(str(item), place) for item in (source if several else [source])]
        attrs["source"] = sources if several else sources[0]
    return content, attrs, version


def _absolute(url: str, place: str) -> str:
    """Resolve a relative path in the file of references at ``place``."""
    if not url or is_url(url) or os.path.isabs(url):
        return url
    if is_url(place):
        return f"{place.rpartition('/')[0]}/{url}"
    joined = os.path.join(os.path.dirname(os.path.abspath(place)), url)
    return joined if os.path.exists(joined) else url


def _with_absolute_paths(content: dict[str, Any], place: str) -> dict[str, Any]:
    """Return references in which relative paths are resolved from the folder of their file."""
    refs = content["refs"]
    links = {value[0] for value in refs.values() if isinstance(value, list)}
    moved = {link: _absolute(link, place) for link in links if "{{" not in link}
    if any(link != url for link, url in moved.items()):
        refs = with_links(refs, lambda link: moved.get(link, link))
    templates = {name: _absolute(url, place) for name, url in content.get("templates", {}).items()}
    return {**content, "refs": refs, **({"templates": templates} if templates else {})}


def read_group(item: Any, storage_options: Mapping[str, Any] | None) -> tuple[ZarrFormat, ZarrGroup]:
    """Read the references of one file as a group: a dictionary, or a JSON file."""
    content, attrs, zarr_format = load(item, storage_options)
    if isinstance(content, str):
        raise ValueError("references in Parquet cannot be combined; write them as JSON")
    refs, form = content["refs"], FORMATS[zarr_format]
    if form.group_paths(refs):
        raise ValueError("references with groups cannot be combined")
    arrays = form.arrays(refs)
    image = arrays.pop("image", None)
    if image is None:
        raise ValueError("these references have no image in the root; use layout='flat'")
    ranges = _read_ranges(refs, image, form.chunk_key("image", [""]))
    if len(ranges.urls) > 1:
        raise ValueError("references to several files cannot be combined again; pass the references of each file")
    templates = content.get("templates", {})
    known = {f"{{{{{name}}}}}": url for name, url in templates.items()}
    url = next(iter(ranges.urls), str(attrs.get("source", "")))
    ranges = replace(ranges, urls=(known.get(url, url),))
    coords = {}
    for name, array in arrays.items():
        text = refs[form.chunk_key(name, ["0"] * len(array.shape))]
        chunk = base64.b64decode(text.removeprefix("base64:"))
        coords[name] = replace(array, data=form.decode(array, chunk))
    return form, ZarrGroup("", attrs, {"image": replace(image, data=ranges), **coords})


def _read_ranges(refs: Mapping[str, Any], image: ZarrArray, prefix: str) -> ByteRanges:
    """Return the byte ranges of an image, with URLs as in the references."""
    start = len(prefix)
    chunks = {key[start:]: value for key, value in refs.items() if key.startswith(prefix) and key[start] != "."}
    ranges = chunks.values()
    if not ({*map(type, ranges)} <= {list} and {*map(len, ranges)} <= {3}):
        raise ValueError("the image has chunks that are not byte ranges of a file")
    index = np.fromiter(map(int, ".".join(chunks).split(".") if chunks else ()), np.intp)
    place = tuple(index.reshape(-1, len(image.grid)).T)
    offsets, lengths = np.zeros((2, *image.grid), np.uint64)
    offsets[place] = np.fromiter(map(itemgetter(1), ranges), np.uint64)
    lengths[place] = np.fromiter(map(itemgetter(2), ranges), np.uint64)
    return ByteRanges(tuple(set(map(itemgetter(0), ranges))), offsets, lengths)
