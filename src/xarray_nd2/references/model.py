"""Groups written down as references: documents, inlined coordinates, and byte ranges that stay arrays to the end."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_nd2.references import documents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xarray_nd2.references.groups import GroupModel
    from xarray_nd2.references.zarr_array import ChunkReferences

_BLOCK = 1 << 15
"""References that are turned into text at once."""

TEMPLATE = "u"
"""Name of the template that stands for the file's URL."""


@dataclass(frozen=True)
class ChunkTable:
    """Byte ranges of one array.

    Attributes
    ----------
    prefix : str
        What stands before a chunk's indices in its key: ``image/``, ``P0/image/c.``.
    references : ChunkReferences
        The byte ranges.
    origin : tuple of int
        Place of the first of them in the array's grid of chunks, where they are a part of it.
    """

    prefix: str
    references: ChunkReferences
    origin: tuple[int, ...] = ()

    def texts(self, url: str) -> Iterator[str]:
        """Write the references as members of a JSON object, some ten thousands at a time."""
        grid = self.references.lengths.shape
        lengths = self.references.lengths.reshape(-1)
        offsets = self.references.offsets.reshape(-1)
        literal = f'"{self.prefix}'.replace("%", "%%")
        place = f'":[{json.dumps(url)},'.replace("%", "%%")
        longer = [size > 1 for size in grid]
        form = f"{literal}{'.'.join('%d' if many else '0' for many in longer)}{place}%d,%d]"
        for start in range(0, len(lengths), _BLOCK):
            where = np.flatnonzero(lengths[start : start + _BLOCK]) + start
            if len(where):
                indices = compress(np.unravel_index(where, grid), longer)
                columns = (*indices, offsets[where], lengths[where])
                rows = zip(*(column.tolist() for column in columns), strict=True)
                yield ",\n".join(map(form.__mod__, rows))

    def entries(self, url: str) -> Iterator[tuple[str, list[Any]]]:
        """Return the references one by one."""
        where = np.nonzero(self.references.lengths)
        origin = self.origin or (0,) * len(where)
        places = [(at + start).tolist() for at, start in zip(where, origin, strict=True)]
        form = self.prefix.replace("%", "%%") + ".".join(["%d"] * len(where))
        keys = map(form.__mod__, zip(*places, strict=True))
        offsets = self.references.offsets[where].tolist()
        lengths = self.references.lengths[where].tolist()
        ranges = zip(repeat(url, len(offsets)), offsets, lengths, strict=True)
        return zip(keys, map(list, ranges), strict=True)


@dataclass(frozen=True)
class References:
    """A Zarr hierarchy over the bytes of one file.

    Attributes
    ----------
    zarr_format : {2, 3}
    url : str
        Where the file is.
    metadata : dict
        Key to JSON document.
    values : dict of str to bytes
        Key to chunk, for what does not stand in the file.
    tables : tuple of ChunkTable
        The chunks that do.
    """

    zarr_format: int
    url: str
    metadata: dict[str, dict[str, Any]]
    values: dict[str, bytes]
    tables: tuple[ChunkTable, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the references as kerchunk has them, version 1."""
        refs: dict[str, Any] = dict(self._head())
        for table in self.tables:
            refs.update(table.entries(self.url))
        return {"version": 1, "refs": refs}

    def to_json(self, *, template: bool) -> Iterator[str]:
        """Write the references as JSON in parts, with a template for the URL or with the URL itself."""
        templates = f'"templates":{json.dumps({TEMPLATE: self.url})},' if template else ""
        yield f'{{"version":1,{templates}"refs":{{\n'
        head = (f"{json.dumps(key)}:{json.dumps(text)}" for key, text in self._head())
        yield ",\n".join(head)
        for table in self.tables:
            for text in table.texts(f"{{{{{TEMPLATE}}}}}" if template else self.url):
                yield ",\n"
                yield text
        yield "\n}}\n"

    def _head(self) -> Iterator[tuple[str, str]]:
        """Return keys and texts of all that is not a byte range."""
        for key, document in self.metadata.items():
            yield key, documents.to_text(document)
        if self.zarr_format == 2:
            consolidated = {"metadata": self.metadata, "zarr_consolidated_format": 1}
            yield ".zmetadata", documents.to_text(consolidated)
        for key, data in self.values.items():
            yield key, "base64:" + base64.b64encode(data).decode("ascii")


def references(groups: Sequence[GroupModel], url: str, zarr_format: int) -> References:
    """Write groups down as references to one file."""
    build = _references_v2 if zarr_format == 2 else _references_v3
    return build(groups, url)


def _references_v2(groups: Sequence[GroupModel], url: str) -> References:
    metadata: dict[str, dict[str, Any]] = {}
    values: dict[str, bytes] = {}
    tables = []
    for group in groups:
        metadata[f"{group.prefix}.zgroup"] = {"zarr_format": 2}
        metadata[f"{group.prefix}.zattrs"] = documents.plain(group.attrs)
        if group.image is not None:
            path = f"{group.prefix}{group.image_name}"
            document = documents.image_v2(group.image)
            metadata |= documents.array_v2(path, document, group.array_attrs, group.image_dims)
            prefix = documents.image_prefix(path, 2)
            tables.append(ChunkTable(prefix, group.image.references))
        for name, variable in group.coords.items():
            array = documents.as_stored(variable.values)
            path = f"{group.prefix}{name}"
            document = documents.values_v2(array)
            metadata |= documents.array_v2(path, document, variable.attrs, variable.dims)
            values[documents.only_chunk(path, array.ndim, 2)] = documents.chunk_v2(array)
    return References(2, url, metadata, values, tuple(tables))


def _references_v3(groups: Sequence[GroupModel], url: str) -> References:
    nodes: dict[str, dict[str, Any]] = {}
    values: dict[str, bytes] = {}
    tables = []
    for group in groups:
        if group.path:
            nodes[group.path] = documents.group_v3(group.attrs)
        if group.image is not None:
            path = f"{group.prefix}{group.image_name}"
            nodes[path] = documents.image_v3(group.image, group.array_attrs, group.image_dims)
            tables.append(ChunkTable(documents.image_prefix(path, 3), group.image.references))
        for name, variable in group.coords.items():
            array = documents.as_stored(variable.values)
            path = f"{group.prefix}{name}"
            nodes[path] = documents.values_v3(array, variable.attrs, variable.dims)
            values[documents.only_chunk(path, array.ndim, 3)] = documents.chunk_v3(array)
    metadata = documents.hierarchy_v3(groups[0].attrs, nodes)
    return References(3, url, metadata, values, tuple(tables))
